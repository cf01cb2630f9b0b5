"""A database of the first release, with people's records in it, is brought up to date and goes on."""

import os
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from server.storage import feed, migrating
from server.storage.engine import Storage
from server.storage.feed_rows import KEPT_AS, seal_version
from server.storage.migrating import migrate
from server.storage.sealing import Sealer
from sync.digest import bucket_of, digest_of, entry_hash
from tests.contract.feed_items import body, head, observation, put_observation
from tests.migrations.test_migrations import BOTH, run
from tests.postgres_server import PostgresServer
from tests.storages import new_keys

FIRST = "0001_pre_first_tables"
WITHHELD = 3
ITEMS = 7
ITEM = sa.text(
    "INSERT INTO item (record_id, item_key, version, seq, state, head, body)"
    " VALUES (:record_id, :item_key, :version, :seq, :state, :head, :body)"
)


@pytest.fixture(params=BOTH)
async def urls(request, tmp_path):
    """The owner's and the app's address of an empty database."""
    if request.param == "sqlite":
        yield (f"sqlite:///{tmp_path}/held.db",) * 2
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = await server.empty_database()
    yield database.owner_url, database.app_url
    await server.drop(database)


async def first_release(owner_url: str, keys) -> UUID:
    """A record as the first release wrote it, in the tables of the first release."""
    record_id, key = uuid4(), os.urandom(32)
    sealer = Sealer.of_record(record_id, key)
    wrapped = sealer.commitment() + await keys.wrap(record_id, key)

    def fill(connection: sa.Connection) -> None:
        migrating.command.upgrade(migrating.config_for(connection), FIRST)
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.set_config("app.record", str(record_id), True)))
        typed = sa.bindparam("record_id", record_id, sa.Uuid())
        for table, columns, values in (
            ("record", "epoch, seq, floor, sealed", "5, 7, 0, :sealed"),
            ("record_key", "wrapped", ":sealed"),
            ("log_head", "log_id, size, root", ":sealed, 0, :sealed"),
        ):
            insert = sa.text(f"INSERT INTO {table} (record_id, {columns}) VALUES (:record_id, {values})")
            connection.execute(insert.bindparams(typed), {"sealed": wrapped})
        rows = [item_row(sealer, record_id, seq) for seq in range(1, ITEMS + 1)]
        connection.execute(ITEM.bindparams(sa.bindparam("record_id", type_=sa.Uuid())), rows)

    await run(owner_url, fill)
    return record_id


def item_row(sealer: Sealer, record_id: UUID, seq: int) -> dict[str, object]:
    logical_id, state = str(seq), feed.WITHHELD if seq == WITHHELD else feed.LIVE
    item_key = sealer.item_key("Observation", logical_id)
    rendered = head(logical_id, 1), body(logical_id, 1)
    return {
        "record_id": record_id,
        "item_key": item_key,
        "version": 1,
        "seq": seq,
        "state": state,
        **seal_version(sealer, item_key, 1, rendered, kept_as=KEPT_AS[state]),
    }


def expected_root(session, names: dict[str, int]) -> bytes:
    key = feed.digest_key(session.sealer)
    return digest_of(
        (
            bucket_of(key, "Observation", name),
            entry_hash(key, "Observation", name, version=version, body=body(name, version)),
        )
        for name, version in names.items()
    ).root(key)


async def test_a_record_of_the_first_release_gets_its_digest_when_it_is_first_needed(urls, tmp_path):
    owner_url, app_url = urls
    keys = new_keys(tmp_path)
    record_id = await first_release(owner_url, keys)
    await migrate(owner_url, app_url=app_url)
    storage = await Storage.open(app_url, keys)
    try:
        heads = await storage.read(record_id, lambda session: feed.heads(session, 0, 100))
        assert [each.seq for each in heads] == [1, 2, 4, 5, 6, 7]
        assert await storage.read(record_id, feed.standing) == (7, 5, 0, None)
        live = {str(seq): 1 for seq in range(1, ITEMS + 1) if seq != WITHHELD}
        await storage.write(record_id, feed.ensure_digest)
        expected = await storage.read(record_id, lambda session: expected_root(session, live))
        assert (await storage.read(record_id, feed.standing)).root == expected
        await put_observation(storage, record_id, "1")
        await storage.write(record_id, lambda session: feed.put(session, [observation("2", feed.GONE)]))
        live["1"] = 2
        del live["2"]
        expected = await storage.read(record_id, lambda session: expected_root(session, live))
        assert (await storage.read(record_id, feed.standing)).root == expected
    finally:
        await storage.close()
