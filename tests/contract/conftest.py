"""The storage under test: the same suite runs on SQLite and on a real PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from server.storage.engine import Storage
from tests.postgres_server import PostgresServer, postgres_server
from tests.storages import postgres_storage, sqlite_storage

__all__ = ["postgres_server"]

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest_asyncio.fixture(params=BOTH)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    if request.param == "sqlite":
        async with sqlite_storage(tmp_path) as opened:
            yield opened
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    async with postgres_storage(server, tmp_path) as opened:
        yield opened
