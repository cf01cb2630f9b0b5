"""Corrections, the index of who saw what, and notices, on both databases."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlmodel import col

from fhir_profiles.slices import Slice
from server.audit import seen_index
from server.audit.entry import Who
from server.audit.tables import SeenItemRow
from server.corrections import store
from server.corrections.presenting import correction_answer
from server.corrections.rules import OPEN_CORRECTIONS_MAX, Question
from server.corrections.service import MOVE_SECONDS_MAX
from server.errors import Conflict, LimitReached, NotFound, RuleBroken, VersionMoved
from server.notices import store as notice_store
from server.notices.notice import Notice, NoticedItem
from server.notices.service import PAGE_NOTICES_MAX
from server.records import marks
from server.storage import directory_corrections, feed
from server.storage.directory_notices import put_notice
from server.storage.engine import Storage
from server.storage.session import ReadSession
from tests.api.correction_world import moved
from tests.contract.corrections_world import ASTHMA, PRACTICE, CorrectionsWorld, answer, task_of


@pytest_asyncio.fixture
async def world(storage: Storage) -> CorrectionsWorld:
    return await CorrectionsWorld(storage).begin()


async def index(world: CorrectionsWorld) -> list[tuple[Any, ...]]:
    def query(session: ReadSession) -> list[tuple[Any, ...]]:
        table = SeenItemRow
        columns = (table.item_key, table.version, table.recipient_key, table.first_n, table.last_n)
        statement = sa.select(*(col(column) for column in columns)).where(
            col(table.record_id) == session.record_id
        )
        return sorted(tuple(row) for row in session.execute(statement))

    return await world.storage.read(world.record_id, query)


async def test_the_index_says_who_was_shown_which_version_first_and_last(world: CorrectionsWorld) -> None:
    for name in ("patel", "okafor"):
        await world.share_with(name)
    first = await world.look("patel", 1)
    await world.look("okafor", 1)
    await world.send("Bronchitis")
    await world.look("patel", 2, "search")
    last = await world.look("patel", 1, "history")
    await world.look("okafor", 2, "denied")

    def seen(session: ReadSession) -> list[seen_index.SeenVersion]:
        return seen_index.versions_seen(session, session.sealer.item_key("Condition", ASTHMA))

    rows = await world.storage.read(world.record_id, seen)
    assert [(row.version, row.first_n, row.last_n) for row in rows] == [
        (1, first, last),
        (1, first + 1, first + 1),
        (2, first + 2, first + 2),
    ]
    assert len({row.recipient_key for row in rows}) == 2


async def test_the_index_rebuilt_from_the_log_is_the_one_that_was_kept(world: CorrectionsWorld) -> None:
    for name in ("patel", "okafor", "singh"):
        await world.share_with(name)
    for number in range(30):
        name = ("patel", "okafor", "singh")[number % 3]
        await world.look(name, 1 + number % 4, ("read", "search", "history", "denied", "redeem")[number % 5])
    kept = await index(world)
    assert len(kept) > 10
    await world.storage.write(world.record_id, seen_index.rebuild)
    assert await index(world) == kept


async def test_a_look_that_does_not_reach_the_log_is_not_in_the_index(world: CorrectionsWorld) -> None:
    class Stopped(Exception):
        pass

    def command(session: Any) -> None:
        session.hot.keep_seen([b"k" * 16], [1], recipient_key=b"r" * 16, n=99)
        raise Stopped

    with pytest.raises(Stopped):
        await world.storage.write(world.record_id, command)
    assert await index(world) == []


async def test_the_same_id_twice_is_the_same_correction(world: CorrectionsWorld) -> None:
    correction_id = uuid4()
    asked = await asyncio.gather(*(world.ask(correction_id) for _ in range(8)))
    assert len({each.task_version for each in asked}) == 1
    kept = await world.storage.read(world.record_id, store.corrections_of)
    assert [each.correction_id for each in kept] == [correction_id]
    other = await CorrectionsWorld(world.storage).begin()
    other.record_id = uuid4()
    await world.storage.create_record(other.record_id, lambda session: None)
    is_ours = await world.storage.register(
        lambda session: directory_corrections.begin_move(session, PRACTICE, correction_id, other.record_id)
    )
    assert not is_ours, "The id leads to the record that has it, whoever else says it."


async def test_one_id_is_one_question_to_one_organisation(world: CorrectionsWorld) -> None:
    """Two questions under one id, both prepared before either is written: the second is refused, and its
    organisation's queue does not wait for it."""
    await world.link("RR801", "Leeds Hospital")
    correction_id, authority = uuid4(), await world.owner()
    commands = [
        await world.corrections.prepare_question(
            authority, correction_id, Question(kind="missing", should_say=words, organisation=code)
        )
        for words, code in (("Hay fever", PRACTICE), ("Eczema", "RR801"))
    ]
    await world.corrections.run(world.record_id, commands[0])
    with pytest.raises(Conflict):
        await world.corrections.run(world.record_id, commands[1])
    for code, count in ((PRACTICE, 1), ("RR801", 0)):
        moving = await world.storage.look_up(
            lambda session, code=code: directory_corrections.moving_tasks(session, code)
        )
        assert moving == []
        assert len((await world.corrections.queue(code, None, 10)).tasks) == count
    with pytest.raises(Conflict):
        await world.ask(correction_id)


async def test_a_question_is_whole_or_not_at_all(world: CorrectionsWorld) -> None:
    authority, correction_id = await world.owner(), uuid4()
    question = Question(kind="wrong", target=f"Condition/{ASTHMA}", should_say="Bronchitis")
    command = await world.corrections.prepare_question(authority, correction_id, question)

    class Stopped(Exception):
        pass

    def cut_short(session: Any) -> None:
        command.run(session)
        raise Stopped

    def standing(session: ReadSession) -> tuple[Any, ...]:
        task = feed.current(session, session.sealer.item_key("Task", str(correction_id)))
        state = session.hot.record_state()
        log = session.hot.log_head()
        return task, store.corrections_of(session), marks.questioned_keys(session), state, log

    before = await world.storage.read(world.record_id, standing)
    with pytest.raises(Stopped):
        await world.storage.write(world.record_id, cut_short)
    assert await world.storage.read(world.record_id, standing) == before
    await world.corrections.run(world.record_id, command)
    after = await world.storage.read(world.record_id, standing)
    assert after[0] is not None
    assert len(after[1]) == len(after[2]) == 1
    assert after[3][0] == before[3][0] + 2
    assert after[4].size == before[4].size + 1


async def test_a_task_is_not_lost_by_a_stop_before_it_is_in_the_queue(world: CorrectionsWorld) -> None:
    question = Question(kind="wrong", target=f"Condition/{ASTHMA}", should_say="Bronchitis")
    never = await world.corrections.prepare_question(await world.owner(), uuid4(), question)
    command = await world.corrections.prepare_question(await world.owner(), uuid4(), question)
    # The process stops here: the record is written and the queue is not, and the other is not written at all.
    kept = await world.storage.write(world.record_id, command.run)
    assert never.settle is not None
    started = kept.asked_at
    queue = await world.corrections.queue(PRACTICE, None, 10)
    assert queue.tasks == []
    assert queue.whole_until <= started, "Whoever asks from this moment on will find it."
    world.storage.clock_offset += timedelta(seconds=MOVE_SECONDS_MAX + 1)
    queue = await world.corrections.queue(PRACTICE, queue.whole_until, 10)
    assert [each.correction.correction_id for each in queue.tasks] == [kept.correction_id]
    left = await world.storage.look_up(lambda session: directory_corrections.moving_tasks(session, PRACTICE))
    assert left == []


async def test_recipients_are_told_though_the_process_stopped_after_the_commit(
    world: CorrectionsWorld,
) -> None:
    await world.share_with("patel")
    await world.look("patel", 1)
    asked = await world.ask()
    await world.send("Bronchitis")
    task_id, state = asked.correction_id, asked
    for business in ("in-review", "accepted", "amendment-completed"):
        task = await task_of(world, task_id)
        version = int(task["meta"]["versionId"])
        command = await world.corrections.prepare_answer(
            PRACTICE, task_id, moved(task, business), if_version=version
        )
        state = await world.storage.write(world.record_id, command.run)
    assert state.state == "amended"
    assert (await world.notices.of_person("cis2:patel")).notices == []
    world.storage.clock_offset += timedelta(seconds=MOVE_SECONDS_MAX + 1)
    await world.corrections.queue(PRACTICE, None, 10)
    [notice] = (await world.notices.of_person("cis2:patel")).notices
    assert notice.seen is not None
    assert notice.seen.title == "Asthma"


async def test_answers_at_once_move_a_task_once(world: CorrectionsWorld) -> None:
    asked = await world.ask()
    sent = moved(await task_of(world, asked.correction_id), "in-review")
    answers = await asyncio.gather(
        *(
            world.corrections.answer(PRACTICE, asked.correction_id, dict(sent), if_version=1)
            for _ in range(8)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(each, BaseException) for each in answers) == 1
    kept = await world.corrections.fetch(PRACTICE, asked.correction_id)
    assert kept.correction.task_version == 2
    late = moved(await task_of(world, asked.correction_id), "accepted")
    with pytest.raises(VersionMoved):
        await world.corrections.answer(PRACTICE, asked.correction_id, late, if_version=1)


async def test_taking_back_and_deciding_at_once_leaves_one_of_the_two(world: CorrectionsWorld) -> None:
    for _ in range(4):
        asked = await world.ask()
        await answer(world, asked.correction_id, "in-review")
        sent = moved(await task_of(world, asked.correction_id), "denied", "It is right.")
        back = await world.corrections.prepare_withdraw(await world.owner(), asked.correction_id)
        done = await asyncio.gather(
            world.corrections.answer(PRACTICE, asked.correction_id, sent, if_version=2),
            world.corrections.run(world.record_id, back),
            return_exceptions=True,
        )
        assert sum(isinstance(each, BaseException) for each in done) == 1
        kept = await world.corrections.fetch(PRACTICE, asked.correction_id)
        assert kept.correction.state in {"denied", "withdrawn"}
        assert kept.correction.task_version == 3
    assert await world.storage.read(world.record_id, marks.questioned_keys) == frozenset()


async def test_a_record_has_room_for_so_many_open_questions(world: CorrectionsWorld) -> None:
    question = Question(kind="wrong", target=f"Condition/{ASTHMA}", should_say="Bronchitis")
    for _ in range(OPEN_CORRECTIONS_MAX - 1):
        await world.ask()
    last = await world.ask()
    with pytest.raises(LimitReached):
        await world.ask()
    command = await world.corrections.prepare_withdraw(await world.owner(), last.correction_id)
    await world.corrections.run(world.record_id, command)
    assert (await world.ask()).state == "queued"
    assert question.kind == "wrong"


async def test_a_question_a_message_and_taking_back_can_share_one_transaction(
    world: CorrectionsWorld,
) -> None:
    """As a phone pushes what was done offline: each is prepared before any of them is there."""
    authority, correction_id = await world.owner(), uuid4()
    question = Question(kind="wrong", target=f"Condition/{ASTHMA}", should_say="Bronchitis")
    asked = await world.corrections.prepare_question(authority, correction_id, question)
    more = await world.corrections.prepare_message(authority, correction_id, "In 2019.")
    back = await world.corrections.prepare_withdraw(authority, correction_id)

    def together(session: Any) -> str:
        asked.run(session)
        more.run(session)
        return back.run(session).state

    assert await world.storage.write(world.record_id, together) == "withdrawn"
    for command in (asked, more, back):
        assert command.settle is not None
        await command.settle()
    queue = await world.corrections.queue(PRACTICE, None, 10)
    assert [(each.correction.state, each.correction.task_version) for each in queue.tasks] == [
        ("withdrawn", 3)
    ]
    assert await world.storage.read(world.record_id, marks.questioned_keys) == frozenset()
    never = await world.corrections.prepare_withdraw(authority, uuid4())
    with pytest.raises(NotFound):
        await world.corrections.run(world.record_id, never)


async def test_what_nobody_sent_and_what_is_not_there_cannot_be_questioned(world: CorrectionsWorld) -> None:
    patient_id = (await world.records.profile(world.record_id)).patient_id
    asked = await world.ask()

    def hide(session: Any) -> None:
        head = feed.current_head(session, session.sealer.item_key("Condition", ASTHMA))
        assert head is not None
        kept_back = msgspec.structs.replace(head, logical_id="kept-back")
        item = feed.FeedItem("Condition", "kept-back", lambda version, now: (kept_back, b"{}"))
        feed.put_hidden(session, [item])

    await world.storage.write(world.record_id, hide)
    said: dict[str, str] = {}
    for target in (
        f"Patient/{patient_id}",
        f"Task/{asked.correction_id}",
        "Condition/kept-back",
        "Condition/never-was",
        f"Condition/{ASTHMA}/_history/2",
    ):
        with pytest.raises(RuleBroken) as refused:
            await world.ask(target=target)
        said[target] = refused.value.detail
    assert said["Condition/kept-back"] == said["Condition/never-was"]
    assert said[f"Patient/{patient_id}"] == said[f"Task/{asked.correction_id}"]


async def test_an_item_its_source_hides_afterwards_is_named_no_more(world: CorrectionsWorld) -> None:
    asked = await world.ask(says="It says so")
    [shown] = await world.corrections.every(world.record_id)
    assert "Asthma" in str(correction_answer(shown))

    def withdraw(session: Any) -> None:
        head = feed.current_head(session, session.sealer.item_key("Condition", ASTHMA))
        assert head is not None
        feed.put(
            session, [feed.FeedItem("Condition", ASTHMA, lambda version, now: (head, b"{}"), feed.WITHHELD)]
        )

    await world.storage.write(world.record_id, withdraw)
    await answer(world, asked.correction_id, "in-review")
    [hidden] = await world.corrections.every(world.record_id)
    assert "Asthma" not in str(correction_answer(hidden))
    fetched = await world.corrections.fetch(PRACTICE, asked.correction_id)
    assert b"Asthma" not in fetched.task + b"".join(body for _, body in fetched.communications)
    own = await world.notices.of_record(world.record_id)
    assert [notice.state for notice in own] == ["in-review"]
    assert "Asthma" not in str(own)


async def test_only_a_newer_version_counts_as_an_amendment(world: CorrectionsWorld) -> None:
    await world.send("Asthma, severe")
    asked = await world.ask(target=f"Condition/{ASTHMA}/_history/2")
    await answer(world, asked.correction_id, "in-review")
    await answer(world, asked.correction_id, "accepted")
    with pytest.raises(RuleBroken):
        await answer(world, asked.correction_id, "amendment-completed")
    await world.send("Bronchitis")
    kept = await answer(world, asked.correction_id, "amendment-completed")
    assert kept.amendment is not None
    assert kept.amendment.version == 3
    with pytest.raises(Conflict):
        await answer(world, asked.correction_id, "in-review")


async def test_two_people_of_one_organisation_are_told_each_for_themselves(world: CorrectionsWorld) -> None:
    await world.share_with("patel")
    await world.share_with("okafor", Slice(sensitive=("mental-health",)))
    for name in ("patel", "okafor"):
        await world.look(name, 1)
    asked = await world.ask()
    await world.send("Low mood", sensitive=("mental-health",))
    for business in ("in-review", "accepted", "amendment-completed"):
        await answer(world, asked.correction_id, business)
    [of_patel] = (await world.notices.of_person("cis2:patel")).notices
    [of_okafor] = (await world.notices.of_person("cis2:okafor")).notices
    assert of_patel.corrected is None
    assert of_okafor.corrected is not None
    assert of_okafor.corrected.title == "Low mood"
    both = await asyncio.gather(*(world.notices.of_person("cis2:patel") for _ in range(8)))
    assert {each.notices[0].told_at for each in both} == {of_patel.told_at}


async def test_one_request_tells_one_page_of_notices_and_the_last_page_is_reached(
    world: CorrectionsWorld,
) -> None:
    entered = [await enter_notice(world) for _ in range(PAGE_NOTICES_MAX + 3)]
    gone = uuid4()
    await world.storage.register(lambda session: put_notice(session, "cis2:patel", gone, uuid4()))
    first = await world.notices.of_person("cis2:patel")
    kept = await world.storage.read(world.record_id, notice_store.notices)
    told = {notice.notice_id for notice in kept if notice.told_at}
    assert told == {notice.notice_id for notice in first.notices}
    assert PAGE_NOTICES_MAX - 1 <= len(told) <= PAGE_NOTICES_MAX
    second = await world.notices.of_person("cis2:patel", first.next_after)
    assert second.next_after is None
    found = [notice.notice_id for notice in (*first.notices, *second.notices)]
    assert sorted(found) == sorted(entered)
    for nobodys in (uuid4(), entered[0]):
        with pytest.raises(NotFound):
            await world.notices.of_person("cis2:okafor", nobodys)


async def enter_notice(world: CorrectionsWorld) -> UUID:
    """One more notice of this record for Dr Patel; its id."""
    notice = Notice(
        notice_id=uuid4(),
        kind="item-corrected",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        sentence="Corrected.",
        correction_id=uuid4(),
        to=Who(subject="cis2:patel", name="Asha Patel", role="GP"),
        source="Beeston Practice",
        seen=NoticedItem(title="Asthma"),
    )
    await world.storage.write(world.record_id, lambda session: notice_store.put(session, notice))
    await world.storage.register(
        lambda session: put_notice(session, "cis2:patel", notice.notice_id, world.record_id)
    )
    return notice.notice_id
