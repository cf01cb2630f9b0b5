"""A migrated Storage for a test, on either database."""

import functools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from server.storage.engine import Storage
from server.storage.keys import KeyFile
from server.storage.migrating import migrate
from tests.postgres_server import PostgresServer


def new_keys(folder: Path) -> KeyFile:
    """A key file in the folder: the one there, or a new one."""
    path = folder / "test.key"
    return KeyFile.open(path) if path.exists() else KeyFile.create(path)


async def sqlite_url(folder: Path) -> str:
    """The address of a migrated SQLite database in the folder, copied from one made once for this run."""
    template = Path(_template_folder().name) / "held.db"
    if not template.exists():
        await migrate(f"sqlite:///{template}")
    path = folder / "held.db"
    shutil.copyfile(template, path)
    return f"sqlite:///{path}"


@functools.cache
def _template_folder() -> "tempfile.TemporaryDirectory[str]":
    """Deleted when the run ends."""
    return tempfile.TemporaryDirectory(prefix="held-template-")


@asynccontextmanager
async def sqlite_storage(folder: Path, *, clock_offset: timedelta = timedelta(0)) -> AsyncIterator[Storage]:
    """Storage on a new SQLite database in the folder."""
    storage = await Storage.open(await sqlite_url(folder), new_keys(folder), clock_offset=clock_offset)
    try:
        yield storage
    finally:
        await storage.close()


@asynccontextmanager
async def postgres_storage(
    server: PostgresServer, folder: Path, *, clock_offset: timedelta = timedelta(0)
) -> AsyncIterator[Storage]:
    """Storage on a new PostgreSQL database; its keys are in the folder."""
    database = await server.fresh_database()
    storage = await Storage.open(database.app_url, new_keys(folder), clock_offset=clock_offset)
    try:
        yield storage
    finally:
        await storage.close()
        await server.drop(database)
