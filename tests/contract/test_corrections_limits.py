"""Corrections when a command is refused, an item goes, a limit is reached or a day passes; both databases."""

import itertools
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from server.corrections.presenting import correction_answer
from server.corrections.rules import MESSAGES_MAX, Question
from server.errors import Conflict, RuleBroken
from server.records import marks
from server.storage import directory_corrections
from server.storage.command import carry_out
from server.storage.engine import Storage
from server.storage.session import DirectorySession
from tests.api.correction_world import moved
from tests.contract.corrections_world import ASTHMA, PRACTICE, CorrectionsWorld, answer, task_of


@pytest_asyncio.fixture
async def world(storage: Storage) -> CorrectionsWorld:
    return await CorrectionsWorld(storage).begin()


async def test_a_refused_command_leaves_its_task_in_the_queue(world: CorrectionsWorld) -> None:
    """As a phone's are carried out: the mark set for a move that never came goes with the refusal."""
    asked, authority = await world.ask(), await world.owner()
    back = await world.corrections.prepare_withdraw(authority, asked.correction_id)
    await carry_out(world.storage, world.record_id, back)
    more = await world.corrections.prepare_message(authority, asked.correction_id, "More.")
    with pytest.raises(Conflict):
        await carry_out(world.storage, world.record_id, more)
    assert await marked_and_queued(world) == ([], [asked.correction_id])
    question = Question(kind="wrong", target="Condition/never-was", should_say="Else")
    with pytest.raises(RuleBroken):
        await world.corrections.prepare_question(authority, uuid4(), question)
    never = await world.corrections.prepare_question(
        authority, uuid4(), Question(kind="wrong", target=f"Condition/{ASTHMA}", should_say="Else")
    )
    assert never.undo is not None
    await never.undo()
    assert await marked_and_queued(world) == ([], [asked.correction_id])


async def test_taking_back_a_mark_does_not_take_a_task_that_was_made_meanwhile(
    world: CorrectionsWorld,
) -> None:
    """Whoever undoes looks at the record first; the same question can be written right after."""
    asked = await world.ask()

    def undo_late(session: DirectorySession) -> None:
        directory_corrections.drop_task(session, PRACTICE, asked.correction_id)

    await world.storage.register(undo_late)
    assert await marked_and_queued(world) == ([], [asked.correction_id])


async def test_an_item_its_source_took_away_is_put_right_by_that(world: CorrectionsWorld) -> None:
    await world.share_with("patel")
    await world.look("patel", 1)
    asked = await world.ask(kind="not-mine", should_say="")
    for business in ("in-review", "accepted"):
        await answer(world, asked.correction_id, business)
    with pytest.raises(RuleBroken):
        await answer(world, asked.correction_id, "amendment-completed")
    await world.take_away()
    kept = await answer(world, asked.correction_id, "amendment-completed")
    assert kept.state == "amended"
    own = await world.notices.of_record(world.record_id)
    assert own[0].sentence == "Beeston Practice has taken out something in your record."
    assert await world.storage.read(world.record_id, marks.questioned_keys) == frozenset()
    [followed] = await world.corrections.every(world.record_id)
    said = correction_answer(followed)
    assert (said.state, said.corrected_by, said.followed.saw, said.followed.pending) == (
        "amended",
        None,
        1,
        1,
    )
    [notice] = await world.notices_of("patel")
    assert notice.sentence == (
        'Beeston Practice has taken out "Asthma" of 1 May 2024, which you saw in this person\'s record. '
        "Do not rely on what it said."
    )
    assert notice.corrected is None
    await world.send("Asthma")
    await world.look("patel", 3)
    [followed] = await world.corrections.every(world.record_id)
    assert [saw.version for saw in followed.saw] == [1], "What came back later is not what was wrong."


async def test_what_is_written_about_an_item_that_is_hidden_since_does_not_name_it(
    world: CorrectionsWorld,
) -> None:
    await world.share_with("patel")
    await world.look("patel", 1)
    first, second = await world.ask(), await world.ask()
    before = len(await world.log_sentences())
    await world.take_away()
    more = await world.corrections.prepare_message(await world.owner(), first.correction_id, "Please look.")
    assert "Asthma" not in str((await world.corrections.run(world.record_id, more)).messages)
    back = await world.corrections.prepare_withdraw(await world.owner(), second.correction_id)
    taken_back = await world.corrections.run(world.record_id, back)
    assert taken_back.steps[-1].sentence == (
        "You took back what you asked Beeston Practice about something in your record."
    )
    await answer(world, first.correction_id, "in-review")
    task = await task_of(world, first.correction_id)
    sent = moved(task, "in-review", "We are looking.")
    await world.corrections.answer(PRACTICE, first.correction_id, sent, if_version=3)
    for business in ("accepted", "amendment-completed"):
        await answer(world, first.correction_id, business)
    await world.notices_of("patel")
    written = (await world.log_sentences())[before:]
    assert len(written) > 8
    assert "Asthma" not in str(written)


async def test_the_limit_of_messages_holds_for_both_and_the_last_question_is_answered(
    world: CorrectionsWorld,
) -> None:
    asked = await world.ask()
    silent = moved(await task_of(world, asked.correction_id), "in-review")
    await world.corrections.answer(PRACTICE, asked.correction_id, silent, if_version=1)
    ways = itertools.cycle(("waiting-for-information", "in-review"))
    for business in itertools.islice(ways, MESSAGES_MAX - 1):
        await answer(world, asked.correction_id, business)
    kept = (await world.corrections.fetch(PRACTICE, asked.correction_id)).correction
    assert (kept.state, len(kept.messages)) == ("waiting-for-information", MESSAGES_MAX)
    for business in ("in-review", "waiting-for-information"):
        with pytest.raises(Conflict):
            await answer(world, asked.correction_id, business)
    authority = await world.owner()
    told = await world.corrections.prepare_message(authority, asked.correction_id, "In 2019.")
    assert (await world.corrections.run(world.record_id, told)).state == "in-review"
    for business in ("waiting-for-information", "accepted", "in-review"):
        with pytest.raises(Conflict):
            await answer(world, asked.correction_id, business)
    more = await world.corrections.prepare_message(authority, asked.correction_id, "And more.")
    with pytest.raises(Conflict):
        await world.corrections.run(world.record_id, more)
    task = await task_of(world, asked.correction_id)
    version = int(task["meta"]["versionId"])
    accepted = await world.corrections.answer(
        PRACTICE, asked.correction_id, moved(task, "accepted"), if_version=version
    )
    assert accepted.correction.state == "accepted", "A step without words is no message."
    await world.send("Bronchitis")
    done = await answer(world, asked.correction_id, "amendment-completed")
    assert done.state == "amended", "The last word is always possible."


async def test_the_log_says_once_a_day_that_the_source_was_given_a_task(world: CorrectionsWorld) -> None:
    asked = await world.ask()

    async def given() -> int:
        await world.corrections.fetch(PRACTICE, asked.correction_id)
        await world.corrections.queue(PRACTICE, None, 10)
        return sum("was given" in line for line in await world.log_sentences())

    assert await given() == 1
    world.storage.clock_offset += timedelta(days=1)
    assert await given() == 2
    assert (await answer(world, asked.correction_id, "in-review")).task_version == 2
    assert await given() == 3, "What has changed is given anew."


async def marked_and_queued(world: CorrectionsWorld) -> tuple[list[Any], list[Any]]:
    """The practice's Tasks that are marked as moving, and those in its queue."""
    marked = await world.storage.look_up(
        lambda session: directory_corrections.moving_tasks(session, PRACTICE)
    )
    queue = await world.corrections.queue(PRACTICE, None, 10)
    return [each.task_id for each in marked], [each.correction.correction_id for each in queue.tasks]
