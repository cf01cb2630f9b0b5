"""SQLite: reads where they are asked for, writes on one thread under group commit (PERFORMANCE section 6).

It has no second wall of its own, so it is for one household or for development.
"""

import asyncio
import heapq
import os
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc

from server.errors import Busy
from server.storage.backend import LOCK_SECONDS_MAX, Scope, StorageUnsafe, Unit
from server.storage.drivers import SqliteDriver
from server.storage.sqlite_writer import SqliteWriter

T = TypeVar("T")

SNAPSHOTS_MAX = 32
SNAPSHOTS_KEPT = 4
SPENT_IDENTIFIERS_MAX = 200_000

PRAGMAS: dict[str, tuple[str, Any]] = {
    "journal_mode": ("WAL", "wal"),
    # NORMAL may lose the last commits when the power goes; an acknowledged write must not be lost.
    "synchronous": ("FULL", 2),
    "secure_delete": ("ON", 1),
    "busy_timeout": (str(LOCK_SECONDS_MAX * 1000), LOCK_SECONDS_MAX * 1000),
    "foreign_keys": ("ON", 1),
    "trusted_schema": ("OFF", 0),
    "temp_store": ("MEMORY", 2),
    "mmap_size": ("268435456", None),
    "cache_size": ("-16384", -16384),
    "wal_autocheckpoint": ("4000", 4000),
}
"""Each pragma with what it is set to and what the connection must then answer."""

MICROSECONDS_IN_A_MILLISECOND = 1_000


def connect(path: Path) -> sqlite3.Connection:
    """A connection set up as every connection must be; StorageUnsafe when a setting did not hold.

    Transactions are begun and ended by us alone. Each connection is used by one thread at a time.
    """
    _make_private(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=512)
    for name, (value, expected) in PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}").fetchall()
        (answered,) = connection.execute(f"PRAGMA {name}").fetchone()
        if expected is not None and answered != expected:
            connection.close()
            raise StorageUnsafe(f"SQLite did not take {name} = {value}.")
    return connection


def engine_for(path: Path) -> sa.Engine:
    """A SQLAlchemy engine over such connections, for Core statements and migrations."""
    return sa.create_engine(
        "sqlite://",
        creator=lambda: connect(path),
        poolclass=sa.NullPool,
        isolation_level="AUTOCOMMIT",
        # An exception ends in a log, where no value may be.
        hide_parameters=True,
    )


def database_path(url: str) -> Path:
    """The file a SQLite address names; ValueError when it names none."""
    database = sa.make_url(url).database
    if not database or database == ":memory:":
        raise ValueError("Held needs a SQLite database in a file.")
    return Path(database)


def database_now() -> datetime:
    """SQLite's clock, which is this machine's, to the millisecond; asking SQLite for it costs a statement."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond - now.microsecond % MICROSECONDS_IN_A_MILLISECOND)


class _Held:
    """A connection of ours, by its driver and by SQLAlchemy."""

    def __init__(self, engine: sa.Engine) -> None:
        self.connection = engine.connect()
        driver = self.connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self.raw = driver
        self.driver = SqliteDriver(driver)

    def unit(self) -> Unit:
        """This connection's open transaction, with the clock read."""
        return Unit(self.connection, self.driver, database_now())

    def read_only(self) -> "_Held":
        """This connection, unable to write."""
        self.raw.execute("PRAGMA query_only = ON").fetchall()
        return self

    def end(self) -> None:
        """Ends a read transaction."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        """Lets the file go."""
        self.end()
        self.connection.close()


class SqliteSnapshot:
    """A read transaction that stays open on its own connection."""

    def __init__(self, held: _Held) -> None:
        held.raw.execute("BEGIN")
        # A read transaction sees what stands at its first read, so that is made at once.
        held.raw.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        self._unit = held.unit()

    async def run(self, work: Callable[[Unit], T]) -> T:
        """What the work answers, run where it is asked for."""
        with _Translated():
            return work(self._unit)


class SqliteBackend:
    """One SQLite file, used by this process alone."""

    def __init__(self, path: Path) -> None:
        self._engine = engine_for(path)
        write = _Held(self._engine)
        self._written = write
        self._writer = SqliteWriter(write.raw, write.unit)
        self._reader = _Held(self._engine).read_only()
        self._idle: list[_Held] = []
        self._snapshots = asyncio.Semaphore(SNAPSHOTS_MAX)
        self._spent = SpentIdentifiers()

    async def read(self, scope: Scope, work: Callable[[Unit], T]) -> T:  # noqa: ARG002 - one wall here
        """Runs the work where it is asked for: a thread would cost ten times the read."""
        with _Translated():
            try:
                self._reader.raw.execute("BEGIN")
                return work(self._reader.unit())
            finally:
                self._reader.end()

    @asynccontextmanager
    async def snapshot(self, scope: Scope) -> AsyncGenerator[SqliteSnapshot]:  # noqa: ARG002 - one wall here
        """A snapshot on a connection of its own."""
        await self._have_room()
        held: _Held | None = None
        try:
            with _Translated():
                held = self._idle.pop() if self._idle else _Held(self._engine).read_only()
                snapshot = SqliteSnapshot(held)
            yield snapshot
        finally:
            self._snapshots.release()
            if held is not None:
                self._put_back(held)

    async def write(self, scope: Scope, work: Callable[[Unit], T]) -> T:  # noqa: ARG002 - one wall here
        """Runs the work on the writer's thread, with what else waits there."""
        try:
            return await self._writer.submit(work)
        except (sqlite3.OperationalError, exc.OperationalError) as error:
            raise Busy from error

    async def append(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """As `write`: here every command shares its transaction with what else waits."""
        return await self.write(scope, work)

    async def spend_identifier(self, identifier: bytes, seconds: int, ahead: float) -> bool:
        """False when spent before. Kept in memory: the nonce key is new at each start (DESIGN section 4)."""
        return self._spent.spend(identifier, seconds, time.monotonic() + ahead)

    async def close(self) -> None:
        """Finishes what was accepted, and closes every connection."""
        await self._writer.close()
        for held in (self._written, self._reader, *self._idle):
            held.close()
        self._engine.dispose()

    async def _have_room(self) -> None:
        if not self._snapshots.locked():
            await self._snapshots.acquire()
            return
        try:
            async with asyncio.timeout(LOCK_SECONDS_MAX):
                await self._snapshots.acquire()
        except TimeoutError:
            raise Busy from None

    def _put_back(self, held: _Held) -> None:
        held.end()
        if len(self._idle) < SNAPSHOTS_KEPT:
            self._idle.append(held)
        else:
            held.close()


class SpentIdentifiers:
    """Identifiers that were used, until each may be forgotten. When full it refuses more."""

    def __init__(self, most: int = SPENT_IDENTIFIERS_MAX) -> None:
        self._most = most
        self._kept: set[bytes] = set()
        self._by_expiry: list[tuple[float, bytes]] = []

    def spend(self, identifier: bytes, seconds: int, now: float) -> bool:
        """False when the identifier is still kept; Busy when there is no room for another."""
        while self._by_expiry and self._by_expiry[0][0] <= now:
            self._kept.discard(heapq.heappop(self._by_expiry)[1])
        if identifier in self._kept:
            return False
        if len(self._kept) >= self._most:
            raise Busy
        self._kept.add(identifier)
        heapq.heappush(self._by_expiry, (now + seconds, identifier))
        return True


class _Translated:
    """What SQLite says when it cannot be had in time or has no room becomes Busy."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError | exc.OperationalError):
            raise Busy from error


def _make_private(path: Path) -> None:
    """SQLite gives its `-wal` and `-shm` files the mode of the database."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
