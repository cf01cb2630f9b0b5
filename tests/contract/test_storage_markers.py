"""What is planted through every sealed way in is in no file of either database (THREATS i)."""

import tempfile
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from fhir_profiles.heads import Head
from server.storage import directory, feed
from server.storage.engine import Storage
from server.storage.session import WriteSession
from server.storage.tables import RecordRow, StoredOutcomeRow
from tests.contract.feed_items import head, staged
from tests.markers import find_in_bytes, find_in_files, marker
from tests.postgres_server import PostgresServer
from tests.storages import postgres_storage, sqlite_storage

PLANTED = 60


def item(number: int, state: int = feed.LIVE) -> feed.FeedItem:
    def render(version: int, now: object) -> tuple[Head, bytes]:
        served = b'{"note":"%s"}' % marker(number).encode() * (number * 20 + 1)
        return head(marker(number), version, title=marker(number)), served

    return feed.FeedItem(f"Type{marker(number)}", marker(number), render, state)


async def plant(storage: Storage) -> None:
    """Writes markers through everything that storage seals, more than one version of each."""
    record_id, extract_id = uuid4(), uuid4()
    await storage.create_record(record_id, lambda session: None)
    for number in range(PLANTED):
        await storage.write(record_id, lambda session, number=number: feed.put(session, [item(number)]))
    await storage.write(record_id, lambda session: feed.put(session, [item(1), item(2, feed.WITHHELD)]))
    await storage.write(record_id, lambda session: feed.put_hidden(session, [item(61), item(62)]))
    rows = [staged(position, marker(63 + position), 0) for position in range(5)]
    await storage.write(record_id, lambda session: feed.stage(session, extract_id, rows))
    await storage.write(record_id, plant_sealed_columns)
    for number in (70, 71):
        name = marker(number)
        await storage.register(lambda session, name=name: directory.put_person(session, name, name.encode()))
        await storage.register(lambda session, name=name: directory.put_client(session, name, name.encode()))
        await storage.register(
            lambda session, name=name: directory.put_organisation(session, name, name.encode())
        )
        await storage.register(
            lambda session, name=name: directory.claim_nhs_number(session, name, record_id)
        )
        await storage.register(lambda session, name=name: directory.claim_subject(session, name, record_id))
    await storage.read(record_id, lambda session: feed.changes(session, 0, 100))


def plant_sealed_columns(session: WriteSession) -> None:
    sealed = session.sealer.seal("profile", b"", 0, marker(80).encode())
    session.execute(
        sa.update(RecordRow).where(RecordRow.record_id == session.record_id).values(sealed=sealed)
    )
    outcome = {"record_id": session.record_id, "operation_key": session.sealer.mac("op", marker(81))}
    answer = session.sealer.seal("outcome", b"", 0, marker(82).encode())
    session.execute(sa.insert(StoredOutcomeRow), outcome | {"sealed": answer, "stored_at": session.now})
    log = session.lock_log()
    entry = session.sealer.seal("log", b"", 1, marker(83).encode())
    session.hot.append_log(log.size + 1, entry, b"leaf", root=b"root")


async def test_no_marker_is_in_a_sqlite_file_while_in_use_or_after(tmp_path):
    async with sqlite_storage(tmp_path) as storage:
        await plant(storage)
        names = {path.name for path in tmp_path.iterdir()}
        assert {"held.db", "held.db-wal"} <= names
        assert find_in_files([tmp_path]) == []
    assert find_in_files([tmp_path]) == []
    assert find_in_files(Path(tempfile.gettempdir()).glob("etilqs_*")) == []


async def test_a_marker_put_in_the_clear_would_be_found_in_sqlite(tmp_path):
    async with sqlite_storage(tmp_path) as storage:
        record_id = uuid4()
        await storage.create_record(record_id, lambda session: None)
        plain = sa.update(RecordRow).values(sealed=marker(1).encode())
        await storage.write(record_id, lambda session: session.execute(plain))
        assert find_in_files([tmp_path])


@pytest.fixture
async def own_server(postgres_server: PostgresServer):
    """A server of this test's own: what is planted in the clear stays in its write-ahead log."""
    server = PostgresServer(postgres_server.programs)
    try:
        server.start()
        await server.prepare()
        yield server
    finally:
        server.remove()


@pytest.mark.postgres
@pytest.mark.slow
async def test_no_marker_is_in_postgresql_s_folder_log_or_rows(own_server: PostgresServer, tmp_path):
    async with postgres_storage(own_server, tmp_path) as storage:
        await plant(storage)
        name = storage._backend._engine.url.database
        await own_server.execute("CHECKPOINT")
        assert find_in_files([own_server.data_folder, own_server.log_file, tmp_path]) == []
        assert find_in_bytes(await every_row(own_server, name), "rows") == []
        plain = f"CREATE TABLE plain AS SELECT '{marker(1)}' AS name"
        await own_server.execute(plain, "CHECKPOINT", database=name)
        assert find_in_files([own_server.data_folder])


async def every_row(server: PostgresServer, database: str) -> bytes:
    """Every value of every table: PostgreSQL's own compression could hide a word in its files."""
    connection = await asyncpg.connect(host=str(server.folder), user="postgres", database=database)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200"
        )
        assert len(tables) > 30
        rows = [
            row for table in tables for row in await connection.fetch(f"SELECT * FROM {table['relname']}")
        ]
    finally:
        await connection.close()
    assert len(rows) > 50
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row.values()
    )
