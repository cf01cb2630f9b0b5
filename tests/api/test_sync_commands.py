"""Grants and corrections made on a phone that was offline (SYNC 3.4, I15)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest_asyncio

from tests.api.phones import Phone, Scene, command, opened_scene
from tests.world import PATEL, redeem

SLICE = {"current": True, "categories": ["results"]}


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


async def test_a_grant_made_offline_is_made_once_and_its_code_shown_once(scene: Scene) -> None:
    grant_id = str(uuid4())
    asked = command("Consent", grant_id, "grant", to={"open": True}, slice=SLICE)
    made = await scene.phone.one(asked)
    assert (made["outcome"], made["answer"]["grant_id"]) == ("applied", grant_id)
    assert made["answer"]["offer"]["code"]
    again = await scene.phone.one(asked)
    assert (again["repeat"], again["answer"]["grant_id"], "offer" in again["answer"]) == (
        True,
        grant_id,
        False,
    )
    row = await feed_row(scene.phone, grant_id)
    assert (row["type"], row["version"]) == ("Consent", made["version"])
    shared = await redeem(scene.owner, await scene.world.sign_in(PATEL), made["answer"])
    assert shared.grant_id == grant_id


async def test_a_grant_made_long_after_signing_in_waits_for_the_person(scene: Scene) -> None:
    await be_later(scene, scene.phone, minutes=6)
    asked = command("Consent", str(uuid4()), "grant", to={"open": True}, slice=SLICE)
    refused = await scene.phone.one(asked)
    assert (refused["outcome"], refused["code"]) == ("needs-step-up", "step-up-needed")
    assert (await scene.phone.one(asked)) == refused | {"repeat": True}


async def test_an_end_holds_whatever_else_arrives_and_in_whatever_order(scene: Scene) -> None:
    grant = await grant_in_use(scene)
    version = grant["version"]
    later = "2026-12-24T00:00:00Z"
    end = command("Consent", grant["grant_id"], "end", reason="no longer needed")
    ended = await scene.other.one(end)
    assert (ended["outcome"], ended["answer"]["receipt"]["grant_id"]) == ("applied", grant["grant_id"])
    extend = command("Consent", grant["grant_id"], "extend", base_version=version, ends_at=later)
    narrow = command("Consent", grant["grant_id"], "narrow", base_version=version, slice={"current": False})
    again = command("Consent", grant["grant_id"], "end")
    results = (await scene.phone.push(extend, narrow, again, end))["results"]
    assert [one["outcome"] for one in results] == ["conflict", "applied", "applied", "applied"]
    now = await scene.owner.expect(200, "GET", f"/records/{scene.phone.record_id}/grants/{grant['grant_id']}")
    assert now["state"] == "ended"
    row = await feed_row(scene.phone, grant["grant_id"])
    assert row["body"]["status"] == "inactive"


async def test_an_extension_of_what_was_changed_meanwhile_is_a_conflict(scene: Scene) -> None:
    grant = await grant_in_use(scene)
    narrow = command(
        "Consent", grant["grant_id"], "narrow", base_version=grant["version"], slice={"current": True}
    )
    assert (await scene.other.one(narrow))["outcome"] == "applied"
    extend = command(
        "Consent",
        grant["grant_id"],
        "extend",
        base_version=grant["version"],
        ends_at="2026-12-24T00:00:00Z",
    )
    assert (await scene.phone.one(extend))["outcome"] == "conflict"


async def test_a_refused_command_refuses_nobody_else(scene: Scene) -> None:
    made = command("Consent", str(uuid4()), "grant", to={"open": True}, slice=SLICE)
    bad = [
        command("Consent", str(uuid4()), "end"),
        command("Consent", "x", "end"),
        command("Consent", str(uuid4()), "grant", to={}),
        command("Consent", str(uuid4()), "grant", surprise=1),
        command("Consent", str(uuid4()).upper(), "grant", to={"open": True}),
        command("Task", str(uuid4()), "withdraw"),
        command("Observation", str(uuid4()), "end"),
    ]
    results = (await scene.phone.push(*bad, made))["results"]
    assert [one["outcome"] for one in results] == ["rejected"] * len(bad) + ["applied"]
    assert [one["code"] for one in results[:-1]] == [
        "not-found",
        "not-found",
        "business-rule",
        "business-rule",
        "business-rule",
        "not-found",
        "bad-request",
    ]


async def test_a_grant_ended_before_it_was_ever_sent(scene: Scene) -> None:
    grant_id = str(uuid4())
    made = command("Consent", grant_id, "grant", to={"open": True}, slice=SLICE)
    ended = command("Consent", grant_id, "end", mutation={"after": made["mid"]})
    outcomes = [one["outcome"] for one in (await scene.phone.push(made, ended))["results"]]
    if outcomes[1] == "retry":
        outcomes[1] = (await scene.phone.one(ended))["outcome"]
    assert outcomes == ["applied", "applied"]
    assert (await feed_row(scene.phone, grant_id))["body"]["status"] == "inactive"


async def test_a_question_asked_offline_and_more_said_of_it(scene: Scene) -> None:
    page = await scene.phone.changes()
    asthma = next(row for row in page["changes"] if "AMINA-asthma" in str(row.get("body")))
    task_id = str(uuid4())
    asked = command(
        "Task",
        task_id,
        "question",
        kind="wrong",
        target=f"Condition/{asthma['id']}",
        should_say="never had it",
    )
    more = command("Task", task_id, "message", text="see my letter", mutation={"after": asked["mid"]})
    results = (await scene.phone.push(asked, more))["results"]
    assert results[0]["outcome"] == "applied", results
    assert results[0]["answer"]["state"] == "queued"
    if results[1]["outcome"] == "retry":
        results[1] = await scene.phone.one(more)
    assert results[1]["outcome"] == "applied"
    after = await scene.phone.changes(page["cursor"])
    assert {row["type"] for row in after["changes"]} >= {"Task", "Communication"}
    listed = await scene.owner.expect(200, "GET", f"/records/{scene.phone.record_id}/corrections")
    assert [one["correction_id"] for one in listed["corrections"]] == [task_id]
    taken_back = await scene.other.one(command("Task", task_id, "withdraw"))
    assert (taken_back["outcome"], taken_back["answer"]["state"]) == ("applied", "withdrawn")
    synced = {row["id"]: row for row in page["changes"]}[asthma["id"]]
    still = {row["id"]: row for row in (await scene.phone.changes())["changes"]}[asthma["id"]]
    assert still == synced


async def grant_in_use(scene: Scene) -> dict[str, Any]:
    """A grant that a doctor holds, as its owner sees it."""
    made = await scene.phone.one(command("Consent", str(uuid4()), "grant", to={"open": True}, slice=SLICE))
    await redeem(scene.owner, await scene.world.sign_in(PATEL), made["answer"])
    path = f"/records/{scene.phone.record_id}/grants/{made['answer']['grant_id']}"
    return await scene.owner.expect(200, "GET", path)


async def feed_row(phone: Phone, item_id: str) -> dict[str, Any]:
    """The row of one item."""
    page = await phone.changes()
    return next(row for row in page["changes"] if row["id"] == item_id)


async def be_later(scene: Scene, phone: Phone, *, minutes: int) -> None:
    """Time passes and the phone has a new token of the same sign-in."""
    scene.world.held.parts.storage.clock_offset = timedelta(minutes=minutes)
    phone.client.key.seconds_ahead = minutes * 60
    await phone.client.refresh(record_id=phone.record_id)
