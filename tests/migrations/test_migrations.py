"""Migrations on both databases: they make what the tables say, whole or not at all, and distributable."""

import asyncio
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlmodel import SQLModel

from server.storage import migrating
from server.storage.backend import StorageUnsafe
from server.storage.engine import Storage
from server.storage.migrating import migrate, refuse_outdated, scram_verifier
from server.storage.sqlite import database_path, engine_for
from tests.every_table import DIRECTORY_TABLES, RECORD_TABLES
from tests.postgres_server import APP, PostgresServer
from tests.storages import new_keys

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(params=BOTH)
async def url(request, tmp_path):
    """The owner's address of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/held.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = await server.empty_database()
    yield database.owner_url
    await server.drop(database)


async def run(url: str, work) -> Any:
    answers: list[Any] = []
    await migrating._in_transaction(url, lambda connection: answers.append(work(connection)))
    return answers[0]


async def test_migrations_make_exactly_what_the_tables_say(url):
    await migrate(url)

    def compare(connection: sa.Connection) -> Any:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata)

    assert await run(url, compare) == []


async def test_migrating_again_changes_nothing(url):
    await migrate(url)
    await migrate(url)
    await refuse_outdated(url)


async def test_a_database_that_was_never_migrated_is_refused(url):
    with pytest.raises(StorageUnsafe, match="held migrate"):
        await refuse_outdated(url)


async def test_a_migration_that_fails_leaves_nothing_behind(url, monkeypatch):
    def fail(connection: sa.Connection) -> None:
        migrating.command.upgrade(migrating.config_for(connection), "head")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        await run(url, fail)
    assert await run(url, lambda connection: sa.inspect(connection).get_table_names()) == []


async def test_the_migrated_tables_stay_distributable_by_record(url):
    await migrate(url)

    def keys(connection: sa.Connection) -> dict[str, list[list[str | None]]]:
        inspector = sa.inspect(connection)
        found: dict[str, list[list[str | None]]] = {}
        for table in RECORD_TABLES:
            unique = [each["column_names"] for each in inspector.get_unique_constraints(table.name)]
            indexes = [each["column_names"] for each in inspector.get_indexes(table.name)]
            foreign = [each["constrained_columns"] for each in inspector.get_foreign_keys(table.name)]
            primary = inspector.get_pk_constraint(table.name)["constrained_columns"]
            found[table.name] = [primary, *unique, *indexes, *foreign]
        return found

    for name, each in (await run(url, keys)).items():
        assert all(columns[0] == "record_id" for columns in each), name


async def test_no_directory_table_refers_to_a_record_s_table(url):
    await migrate(url)
    foreign = await run(
        url,
        lambda connection: [
            key for table in DIRECTORY_TABLES for key in sa.inspect(connection).get_foreign_keys(table.name)
        ],
    )
    assert foreign == []


@pytest.mark.postgres
async def test_the_app_s_user_logs_in_with_the_password_of_its_address(postgres_server, tmp_path):
    database = await postgres_server.empty_database()
    name = sa.make_url(database.app_url).database
    app_url = f"postgresql://held_server:s3cret'%22%25word@/{name}?host={postgres_server.folder}"
    await migrate(database.owner_url, app_url=app_url)
    await refuse_outdated(app_url)
    storage = await Storage.open(app_url, new_keys(tmp_path))
    assert await storage.look_up(lambda session: session.now)
    await storage.close()
    rows = await _as_superuser(
        postgres_server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'held_server'"
    )
    assert rows[0][0].startswith("SCRAM-SHA-256$4096:")
    assert "word" not in postgres_server.log_file.read_text()
    await postgres_server.drop(database)


@pytest.mark.postgres
async def test_an_owner_that_may_not_make_roles_needs_them_made_for_it(postgres_server):
    database = await postgres_server.empty_database()
    name = sa.make_url(database.app_url).database
    await postgres_server.execute(
        "CREATE ROLE plain_owner LOGIN", f"ALTER DATABASE {name} OWNER TO plain_owner"
    )
    owner_url = postgres_server.url(name, "plain_owner")
    with pytest.raises(StorageUnsafe, match="nobody_yet"):
        await migrate(owner_url, app_url=postgres_server.url(name, "nobody_yet"))
    await migrate(owner_url, app_url=database.app_url)
    await refuse_outdated(owner_url)
    await postgres_server.drop(database)


@pytest.mark.postgres
async def test_our_password_verifier_is_the_one_postgresql_would_make(postgres_server):
    """The server keeps a verifier as it is; anything else it would hash as a password."""
    verifier = scram_verifier("one password")
    await postgres_server.execute(f"CREATE ROLE verifying LOGIN PASSWORD '{verifier}'")
    rows = await _as_superuser(
        postgres_server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'verifying'"
    )
    assert rows[0][0] == verifier


@pytest.mark.postgres
async def test_every_table_has_its_grants_and_no_more(postgres_server):
    rows = await _as_superuser(
        postgres_server,
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type) FROM"
        f" information_schema.table_privileges WHERE grantee = '{APP}' GROUP BY table_name",
        database="held_template",
    )
    granted = dict(map(tuple, rows))
    free = dict.fromkeys(
        (table.name for table in (*RECORD_TABLES, *DIRECTORY_TABLES)), "DELETE INSERT SELECT UPDATE"
    )
    assert granted == free | {
        "log_entry": "INSERT SELECT",
        "item_version": "DELETE INSERT SELECT",
        "mutation_outcome": "DELETE INSERT SELECT",
        "alembic_version": "SELECT",
    }


@pytest.mark.postgres
async def test_spent_identifiers_need_not_survive_a_crash_and_everything_else_does(postgres_server):
    rows = await _as_superuser(
        postgres_server,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u'",
        "held_template",
    )
    assert [row[0] for row in rows] == ["spent_identifier"]


def test_a_sqlite_database_is_its_owner_s_alone(tmp_path):
    asyncio.run(migrate(f"sqlite:///{tmp_path}/held.db"))
    engine = engine_for(tmp_path / "held.db")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        connection.exec_driver_sql("CREATE TABLE wal_exists (x)")
        connection.exec_driver_sql("COMMIT")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"held.db": 0o600, "held.db-wal": 0o600, "held.db-shm": 0o600}


def test_a_sqlite_address_must_name_a_file():
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(ValueError, match="file"):
            database_path(url)


async def _as_superuser(server: PostgresServer, query: str, database: str = "postgres"):
    connection = await asyncpg.connect(host=str(server.folder), user="postgres", database=database)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()
