"""Storage: the only door to the database. Work is a plain function of a session."""

import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.errors import Conflict
from server.storage.backend import Backend, SnapshotUnit, Unit
from server.storage.feed_digest import digest_key
from server.storage.hot import HotReads, HotWrites
from server.storage.key_cache import KeyCache
from server.storage.keys import KeyProvider
from server.storage.postgres import PostgresBackend
from server.storage.sealing import COMMITMENT_BYTES, KEY_BYTES, SealBroken, Sealer
from server.storage.session import DirectoryReads, DirectorySession, ReadSession, RecordUnknown, WriteSession
from server.storage.sqlite import SqliteBackend, database_path
from server.storage.tables import RecordKeyRow, RecordRow
from sync.digest import Digest

T = TypeVar("T")

EPOCH_BITS = 63
LOG_ID_BYTES = 32


class RecordExists(Conflict):
    """There is a record with this id already."""


class Snapshot:
    """One record as it was at one instant, to read from many times."""

    def __init__(self, storage: "Storage", record_id: UUID, sealer: Sealer, unit: SnapshotUnit) -> None:
        self._storage = storage
        self._unit = unit
        self.record_id = record_id
        self.sealer = sealer

    async def run(self, query: Callable[[ReadSession], T]) -> T:
        """What the query answers of this instant."""
        return await self._unit.run(self._storage.reading(self.record_id, self.sealer, query))


class Storage:
    """Reads and writes of one record at a time, and of the directory. Made once, by `open`."""

    def __init__(self, backend: Backend, keys: KeyProvider, clock_offset: timedelta) -> None:
        self.clock_offset = clock_offset
        self._backend = backend
        self._keys = keys
        self._cache = KeyCache()
        self._is_closed = False
        self._directory_sealer = Sealer.of_installation(keys.secret("directory"))

    @classmethod
    async def open(
        cls, url: str, keys: KeyProvider, *, clock_offset: timedelta = timedelta(0), connections: int = 10
    ) -> "Storage":
        """The database at an address; StorageUnsafe when it is not set up as it must be."""
        if sa.make_url(url).get_backend_name() == "sqlite":
            return cls(SqliteBackend(database_path(url)), keys, clock_offset)
        return cls(await PostgresBackend.open(url, connections=connections), keys, clock_offset)

    async def close(self) -> None:
        """Finishes what was accepted and lets the database go. Closing again does nothing."""
        if not self._is_closed:
            self._is_closed = True
            await self._backend.close()

    async def read(self, record_id: UUID, query: Callable[[ReadSession], T]) -> T:
        """What the query answers, in one snapshot; RecordUnknown when there is no such record."""
        sealer = await self._sealer(record_id)
        return await self._backend.read(record_id, self.reading(record_id, sealer, query))

    @asynccontextmanager
    async def snapshot(self, record_id: UUID) -> AsyncGenerator[Snapshot]:
        """One instant of the record to read from many times; hold it for seconds, not minutes."""
        sealer = await self._sealer(record_id)
        async with self._backend.snapshot(record_id) as unit:
            yield Snapshot(self, record_id, sealer, unit)

    async def write(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """What the command answers, once committed. It may be run twice, so it changes only the session."""
        sealer = await self._sealer(record_id)
        return await self._backend.write(record_id, self._writing(record_id, sealer, command))

    async def append(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """As `write`, for log entries: those waiting for one record share a transaction."""
        sealer = await self._sealer(record_id)
        return await self._backend.append(record_id, self._writing(record_id, sealer, command))

    async def create_record(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """Makes the record with its key and its empty log, and runs the command in the same transaction."""
        key = os.urandom(KEY_BYTES)
        sealer = Sealer.of_record(record_id, key)
        wrapped = sealer.commitment() + await self._keys.wrap(record_id, key)

        def create(session: WriteSession) -> T:
            _insert_record(session, wrapped)
            return command(session)

        answer = await self._backend.write(record_id, self._writing(record_id, sealer, create))
        self._cache.put(record_id, sealer)
        return answer

    async def look_up(self, query: Callable[[DirectoryReads], T]) -> T:
        """What the query answers of the directory."""

        def work(unit: Unit) -> T:
            return query(
                DirectoryReads(unit.connection, self._directory_sealer, unit.now + self.clock_offset)
            )

        return await self._backend.read(None, work)

    async def register(self, command: Callable[[DirectorySession], T]) -> T:
        """What the command on the directory answers, once it has committed. It may be run twice."""

        def work(unit: Unit) -> T:
            return command(
                DirectorySession(unit.connection, self._directory_sealer, unit.now + self.clock_offset)
            )

        return await self._backend.write(None, work)

    async def spend_identifier(self, mac: bytes, seconds: int) -> bool:
        """True the first time within `seconds`; False for every replay of the same identifier."""
        return await self._backend.spend_identifier(mac, seconds, self.clock_offset.total_seconds())

    def forget_key(self, record_id: UUID) -> None:
        """Drops a record's key from memory: an erased record cannot be opened from then on."""
        self._cache.drop(record_id)

    def reading(
        self, record_id: UUID, sealer: Sealer, query: Callable[[ReadSession], T]
    ) -> Callable[[Unit], T]:
        """The query as work of a unit; for Snapshot."""

        def work(unit: Unit) -> T:
            hot = HotReads(unit.driver, record_id)
            now = unit.now + self.clock_offset
            return query(ReadSession(unit.connection, sealer, now, record_id=record_id, hot=hot))

        return work

    def _writing(
        self, record_id: UUID, sealer: Sealer, command: Callable[[WriteSession], T]
    ) -> Callable[[Unit], T]:
        def work(unit: Unit) -> T:
            hot = HotWrites(unit.driver, record_id)
            now = unit.now + self.clock_offset
            return command(WriteSession(unit.connection, sealer, now, record_id=record_id, hot=hot))

        return work

    async def _sealer(self, record_id: UUID) -> Sealer:
        """The record's sealer. Fetched outside the record's transaction: a provider may be slow to answer."""
        if (cached := self._cache.get(record_id)) is not None:
            return cached
        wrapped = await self._backend.read(record_id, lambda unit: _wrapped_key(unit, record_id))
        if wrapped is None:
            raise RecordUnknown
        commitment, provided = wrapped[:COMMITMENT_BYTES], wrapped[COMMITMENT_BYTES:]
        sealer = Sealer.of_record(record_id, await self._keys.unwrap(record_id, provided))
        if not sealer.commits_to(commitment):
            raise SealBroken("This record's key is not the one the record was made with.")
        self._cache.put(record_id, sealer)
        return sealer


def _wrapped_key(unit: Unit, record_id: UUID) -> bytes | None:
    statement = sa.select(col(RecordKeyRow.wrapped)).where(col(RecordKeyRow.record_id) == record_id)
    return unit.connection.execute(statement).scalar_one_or_none()


def _insert_record(session: WriteSession, wrapped: bytes) -> None:
    record_id = session.record_id
    row = {"record_id": record_id, "epoch": secrets.randbits(EPOCH_BITS), "seq": 0, "floor": 0, "sealed": b""}
    statement = insert(RecordRow).values(row).on_conflict_do_nothing(index_elements=["record_id"])
    if session.execute(statement).rowcount != 1:
        raise RecordExists
    session.execute(sa.insert(RecordKeyRow), {"record_id": record_id, "wrapped": wrapped})
    session.hot.keep_digest(b"", Digest().root(digest_key(session.sealer)))
    log_id = os.urandom(LOG_ID_BYTES)
    session.hot.open_log(log_id, hashlib.sha256(log_id).digest())
