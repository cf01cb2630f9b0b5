"""What holds on PostgreSQL alone: time limits, retries, lost connections, entries appended together."""

import asyncio
import time
from uuid import uuid4

import asyncpg
import pytest
import sqlalchemy as sa

from server.errors import Busy
from server.storage import postgres
from server.storage.engine import Storage
from server.storage.postgres import CommandLost
from server.storage.session import WriteSession
from server.storage.tables import RecordRow
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


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


@pytest.fixture
async def superuser(database: PostgresDatabase):
    parts = sa.make_url(database.superuser_url)
    connection = await asyncpg.connect(host=parts.query["host"], user="postgres", database=parts.database)
    yield connection
    await connection.close()


def add_log_entry(session: WriteSession) -> int:
    head = session.lock_log()
    session.hot.append_log(head.size + 1, b"sealed", b"leaf", root=b"root")
    return head.size + 1


async def test_a_hundred_entries_take_few_transactions(storage, record_id, monkeypatch):
    transactions = []
    run = postgres._run

    def counted(*arguments):
        transactions.append(arguments)
        return run(*arguments)

    monkeypatch.setattr(postgres, "_run", counted)
    numbers = await asyncio.gather(*(storage.append(record_id, add_log_entry) for _ in range(100)))
    assert sorted(numbers) == list(range(1, 101))
    assert len(transactions) <= 5


async def test_records_do_not_wait_for_each_other(storage, record_id, superuser):
    other = uuid4()
    await storage.create_record(other, lambda session: None)
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM record WHERE record_id = $1 FOR UPDATE", record_id)
        async with asyncio.timeout(1.5):
            assert await storage.write(other, lambda session: session.lock_record().seq) == 0


async def test_a_lock_that_is_not_had_in_two_seconds_is_busy(storage, record_id, superuser):
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM record WHERE record_id = $1 FOR UPDATE", record_id)
        started = time.monotonic()
        with pytest.raises(Busy):
            await storage.write(record_id, lambda session: session.lock_record())
        assert 1.5 < time.monotonic() - started < 5
    assert (await storage.write(record_id, lambda session: session.lock_record())).seq == 0


async def test_a_lock_refused_to_appended_entries_is_busy_for_all_of_them(storage, record_id, superuser):
    async with superuser.transaction():
        await superuser.execute("SELECT 1 FROM log_head WHERE record_id = $1 FOR UPDATE", record_id)
        waiting = [storage.append(record_id, add_log_entry) for _ in range(10)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, Busy) for outcome in outcomes)
    assert await storage.append(record_id, add_log_entry) == 1


async def test_a_statement_over_five_seconds_is_busy(storage, record_id):
    started = time.monotonic()
    with pytest.raises(Busy):
        await storage.read(record_id, lambda session: session.execute(sa.text("SELECT pg_sleep(30)")))
    assert 4 < time.monotonic() - started < 10


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_transaction_the_database_undid_is_run_again(storage, record_id, sqlstate):
    attempts = []

    def command(session: WriteSession) -> int:
        attempts.append(1)
        add_log_entry(session)
        if len(attempts) < 3:
            raising = f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{sqlstate}'; END $$"
            session.execute(sa.text(raising))
        return len(attempts)

    assert await storage.write(record_id, command) == 3
    assert (await storage.read(record_id, lambda session: session.hot.log_head())).size == 1


async def test_trying_again_is_bounded(storage, record_id):
    attempts = []

    def command(session: WriteSession) -> None:
        attempts.append(1)
        session.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(Busy):
        await storage.write(record_id, command)
    assert len(attempts) == postgres.ATTEMPTS_MAX


async def test_two_commands_that_deadlock_both_succeed(storage, superuser):
    """Locks on two rows in opposite order: one is undone by PostgreSQL and run again."""
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    both_hold_one = asyncio.Barrier(2)
    first_try = {"one": True, "two": True}

    def command(name: str, statements: tuple[str, str]):
        def run(session: WriteSession) -> str:
            session.execute(sa.text(statements[0]))
            if first_try.pop(name, False):
                sa.util.await_only(both_hold_one.wait())
            session.execute(sa.text(statements[1]))
            return name

        return run

    record, log = "UPDATE record SET floor = floor + 1", "UPDATE log_head SET note = note"
    answers = await asyncio.gather(
        storage.write(record_id, command("one", (record, log))),
        storage.write(record_id, command("two", (log, record))),
    )
    assert answers == ["one", "two"]
    floor = sa.select(RecordRow.floor)
    assert await storage.read(record_id, lambda session: session.execute(floor).scalar_one()) == 2


async def test_a_command_that_goes_on_after_a_failed_statement_is_not_acknowledged(storage, record_id):
    def command(session: WriteSession) -> str:
        add_log_entry(session)
        with pytest.raises(sa.exc.DBAPIError):
            session.execute(sa.text("SELECT 1 / 0"))
        return "done"

    with pytest.raises(CommandLost):
        await storage.write(record_id, command)
    assert await storage.append(record_id, add_log_entry) == 1


async def test_connections_the_server_ended_are_replaced(storage, record_id, superuser):
    slow = lambda session: session.execute(sa.text("SELECT pg_sleep(0.2)"))  # noqa: E731
    await asyncio.gather(*(storage.read(record_id, slow) for _ in range(10)))
    await superuser.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = 'held_app' AND datname = current_database()"
    )
    await asyncio.sleep(0.2)
    for _ in range(20):
        assert await storage.read(record_id, lambda session: session.record_id) == record_id


async def test_a_connection_lost_in_a_command_is_busy_and_the_next_one_works(storage, record_id):
    def command(session: WriteSession) -> None:
        add_log_entry(session)
        session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(Busy):
        await storage.write(record_id, command)
    assert await storage.append(record_id, add_log_entry) == 1


async def test_more_callers_than_connections_wait_or_are_busy_within_the_limit(database, tmp_path):
    storage = await Storage.open(database.app_url, new_keys(tmp_path), connections=2)
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    slow = lambda session: session.execute(sa.text("SELECT pg_sleep(3)"))  # noqa: E731
    holding = [asyncio.create_task(storage.read(record_id, slow)) for _ in range(2)]
    await asyncio.sleep(0.3)
    started = time.monotonic()
    with pytest.raises(Busy):
        await storage.read(record_id, lambda session: None)
    assert time.monotonic() - started < 3
    await asyncio.gather(*holding)
    answers = await asyncio.gather(*(storage.read(record_id, lambda session: 1) for _ in range(50)))
    assert answers == [1] * 50
    await storage.close()


async def test_a_cancelled_command_leaves_a_clean_connection(database, tmp_path):
    storage = await Storage.open(database.app_url, new_keys(tmp_path), connections=1)
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)

    def command(session: WriteSession) -> None:
        add_log_entry(session)
        session.execute(sa.text("SELECT pg_sleep(3)"))

    task = asyncio.create_task(storage.write(record_id, command))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await storage.append(record_id, add_log_entry) == 1
    await storage.close()


async def test_a_server_that_is_away_is_busy_and_comes_back(postgres_server, tmp_path):
    server = PostgresServer(postgres_server.programs)
    try:
        server.start()
        await server.prepare()
        database = await server.fresh_database()
        storage = await Storage.open(database.app_url, new_keys(tmp_path))
        record_id = uuid4()
        await storage.create_record(record_id, add_log_entry)
        server.stop()
        started = time.monotonic()
        for call in (storage.read, storage.write, storage.append):
            with pytest.raises(Busy):
                await call(record_id, lambda session: None)
        assert time.monotonic() - started < 6
        server.start()
        assert await storage.append(record_id, add_log_entry) == 2
        await storage.close()
    finally:
        server.remove()
