"""The simulator's database: real SQLite in memory, which can stop at a commit and be restored."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from server.storage.backend import Scope, Unit
from server.storage.engine import EPOCH_BITS, Storage
from server.storage.session import DirectorySession, WriteSession
from server.storage.sqlite import SqliteBackend, database_path
from server.storage.sqlite_writer import Job
from server.storage.tables import RecordRow, record_owned_tables
from tests.storages import new_keys, sqlite_url

T = TypeVar("T")

When = Literal["before", "after"]
MEMORY = Path("/dev/shm")


class ServerStopped(BaseException):
    """The server's process ended here. No `except Exception` of the server may notice."""


class InlineBackend(SqliteBackend):
    """SQLite whose writer runs each command where it is asked for: a seed waits for no other thread."""

    async def write(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """As the writer's thread does it: one command, one commit."""
        job = Job(work, asyncio.get_running_loop().create_future())
        self._writer._run_batch([job])
        if job.error is not None:
            raise job.error
        return job.result


class FrailStorage(Storage):
    """Storage that can be told to stop the server at one of its next commits."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._commits_left = 0
        self._when: When = "before"
        self.stops = 0

    def doom(self, commits: int, when: When) -> None:
        """The server stops before or after the commit with this number, counted from now on, from 1."""
        self._commits_left, self._when = commits, when

    def spare(self) -> None:
        """The server lives on."""
        self._commits_left = 0

    async def write(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """As Storage does, unless the server stops here."""
        return await self._perhaps_stopping(super().write, record_id, command)

    async def append(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """As Storage does, unless the server stops here."""
        return await self._perhaps_stopping(super().append, record_id, command)

    async def register(self, command: Callable[[DirectorySession], T]) -> T:
        """As Storage does, unless the server stops here."""

        async def write(_: None, command: Callable[[DirectorySession], T]) -> T:
            return await Storage.register(self, command)

        return await self._perhaps_stopping(write, None, command)

    async def _perhaps_stopping(self, write: Any, scope: Any, command: Any) -> Any:
        if self._commits_left == 0:
            return await write(scope, command)
        self._commits_left -= 1
        if self._commits_left:
            return await write(scope, command)
        self.stops += 1
        if self._when == "before":
            await self._undone(write, scope, command)
        await write(scope, command)
        raise ServerStopped

    async def _undone(self, write: Any, scope: Any, command: Any) -> None:
        def stop(session: Any) -> None:
            command(session)
            raise ServerStopped

        await write(scope, stop)


@asynccontextmanager
async def frail_storage() -> AsyncIterator[FrailStorage]:
    """One open database for all the seeds of a run: each has a record of its own, and records never meet."""
    folder = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(prefix="held-simulated-", dir=folder) as name:
        url = await sqlite_url(Path(name))
        backend = InlineBackend(database_path(url))
        storage = FrailStorage(backend, new_keys(Path(name)), timedelta(0))
        try:
            yield storage
        finally:
            await storage.close()


class Backup:
    """Every row of one record, as a backup would hold them."""

    def __init__(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        self._rows = rows

    @classmethod
    async def of(cls, storage: Storage, record_id: UUID) -> "Backup":
        """The record as it stands."""

        def read(session: Any) -> dict[str, list[dict[str, Any]]]:
            return {
                table.name: [dict(row._mapping) for row in session.execute(_rows_of(table, record_id))]
                for table in record_owned_tables()
            }

        return cls(await storage.read(record_id, read))

    async def restore(self, storage: Storage, record_id: UUID) -> None:
        """The record is as it was, but for its epoch, which is new: that is what restoring a server means."""

        def write(session: WriteSession) -> None:
            for table in record_owned_tables():
                session.execute(sa.delete(table).where(table.c.record_id == record_id))
                if self._rows[table.name]:
                    session.execute(sa.insert(table), self._rows[table.name])
            fresh = secrets.randbits(EPOCH_BITS)
            session.execute(
                sa.update(RecordRow).where(col(RecordRow.record_id) == record_id).values(epoch=fresh)
            )

        await Storage.write(storage, record_id, write)


def jump(storage: Storage, by: timedelta) -> None:
    """The server's clock is set wrong, or right again."""
    storage.clock_offset += by


def _rows_of(table: sa.Table, record_id: UUID) -> "sa.Select[Any]":
    return sa.select(table).where(table.c.record_id == record_id)
