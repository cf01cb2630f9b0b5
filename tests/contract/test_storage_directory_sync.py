"""The directory's rows for devices, corrections and notices on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import sqlalchemy as sa

from server.storage import directory, directory_corrections, directory_devices, directory_notices
from server.storage.directory_devices import ENDED, LIVE, WIPED
from server.storage.directory_tables import CorrectionTaskRow, DeviceKeyRow, NoticeForRow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
STEP = timedelta(milliseconds=1)


async def device_of_key(storage, jkt):
    return await storage.look_up(lambda session: directory_devices.device_of_key(session, jkt))


async def put_key(storage, jkt, record_id, device_id):
    return await storage.register(
        lambda session: directory_devices.put_device_key(session, jkt, record_id, device_id)
    )


async def test_of_many_devices_that_bring_one_key_one_has_it(storage):
    record_id = uuid4()
    claimed = await asyncio.gather(*(put_key(storage, "thumb", record_id, uuid4()) for _ in range(10)))
    assert len(set(claimed)) == 1
    assert await device_of_key(storage, "thumb") == claimed[0]
    assert claimed[0].state == LIVE
    assert await device_of_key(storage, "another") is None


async def test_a_key_of_another_record_stays_that_record_s(storage):
    mine, theirs = (uuid4(), uuid4()), (uuid4(), uuid4())
    await put_key(storage, "thumb", *theirs)
    assert await put_key(storage, "thumb", *mine) == (*theirs, LIVE)


async def test_an_ended_key_never_comes_back(storage):
    record_id, device_id = uuid4(), uuid4()
    await put_key(storage, "thumb", record_id, device_id)
    end = lambda session: directory_devices.end_device_key(session, "thumb", device_id)  # noqa: E731
    wipe = lambda session: directory_devices.wipe_device_key(session, "thumb", device_id)  # noqa: E731
    assert await storage.register(wipe) is False
    assert [await storage.register(end) for _ in range(2)] == [True, False]
    assert await put_key(storage, "thumb", record_id, uuid4()) == (record_id, device_id, ENDED)
    assert [await storage.register(wipe) for _ in range(2)] == [True, False]
    assert await put_key(storage, "thumb", record_id, uuid4()) == (record_id, device_id, WIPED)
    assert await storage.register(end) is False
    assert await device_of_key(storage, "thumb") == (record_id, device_id, WIPED)


async def put_task(storage, organisation, task_id, record_id, at=NOON):
    return await storage.register(
        lambda session: directory_corrections.put_task(session, organisation, task_id, record_id, at=at)
    )


async def tasks_of(storage, organisation, since=None, limit=100):
    return await storage.look_up(
        lambda session: directory_corrections.tasks_of(session, organisation, since, limit)
    )


async def test_a_task_is_in_the_queue_of_its_organisation_alone(storage):
    record_id, task_id = uuid4(), uuid4()
    await put_task(storage, "B86001", task_id, record_id)
    assert await tasks_of(storage, "B86001") == [(task_id, record_id, NOON)]
    assert await tasks_of(storage, "RR8") == []
    for organisation, found in (("B86001", (task_id, record_id, NOON)), ("RR8", None)):
        task = await storage.look_up(
            lambda session, organisation=organisation: directory_corrections.task_of(
                session, organisation, task_id
            )
        )
        assert task == found


async def test_no_two_tasks_move_at_one_instant_and_none_before_what_was_read(storage):
    record_id, tasks = uuid4(), [uuid4() for _ in range(4)]
    moved = [await put_task(storage, "B86001", each, record_id) for each in tasks]
    assert moved == [NOON, NOON + STEP, NOON + 2 * STEP, NOON + 3 * STEP]
    page = await tasks_of(storage, "B86001", limit=2)
    assert [each.task_id for each in page] == tasks[:2]
    late = await put_task(storage, "B86001", tasks[0], record_id, at=NOON - timedelta(hours=1))
    assert late == NOON + 4 * STEP
    rest = await tasks_of(storage, "B86001", since=page[-1].moved_at)
    assert [each.task_id for each in rest] == [*tasks[2:], tasks[0]]
    assert await put_task(storage, "B86001", tasks[1], record_id, at=NOON + timedelta(hours=1)) == (
        NOON + timedelta(hours=1)
    )


async def test_tasks_that_move_at_once_are_still_told_apart(storage):
    await storage.register(lambda session: directory.put_organisation(session, "B86001", b"Beeston"))
    moved = await asyncio.gather(*(put_task(storage, "B86001", uuid4(), uuid4()) for _ in range(12)))
    assert len(set(moved)) == 12


async def notices_of(storage, subject, after=None, limit=100):
    return await storage.look_up(
        lambda session: directory_notices.notices_of(session, subject, after=after, limit=limit)
    )


async def test_notices_are_found_by_their_person_alone(storage):
    record_id, notices = uuid4(), sorted(uuid4() for _ in range(3))
    for notice_id in (*notices, notices[0]):
        await storage.register(
            lambda session, notice_id=notice_id: directory_notices.put_notice(
                session, "cis2:patel", notice_id, record_id
            )
        )

    async def found(subject):
        return {(each.notice_id, each.record_id) for each in await notices_of(storage, subject)}

    assert await found("cis2:patel") == {(each, record_id) for each in notices}
    assert await found("cis2:other") == set()
    for subject, expected in (("cis2:patel", notices[0]), ("cis2:other", None)):
        one = await storage.look_up(
            lambda session, subject=subject: directory_notices.notice_of(session, subject, notices[0])
        )
        assert (one and one.notice_id) == expected
        await storage.register(
            lambda session, subject=subject: directory_notices.drop_notice(session, subject, notices[1])
        )
    assert await found("cis2:patel") == {(each, record_id) for each in (notices[0], notices[2])}


async def test_every_notice_is_found_page_by_page_newest_first(storage):
    minutes = []
    for _ in range(4):
        minutes.append({uuid4() for _ in range(3)})
        for notice_id in minutes[-1]:
            await storage.register(
                lambda session, notice_id=notice_id: directory_notices.put_notice(
                    session, "cis2:patel", notice_id, uuid4()
                )
            )
        storage.clock_offset += timedelta(minutes=1)
    found = []
    while page := await notices_of(storage, "cis2:patel", found[-1] if found else None, limit=2):
        assert len(page) <= 2
        found += page
    ids = [each.notice_id for each in found]
    assert [set(ids[start : start + 3]) for start in range(0, len(ids), 3)] == minutes[::-1]
    for each in found:
        assert (each.created_at.second, each.created_at.microsecond) == (0, 0)


async def test_a_notice_entered_again_stays_in_its_place(storage):
    notices = [uuid4(), uuid4()]
    for notice_id in (*notices, notices[0]):
        await storage.register(
            lambda session, notice_id=notice_id: directory_notices.put_notice(
                session, "cis2:patel", notice_id, uuid4()
            )
        )
        storage.clock_offset += timedelta(minutes=1)
    assert [each.notice_id for each in await notices_of(storage, "cis2:patel")] == notices[::-1]


async def test_no_name_is_in_the_clear_in_these_tables(storage):
    record_id = uuid4()
    await put_key(storage, "thumb", record_id, uuid4())
    await put_task(storage, "B86001", uuid4(), record_id)
    await storage.register(
        lambda session: directory_notices.put_notice(session, "cis2:patel", uuid4(), record_id)
    )

    def every_value(session):
        return [
            value
            for table in (DeviceKeyRow, CorrectionTaskRow, NoticeForRow)
            for row in session.execute(sa.select(table.__table__))
            for value in row
        ]

    values = await storage.look_up(every_value)
    macs = [value for value in values if isinstance(value, bytes)]
    assert len(macs) == 3
    for name in (b"thumb", b"B86001", b"cis2:patel"):
        assert all(name not in mac for mac in macs)
