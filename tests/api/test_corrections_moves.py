"""Every move of a correction through the real routes: who may make it from which state, and who may not."""

import itertools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.api.correction_world import FHIR, STATUS, CorrectionWorld, moved
from tests.held_app import served_held
from tests.world import EVERYONE, PATEL

ASTHMA = "AMINA-asthma"
# How the source brings a request into each state, and the state it is in for the person then.
WAYS: dict[str, tuple[str, ...]] = {
    "queued": (),
    "in-review": ("in-review",),
    "waiting-for-information": ("in-review", "waiting-for-information"),
    "accepted": ("in-review", "accepted"),
    "partial-accept": ("in-review", "partial-accept"),
    "amendment-completed": ("in-review", "accepted", "amendment-completed"),
    "denied": ("in-review", "denied"),
}
LEGAL = {
    ("queued", "in-review"),
    ("in-review", "waiting-for-information"),
    ("in-review", "accepted"),
    ("in-review", "partial-accept"),
    ("in-review", "denied"),
    ("waiting-for-information", "in-review"),
    ("accepted", "amendment-completed"),
    ("partial-accept", "amendment-completed"),
}
# Words alone, with the state as it is.
OPEN = {"queued", "in-review", "waiting-for-information", "accepted", "partial-accept"}
TERMINAL = {"amendment-completed", "denied"}


@asynccontextmanager
async def corrections(folder: Path) -> AsyncGenerator[CorrectionWorld]:
    async with served_held(folder, EVERYONE) as held:
        yield await CorrectionWorld(held).begin()


async def brought_to(world: CorrectionWorld, target: str, state: str) -> dict[str, Any]:
    """The Task of a new question, brought into a state by its source."""
    asked = await world.question(target)
    if WAYS[state]:
        return await world.move(asked["task_id"], *WAYS[state], text="Words.")
    return await world.task(asked["task_id"])


async def test_the_source_may_make_each_legal_move_and_no_other(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        target = f"Condition/{asthma['id']}/_history/1"
        await world.amend(ASTHMA, "AMINA-bronchitis")
        for state in WAYS:
            task = await brought_to(world, target, state)
            for to in STATUS:
                is_legal = (state, to) in LEGAL or (to == state and state in OPEN)
                response = await world.put(task, to, "Words.")
                assert response.status_code == (200 if is_legal else 409), (state, to, response.text)
                if is_legal:
                    # The next one begins where this one began.
                    task = await brought_to(world, target, state)


async def test_the_person_may_write_and_take_back_until_it_is_settled(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        target = f"Condition/{asthma['id']}/_history/1"
        await world.amend(ASTHMA, "AMINA-bronchitis")
        for state, (step, body) in itertools.product(
            WAYS, (("message", {"text": "More."}), ("withdraw", {}), ("disagree", {"statement": "No."}))
        ):
            task = await brought_to(world, target, state)
            response = await world.owner.call("POST", world.path(task["id"], step), json=body)
            is_legal = state in OPEN if step != "disagree" else state == "denied"
            expected = (201 if step == "disagree" else 200) if is_legal else 409
            assert response.status_code == expected, (state, step, response.text)
            after = await world.task(task["id"])
            if not is_legal:
                assert after == task, "A refused step changes nothing: the decision stands."
            if step == "withdraw" and is_legal:
                assert after["status"] == "cancelled"
                again = await world.owner.call("POST", world.path(task["id"], step), json=body)
                assert again.status_code == 200
                assert (await world.task(task["id"])) == after
                assert (await world.put(after, "in-review", "Words.")).status_code == 409


async def test_a_disagreement_moves_by_its_own_table(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        ways: dict[str, tuple[str, ...]] = {
            "queued": (),
            "in-review": ("in-review",),
            "completed": ("completed",),
        }
        legal = {"in-review", "disagreement-logged", "completed"}
        for state, steps in ways.items():
            for to in STATUS:
                refused = await brought_to(world, f"Condition/{asthma['id']}", "denied")
                body = {"statement": "It never was."}
                told = await world.owner.expect(201, "POST", world.path(refused["id"], "disagree"), json=body)
                task_id = told["disagreement"]["task_id"]
                await world.move(task_id, *steps, text="Words.")
                response = await world.put(await world.task(task_id), to, "Words.")
                is_legal = to in legal if state == "queued" else state == "in-review" and to in legal
                is_legal = is_legal or (to == state and state in OPEN)
                assert response.status_code == (200 if is_legal else 409), (state, to, response.text)
                if state == "completed":
                    break


async def test_strangers_find_no_task_and_the_source_finds_nothing_else(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        task = await world.task(asked["task_id"])
        path = f"/fhir/Task/{task['id']}"
        hospital = await world.world.integrator_client(world.world.hospital)
        reader = (await world.world.share(world.owner, {}, await world.world.sign_in(PATEL))).client
        never = "/fhir/Task/00000000-0000-4000-8000-000000000000"
        for client in (hospital, reader):
            unseen = await client.call("GET", path)
            assert unseen.status_code == 404
            assert unseen.content == (await client.call("GET", never)).content
            assert ASTHMA not in (await client.call("GET", "/fhir/Task")).text or client is reader
            assert (await client.expect(200, "GET", "/fhir/Task")).get("entry") is None
        unseen = await world.put(task, "in-review", client=hospital)
        assert unseen.status_code == 404
        assert (await world.put(task, "in-review", client=reader)).status_code == 405
        assert (await world.put(task, "in-review", client=world.owner)).status_code == 405
        for other in (
            f"/fhir/Condition/{asthma['id']}",
            "/fhir/Condition",
            f"/fhir/Patient/{task['for']['reference'].partition('/')[2]}",
            "/fhir/Communication",
        ):
            assert (await world.practice.call("GET", other)).status_code == 404, other
        for more in (f"{path}/_history", f"{path}/_history/1", f"{path}/$source"):
            assert (await world.practice.call("GET", more)).status_code == 401, more
        theirs = await world.practice.expect(200, "GET", "/fhir/Task?owner=Organization/RR801")
        assert "entry" not in theirs
        own = await world.practice.expect(200, "GET", "/fhir/Task?owner=Organization/B86001")
        types = sorted(entry["resource"]["resourceType"] for entry in own["entry"])
        assert types == ["Communication", "Task"]


async def test_a_task_sent_back_must_name_the_version_that_was_read_and_change_only_its_own_part(
    tmp_path: Path,
) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        task = await world.task(asked["task_id"])
        assert (await world.put(task, "in-review", if_match=None)).status_code == 400
        for wrong in ('W/"2"', '"0"', "1", 'W/"1", W/"2"', "*"):
            assert (await world.put(task, "in-review", if_match=wrong)).status_code == 412, wrong
        for name, value in (
            ("focus", {"reference": "Condition/other"}),
            ("for", {"reference": "Patient/other"}),
            ("owner", {"reference": "Organization/RR801"}),
            ("intent", "plan"),
            ("authoredOn", "2020-01-01T00:00:00Z"),
            ("restriction", {"repetitions": 1}),
            ("partOf", [{"reference": "Task/other"}]),
        ):
            response = await world.put({**task, name: value}, "in-review")
            assert (response.status_code, ASTHMA in response.text) == (422, False), name
        headers = {**FHIR, "If-Match": 'W/"1"'}
        path = f"/fhir/Task/{task['id']}"
        for sent, status in (
            ({**moved(task, "in-review"), "status": "completed"}, 422),
            ({**task, "businessStatus": {"text": "in review"}}, 422),
            ({**moved(task, "in-review"), "id": "other"}, 400),
            ({**moved(task, "in-review"), "resourceType": "Observation"}, 422),
            ({**moved(task, "in-review"), "surprise": True}, 422),
        ):
            response = await world.practice.call("PUT", path, json=sent, headers=headers)
            assert response.status_code == status, response.text
        assert await world.task(task["id"]) == task
        least = {name: moved(task, "in-review")[name] for name in ("resourceType", "id", "intent")}
        least |= {name: moved(task, "in-review")[name] for name in ("status", "businessStatus")}
        await world.practice.expect(200, "PUT", path, json=least, headers=headers)
        for no_object in (b"null", b"[]", b'"x"', b"1"):
            refused = await world.practice.call("PUT", path, content=no_object, headers=headers)
            assert (refused.status_code, _code(refused)) == (400, "body-refused"), no_object
        stale = await world.put(task, "accepted")
        assert (stale.status_code, _code(stale)) == (412, "version-moved")
        for business in ("denied", "waiting-for-information"):
            unsaid = await world.put(await world.task(task["id"]), business)
            assert unsaid.status_code == 422
        await world.move(task["id"], "accepted")
        unsent = await world.put(await world.task(task["id"]), "amendment-completed", "Done.")
        assert unsent.status_code == 422


async def test_an_organisation_finds_what_has_moved_since_it_last_asked(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        ids = [(await world.question(f"Condition/{asthma['id']}"))["task_id"] for _ in range(5)]
        first = await world.practice.expect(200, "GET", "/fhir/Task?owner=Organization/B86001&_count=2")
        found = [each["resource"]["id"] for each in first["entry"] if each["search"]["mode"] == "match"]
        while following := [link["url"] for link in first["link"] if link["relation"] == "next"]:
            first = await world.practice.expect(200, "GET", following[0].removeprefix("http://held.test"))
            matches = [each for each in first.get("entry", []) if each["search"]["mode"] == "match"]
            found += [each["resource"]["id"] for each in matches]
        assert found == ids
        until = first["meta"]["lastUpdated"]
        newest = max([(await world.task(task_id))["meta"]["lastUpdated"] for task_id in ids])
        for since in (f"gt{newest}", f"ge{until}"):
            nothing = await world.practice.expect(200, "GET", f"/fhir/Task?_lastUpdated={since}")
            assert "entry" not in nothing
        await world.owner.expect(200, "POST", world.path(ids[1], "message"), json={"text": "More."})
        for since in (f"gt{newest}", f"ge{until}"):
            moved_on = await world.practice.expect(200, "GET", f"/fhir/Task?_lastUpdated={since}")
            assert [each["resource"]["id"] for each in moved_on["entry"]][:1] == [ids[1]]
            assert len(moved_on["entry"]) == 3
        one = await world.practice.expect(200, "GET", f"/fhir/Task?_id={ids[2]}")
        assert one["entry"][0]["resource"]["id"] == ids[2]
        for nobodys in ("x", "", ids[2].upper(), f"{ids[2]},{ids[3]}", str(uuid4())):
            nothing = await world.practice.expect(200, "GET", f"/fhir/Task?_id={nobodys}")
            assert "entry" not in nothing, nobodys
        for wrong in (
            "status=ready",
            "owner=a&owner=b",
            "_lastUpdated=lt2026",
            "_lastUpdated=gtx",
            "_count=0",
        ):
            assert (await world.practice.call("GET", f"/fhir/Task?{wrong}")).status_code == 400, wrong


def _code(refused: httpx.Response) -> str:
    return refused.json()["issue"][0]["details"]["coding"][0]["code"]
