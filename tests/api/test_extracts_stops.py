"""What was answered with 202 is durable; what was not is wholly absent; a retry does it once (THREATS a1)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from server.intake import background, work
from server.intake.service import Intake
from server.storage import directory_intake
from server.storage.session import WriteSession
from tests.extracts import condition, encoded, observation
from tests.intake_world import IntakeWorld, intake_world


class PowerCut(BaseException):
    """The process is gone at this instant."""


async def restart(world: IntakeWorld) -> None:
    """The old process goes; a new one on the same database takes up what it left, and is done."""
    parts = world.held.parts
    await parts.intake.stop()
    successor = Intake(parts.storage, parts.records)
    await successor.start()
    await successor.settled()
    await successor.stop()


async def report_of(world: IntakeWorld, location: str) -> dict[str, Any]:
    report = await world.sender.expect(200, "GET", location)
    return {"state": report["state"], "new": report["counts"]["new"], "items": len(report["items"])}


async def test_an_extract_cut_off_right_after_its_answer_is_finished_by_the_next_start(
    tmp_path: Path,
) -> None:
    async with intake_world(tmp_path) as world:
        answer = await world.post(world.about_amina(observation(), condition()))
        await restart(world)
        assert await report_of(world, answer.headers["Location"]) == {"state": "done", "new": 2, "items": 3}
        assert await world.clinical_types() == ["Condition", "Observation"]


@pytest.mark.parametrize("step", ["stage_run", "stage_provenance", "publish"])
async def test_a_stop_at_any_step_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async with intake_world(tmp_path) as world:
        whole: Callable[..., Any] = getattr(work.publish, step)

        def cut_off(*args: Any, **named: Any) -> None:
            whole(*args, **named)
            raise PowerCut

        with monkeypatch.context() as patched:
            patched.setattr(work.publish, step, cut_off)
            answer = await world.post(world.about_amina(*[observation(f"o{index}") for index in range(250)]))
            await world.held.parts.intake.settled()
            seq = await world.seq()
            assert await world.clinical_types() == []
        await restart(world)
        assert (await report_of(world, answer.headers["Location"]))["new"] == 250
        # 250 items and one Provenance, in one batch.
        assert await world.seq() == seq + 251


async def test_what_was_staged_is_taken_away_after_a_stop_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*args: Any) -> None:
        raise PowerCut

    async with intake_world(tmp_path) as world:

        async def count_staged() -> int:
            statement = sa.text("SELECT count(*) FROM staged_item")
            return await world.held.parts.storage.read(
                world.record_id, lambda session: session.execute(statement).scalar_one()
            )

        with monkeypatch.context() as patched:
            patched.setattr(background, "forget_staged", cut_off)
            answer = await world.post(world.about_amina(*[observation(f"o{index}") for index in range(520)]))
            await world.held.parts.intake.settled()
            assert await count_staged() > 520
        seq = await world.seq()
        await restart(world)
        assert await count_staged() == 0
        assert await world.seq() == seq
        assert (await report_of(world, answer.headers["Location"]))["new"] == 520


async def test_a_stop_before_the_answer_leaves_nothing_but_a_free_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation()))

        def cut_off(session: WriteSession, extract_id: UUID, state: object) -> None:
            raise PowerCut

        with monkeypatch.context() as patched:
            patched.setattr("server.intake.keeping.store.put_extract", cut_off)
            with pytest.raises(BaseException):  # noqa: B017 - the cut is not an ordinary exception
                await world.post(extract, headers={"Idempotency-Key": "k"})
        waiting = await world.post(extract, headers={"Idempotency-Key": "k"})
        assert waiting.status_code == 409
        await restart(world)
        report = await world.send(extract, headers={"Idempotency-Key": "k"})
        assert report["counts"]["new"] == 1


async def test_a_lease_keeps_two_processes_from_one_extract(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        storage = world.held.parts.storage
        extract_id = uuid4()
        await storage.register(
            lambda session: directory_intake.keep_extract(
                session, extract_id, world.record_id, "B86001", lease_seconds=60
            )
        )
        assert await storage.look_up(directory_intake.unfinished) == []
        assert not await storage.register(
            lambda session: directory_intake.take_lease(session, extract_id, seconds=60)
        )
        await storage.register(lambda session: directory_intake.renew_lease(session, extract_id, seconds=0))
        takers = [
            await storage.register(
                lambda session: directory_intake.take_lease(session, extract_id, seconds=60)
            )
            for _ in range(3)
        ]
        assert takers == [True, False, False]


async def test_an_extract_that_cannot_be_finished_is_held_after_three_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with intake_world(tmp_path) as world:

        def fails(*_: object, **__: object) -> None:
            raise ValueError("a fault of ours")

        monkeypatch.setattr(work.publish, "stage_run", fails)
        answer = await world.post(world.about_amina(observation()))
        background = world.held.parts.intake._background
        for _ in range(3):
            await background.settled()
            await background.take_up_unfinished()
        report = await world.final(answer)
        assert report["state"] == "held"
        assert "could not finish" in report["detail"]
        assert await world.clinical_types() == []
