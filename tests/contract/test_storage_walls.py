"""The second wall on PostgreSQL: what holds when our own filters do not."""

from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from server.storage import feed
from server.storage.backend import StorageUnsafe
from server.storage.engine import Storage
from tests.contract.feed_items import observation, staged
from tests.every_table import DIRECTORY_TABLES, RECORD_TABLES, row_for
from tests.postgres_server import PostgresDatabase, PostgresServer
from tests.storages import new_keys

pytestmark = pytest.mark.postgres


@pytest.fixture
async def database(postgres_server: PostgresServer):
    made = await postgres_server.fresh_database()
    yield made
    await postgres_server.drop(made)


@pytest.fixture
async def storage(database: PostgresDatabase, tmp_path):
    opened = await Storage.open(database.app_url, new_keys(tmp_path))
    yield opened
    await opened.close()


def connect(url: str):
    parts = sa.make_url(url)
    return asyncpg.connect(host=parts.query["host"], user=parts.username, database=parts.database)


def insertion(row, table: str):
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values())


@pytest.fixture
async def app(database: PostgresDatabase):
    connection = await connect(database.app_url)
    yield connection
    await connection.close()


@pytest.fixture
async def filled(database: PostgresDatabase):
    """Two records with a row in every table, and a row in every directory table."""
    record_ids = (uuid4(), uuid4())
    connection = await connect(database.superuser_url)
    for table in (*RECORD_TABLES, *DIRECTORY_TABLES):
        for record_id in record_ids:
            statement, values = insertion(row_for(table, record_id), table.name)
            await connection.execute(statement, *values)
    await connection.close()
    return record_ids


def ids_of(tables) -> list[str]:
    return [table.name for table in tables]


async def rows_seen(connection, tables) -> dict[str, int]:
    """How many rows of each table the connection sees, those with none left out."""
    counts = {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in ids_of(tables)}
    return {name: count for name, count in counts.items() if count}


async def bind_record(connection, record_id) -> None:
    await connection.execute("SELECT set_config('app.record', $1, true)", str(record_id))


async def bind_directory(connection) -> None:
    await connection.execute("SELECT set_config('app.scope', 'directory', true)")


async def test_there_are_tables_to_guard():
    assert len(RECORD_TABLES) >= 16
    assert len(DIRECTORY_TABLES) >= 15


async def test_a_record_s_transaction_sees_its_own_rows_alone(app, filled):
    async with app.transaction():
        await bind_record(app, filled[0])
        for name in ids_of(RECORD_TABLES):
            owners = await app.fetch(f"SELECT record_id FROM {name}")
            assert [row["record_id"] for row in owners] == [filled[0]], name


async def test_a_record_s_transaction_sees_no_directory(app, filled):
    async with app.transaction():
        await bind_record(app, filled[0])
        assert await rows_seen(app, DIRECTORY_TABLES) == {}


async def test_a_directory_transaction_sees_no_record_s_rows(app, filled):
    async with app.transaction():
        await bind_directory(app)
        assert await rows_seen(app, RECORD_TABLES) == {}
        assert await rows_seen(app, DIRECTORY_TABLES) == dict.fromkeys(ids_of(DIRECTORY_TABLES), 2)


async def test_outside_a_bound_transaction_there_are_no_rows(app, filled):
    tables = [*RECORD_TABLES, *DIRECTORY_TABLES]
    assert await rows_seen(app, tables) == {}
    async with app.transaction():
        await bind_record(app, filled[0])
        await bind_directory(app)
    # After the transaction the settings are empty strings, which must mean nobody.
    assert await rows_seen(app, tables) == {}


async def test_another_record_s_rows_can_be_neither_written_nor_removed(app, filled):
    mine, theirs = filled
    for table in RECORD_TABLES:
        statement, values = insertion(row_for(table, theirs), table.name)
        async with app.transaction():
            await bind_record(app, mine)
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with app.transaction():
                    await app.execute(statement, *values)
        if table.name != "log_entry":
            async with app.transaction():
                await bind_record(app, mine)
                removed = await app.execute(f"DELETE FROM {table.name} WHERE record_id = $1", theirs)
                assert removed == "DELETE 0", table.name


async def test_no_table_can_be_emptied_or_changed_in_shape(app):
    for name in ids_of([*RECORD_TABLES, *DIRECTORY_TABLES]):
        for statement in (
            f"TRUNCATE {name}",
            f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
            f"DROP TABLE {name}",
            f"CREATE POLICY wide ON {name} USING (true)",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)


async def test_what_was_logged_can_be_neither_changed_nor_removed(app, filled):
    for statement in (
        "UPDATE log_entry SET n = 9",
        "DELETE FROM log_entry",
        "UPDATE item_version SET version = 9",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


async def test_the_owner_is_bound_too(database, filled):
    owner = await connect(database.owner_url)
    try:
        for table in (*RECORD_TABLES, *DIRECTORY_TABLES):
            assert await owner.fetch(f"SELECT 1 FROM {table.name}") == [], table.name
    finally:
        await owner.close()


async def test_a_session_without_its_filters_still_sees_one_record_only(storage):
    record_ids = [uuid4(), uuid4()]
    extract_id = uuid4()
    for record_id in record_ids:
        await storage.create_record(record_id, lambda session: feed.put(session, [observation("1")]))
        await storage.write(record_id, lambda session: feed.stage(session, extract_id, [staged(0, "2", 0)]))

    def everything(session):
        return {
            table.name: session.execute(sa.select(table.c.record_id)).scalars().all()
            for table in RECORD_TABLES
        }

    for way in (storage.read, storage.write, storage.append):
        rows = await way(record_ids[0], everything)
        assert {owner for owners in rows.values() for owner in owners} == {record_ids[0]}
        assert all(
            len(rows[name]) == 1 for name in ("record", "record_key", "item", "staged_item", "log_head")
        )
    rows = await storage.look_up(everything)
    assert all(owners == [] for owners in rows.values())


async def test_one_connection_used_for_two_records_never_mixes_them(database, tmp_path):
    storage = await Storage.open(database.app_url, new_keys(tmp_path), connections=1)
    try:
        record_ids = [uuid4() for _ in range(4)]
        for record_id in record_ids:
            await storage.create_record(record_id, lambda session: None)
        for record_id in record_ids * 3:
            owners = await storage.read(
                record_id,
                lambda session: session.execute(sa.select(RECORD_TABLES[0].c.record_id)).scalars().all(),
            )
            assert set(owners) <= {record_id}
    finally:
        await storage.close()


@pytest.mark.parametrize("who", ["owner_url", "superuser_url"])
async def test_the_server_refuses_to_run_as_owner_or_superuser(database, tmp_path, who):
    with pytest.raises(StorageUnsafe):
        await Storage.open(getattr(database, who), new_keys(tmp_path))


UNSAFE = {
    "a role that bypasses security": ("ALTER ROLE held_app BYPASSRLS", "ALTER ROLE held_app NOBYPASSRLS"),
    "a role that may truncate": (
        "GRANT TRUNCATE ON item TO held_app",
        "REVOKE TRUNCATE ON item FROM held_app",
    ),
    "a member of the owner": ("GRANT held_owner TO held_app", "REVOKE held_owner FROM held_app"),
    "a table without a policy": ("DROP POLICY item_guard ON item", None),
    "a table whose owner is not bound": ("ALTER TABLE item NO FORCE ROW LEVEL SECURITY", None),
    "a table without security": ("CREATE TABLE extra (record_id uuid)", None),
    "commits that do not wait": (
        "ALTER ROLE held_app SET synchronous_commit = off",
        "ALTER ROLE held_app RESET synchronous_commit",
    ),
}


@pytest.mark.parametrize("fault", UNSAFE)
async def test_the_server_refuses_to_start_on(postgres_server, database, tmp_path, fault):
    breaking, mending = UNSAFE[fault]
    name = sa.make_url(database.app_url).database
    await postgres_server.execute(breaking, database=name)
    try:
        with pytest.raises(StorageUnsafe):
            await Storage.open(database.app_url, new_keys(tmp_path))
    finally:
        if mending:
            await postgres_server.execute(mending, database=name)


async def test_the_server_refuses_a_database_without_tables(postgres_server, tmp_path):
    empty = await postgres_server.empty_database()
    with pytest.raises(StorageUnsafe, match="held migrate"):
        await Storage.open(empty.app_url, new_keys(tmp_path))
    await postgres_server.drop(empty)
