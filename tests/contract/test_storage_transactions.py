"""Transactions on both databases: order, isolation, failure of one among many, the clock, who may exist."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from server.errors import Busy, NotFound
from server.storage import feed
from server.storage.engine import RecordExists, Storage
from server.storage.session import LockOrderBroken, RecordUnknown, WriteSession
from server.storage.tables import RecordRow, StoredOutcomeRow
from tests.contract.feed_items import observation, put_observation


class Refused(Exception):
    pass


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


def add_log_entry(session: WriteSession) -> int:
    head = session.lock_log()
    session.hot.append_log(head.size + 1, b"sealed", b"leaf", root=b"root")
    return head.size + 1


async def test_seqs_are_dense_and_a_reader_never_misses_one_under_concurrent_writers(storage, record_id):
    writers, puts_each = 8, 12
    total = writers * puts_each
    seen: dict[int, bytes] = {}

    async def write(number: int) -> None:
        for count in range(puts_each):
            await put_observation(storage, record_id, f"{number}-{count}")

    async def follow() -> None:
        cursor = 0
        while cursor < total:
            limit = random.randint(1, 5)
            page = await storage.read(
                record_id,
                lambda session: session.hot.feed_page(cursor, limit),  # noqa: B023
            )
            for row in page:
                assert row.seq == cursor + 1, "a row was committed behind the cursor"
                cursor = row.seq
                seen[row.seq] = row.item_key
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *(write(number) for number in range(writers)))
    assert list(seen) == list(range(1, total + 1))
    assert len(set(seen.values())) == total


async def test_rows_that_move_are_delivered_again_and_nothing_is_lost(storage, record_id):
    names = [str(number) for number in range(6)]
    written: dict[str, int] = {}

    async def write(name: str) -> None:
        for _ in range(8):
            written[name] = (await put_observation(storage, record_id, name)).version

    await asyncio.gather(*(write(name) for name in names))
    changes = await storage.read(record_id, lambda session: feed.changes(session, 0, 100))
    assert {row.head.logical_id: row.version for row in changes} == dict.fromkeys(names, 8)
    state = await storage.read(record_id, lambda session: session.hot.record_state())
    assert state[0] == 48
    assert changes[-1].seq == 48


async def test_a_snapshot_sees_one_instant(storage, record_id):
    await put_observation(storage, record_id, "1")
    async with storage.snapshot(record_id) as snapshot:
        before = await snapshot.run(lambda session: feed.heads(session, 0, 10))
        await put_observation(storage, record_id, "2")
        after = await snapshot.run(lambda session: feed.heads(session, 0, 10))
        assert before == after
        assert snapshot.record_id == record_id
    assert len(await storage.read(record_id, lambda session: feed.heads(session, 0, 10))) == 2


async def test_many_snapshots_at_once_wait_their_turn(storage, record_id):
    async def look(_: int) -> int:
        async with storage.snapshot(record_id) as snapshot:
            return await snapshot.run(lambda session: len(feed.heads(session, 0, 10)))

    assert await asyncio.gather(*(look(number) for number in range(100))) == [0] * 100


async def test_a_read_cannot_write(storage, record_id):
    change = sa.update(RecordRow).values(sealed=b"changed")
    with pytest.raises((Busy, sa.exc.DBAPIError)):
        await storage.read(record_id, lambda session: session.execute(change))
    with pytest.raises((Busy, sa.exc.DBAPIError)):
        async with storage.snapshot(record_id) as snapshot:
            await snapshot.run(lambda session: session.execute(change))
    assert await storage.write(record_id, lambda session: session.lock_record().seq) == 0


@pytest.mark.parametrize("way", ["write", "append"])
async def test_a_command_that_raises_is_undone_alone(storage, record_id, way):
    run = getattr(storage, way)

    def refuse(session: WriteSession) -> int:
        add_log_entry(session)
        raise Refused

    def break_a_rule(session: WriteSession) -> int:
        add_log_entry(session)
        row = {"record_id": record_id, "epoch": 1, "seq": 0, "floor": 0, "sealed": b""}
        session.execute(sa.insert(RecordRow), row)
        return 0

    commands = [add_log_entry, refuse, add_log_entry, break_a_rule] * 12 + [add_log_entry]
    outcomes = await asyncio.gather(
        *(run(record_id, command) for command in commands), return_exceptions=True
    )
    assert sorted(each for each in outcomes if isinstance(each, int)) == list(range(1, 26))
    assert len([each for each in outcomes if isinstance(each, Refused)]) == 12
    assert len([each for each in outcomes if isinstance(each, sa.exc.IntegrityError)]) == 12
    assert (await storage.read(record_id, lambda session: session.hot.log_head())).size == 25


async def test_a_part_of_a_command_can_be_undone_alone(storage, record_id):
    def command(session: WriteSession) -> int:
        feed.put(session, [observation("kept")])
        with suppress(Refused), session.savepoint():
            feed.put(session, [observation("undone")])
            raise Refused
        return feed.put(session, [observation("also-kept")])[0].seq

    assert await storage.write(record_id, command) == 2


async def test_a_command_that_lets_a_stop_iteration_out_does_not_hang_its_neighbours(storage, record_id):
    def careless(session: WriteSession) -> int:
        return next(iter([]))

    async with asyncio.timeout(10):
        commands = [careless, add_log_entry, careless, add_log_entry]
        waiting = (storage.append(record_id, command) for command in commands)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [each for each in outcomes if isinstance(each, int)] == [1, 2]
    assert len([each for each in outcomes if isinstance(each, RuntimeError)]) == 2


async def test_the_log_may_not_be_locked_before_the_record(storage, record_id):
    def wrong(session: WriteSession) -> None:
        session.lock_log()
        session.lock_record()

    def right(session: WriteSession) -> None:
        session.lock_record()
        session.lock_log()
        session.lock_record()

    with pytest.raises(LockOrderBroken):
        await storage.write(record_id, wrong)
    await storage.write(record_id, right)


async def test_a_cancelled_caller_harms_nobody(storage, record_id):
    tasks = [asyncio.create_task(storage.append(record_id, add_log_entry)) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    answered = [each for each in outcomes if isinstance(each, int)]
    assert len(answered) >= 20
    assert len(set(answered)) == len(answered)
    size = (await storage.read(record_id, lambda session: session.hot.log_head())).size
    assert size >= len(answered)
    assert await storage.append(record_id, add_log_entry) == size + 1


async def test_a_record_that_is_not_there_is_unknown_to_every_call(storage):
    record_id = uuid4()
    calls = (
        lambda: storage.read(record_id, lambda session: None),
        lambda: storage.write(record_id, lambda session: None),
        lambda: storage.append(record_id, lambda session: None),
    )
    for call in calls:
        with pytest.raises(RecordUnknown):
            await call()
    with pytest.raises(NotFound):
        async with storage.snapshot(record_id):
            pass


async def test_of_many_who_make_one_record_one_does(storage):
    record_id = uuid4()

    async def make(number: int) -> int:
        return await storage.create_record(record_id, lambda session: number)

    outcomes = await asyncio.gather(*(make(number) for number in range(10)), return_exceptions=True)
    assert len([each for each in outcomes if isinstance(each, int)]) == 1
    assert len([each for each in outcomes if isinstance(each, RecordExists)]) == 9
    assert (await put_observation(storage, record_id, "1")).seq == 1


async def test_a_record_whose_first_command_fails_was_never_made(storage):
    record_id = uuid4()

    def refuse(session: WriteSession) -> None:
        raise Refused

    with pytest.raises(Refused):
        await storage.create_record(record_id, refuse)
    with pytest.raises(RecordUnknown):
        await storage.read(record_id, lambda session: None)


async def test_a_new_record_has_an_epoch_and_an_empty_log(storage):
    record_ids = [uuid4(), uuid4()]
    for record_id in record_ids:
        await storage.create_record(record_id, lambda session: None)
    epochs = [
        (await storage.read(each, lambda session: session.hot.record_state()))[1] for each in record_ids
    ]
    logs = [await storage.read(each, lambda session: session.hot.log_head()) for each in record_ids]
    assert epochs[0] != epochs[1]
    assert logs[0].log_id != logs[1].log_id
    assert [log.size for log in logs] == [0, 0]


async def test_the_clock_is_the_database_s_with_the_offset_of_tests(storage, record_id):
    def clock(session):
        return session.now

    storage.clock_offset = timedelta(days=3)
    readings = [
        await storage.read(record_id, clock),
        await storage.write(record_id, clock),
        await storage.look_up(clock),
        await storage.register(clock),
    ]
    for now in readings:
        assert now.utcoffset() == timedelta(0)
        assert now.microsecond % 1000 == 0
        assert abs(now - datetime.now(UTC) - timedelta(days=3)) < timedelta(seconds=5)


async def test_instants_come_back_aware_in_utc_to_the_millisecond(storage, record_id):
    written = datetime(2026, 7, 1, 13, 0, 0, 123_999, tzinfo=UTC)
    row = {"record_id": record_id, "operation_key": b"k", "sealed": b"", "stored_at": written}
    await storage.write(record_id, lambda session: session.execute(sa.insert(StoredOutcomeRow), row))
    stored = await storage.read(
        record_id, lambda session: session.execute(sa.select(StoredOutcomeRow.stored_at)).scalar_one()
    )
    assert stored == datetime(2026, 7, 1, 13, 0, 0, 123_000, tzinfo=UTC)
    assert stored.utcoffset() == timedelta(0)
    naive = row | {"operation_key": b"n", "stored_at": datetime(2026, 7, 1)}  # noqa: DTZ001
    with pytest.raises(sa.exc.StatementError):
        await storage.write(record_id, lambda session: session.execute(sa.insert(StoredOutcomeRow), naive))


async def test_an_exception_holds_no_value(storage, record_id):
    row = {"record_id": record_id, "operation_key": b"k", "sealed": b"", "stored_at": datetime.now(UTC)}
    secret = row | {"sealed": b"a-value-that-must-not-be-logged"}
    insert = lambda session: session.execute(sa.insert(StoredOutcomeRow), [row, secret])  # noqa: E731
    with pytest.raises(sa.exc.IntegrityError) as refused:
        await storage.write(record_id, insert)
    assert "must-not-be-logged" not in str(refused.value)


async def test_an_identifier_is_spent_by_exactly_one_of_many(storage):
    spent = await asyncio.gather(*(storage.spend_identifier(b"one", 60) for _ in range(50)))
    assert sum(spent) == 1
    assert await storage.spend_identifier(b"another", 60)


async def test_a_spent_identifier_is_forgotten_at_its_time_and_not_before(storage):
    assert await storage.spend_identifier(b"one", 60)
    storage.clock_offset = timedelta(seconds=55)
    assert not await storage.spend_identifier(b"one", 60)
    storage.clock_offset = timedelta(seconds=61)
    assert await storage.spend_identifier(b"one", 60)


async def test_what_was_accepted_before_closing_is_committed(storage, record_id):
    waiting = [asyncio.create_task(storage.append(record_id, add_log_entry)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(storage.close(), *waiting)
    assert sorted(task.result() for task in waiting) == list(range(1, 21))
