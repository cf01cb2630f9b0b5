"""A correction from the question to its end, through the front door."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.commands.held_client import HeldClient
from tests.api.correction_world import FHIR, CorrectionWorld, moved
from tests.held_app import served_held
from tests.world import EVERYONE, PATEL

ASTHMA = "AMINA-asthma"
SLICE = {"current": True, "categories": ["results"]}
TAG = {"system": "urn:held:tag", "code": "questioned", "display": "Questioned by the person"}


@asynccontextmanager
async def corrections(folder: Path) -> AsyncGenerator[CorrectionWorld]:
    async with served_held(folder, EVERYONE) as held:
        yield await CorrectionWorld(held).begin()


async def sentences(world: CorrectionWorld) -> list[str]:
    """The lines of the owner's log about corrections."""
    log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log?limit=200")
    return [entry["sentence"] for entry in log["entries"] if entry["kind"] == "correct"]


async def test_an_item_is_questioned_answered_and_corrected(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(
            f"Condition/{asthma['id']}", element="Condition.code", says="Asthma", urgent=True
        )
        assert asked["state"] == "queued"
        assert asked["target"] == f"Condition/{asthma['id']}/_history/1"
        assert asked["task_id"] == asked["correction_id"]
        assert asked["sentence"].startswith(f'You asked Beeston Practice to put right "{ASTHMA}"')
        task = await world.task(asked["task_id"])
        assert task["focus"]["reference"] == asked["target"]
        assert task["focus"]["identifier"]["value"].startswith("item-")
        assert (task["status"], task["priority"], task["owner"]["reference"]) == (
            "ready",
            "urgent",
            "Organization/B86001",
        )
        assert not {"restriction", "encounter", "basedOn", "partOf"} & task.keys()
        waiting = await world.move(task["id"], "in-review", "waiting-for-information", text="Since when?")
        assert waiting["businessStatus"]["coding"][0]["code"] == "waiting-for-information"
        path = world.path(asked["correction_id"], "message")
        told = await world.owner.expect(200, "POST", path, json={"text": "Never. It was bronchitis."})
        assert told["state"] == "in-review"
        await world.move(task["id"], "accepted")
        await world.amend(ASTHMA, "AMINA-bronchitis")
        done = await world.move(task["id"], "amendment-completed", text="Put right. Sorry.")
        assert done["output"][0]["type"]["coding"][0]["code"] == "medRecCxReqResolution"
        listed = await world.listed(asked["correction_id"])
        assert listed["state"] == "amended"
        assert listed["corrected_by"] == f"Condition/{asthma['id']}/_history/2"
        assert [message["by"] for message in listed["messages"]] == ["person", "source", "person", "source"]
        states = ["queued", "in-review", "waiting-for-information", "in-review", "accepted", "amended"]
        assert [step["state"] for step in listed["history"]] == states
        assert "tag" not in (await world.item("Condition", "AMINA-bronchitis"))["meta"]
        await _what_the_record_keeps(world, asthma["id"], listed)


async def _what_the_record_keeps(world: CorrectionWorld, condition_id: str, listed: dict[str, Any]) -> None:
    task = await world.owner.expect(200, "GET", f"/fhir/Task/{listed['task_id']}")
    assert task == await world.task(listed["task_id"])
    found = await world.owner.expect(200, "GET", "/fhir/Communication?_count=50")
    assert len(found["entry"]) == 4
    path = f"/fhir/Provenance?target=Condition/{condition_id}&_count=50"
    provenances = [each["resource"] for each in (await world.owner.expect(200, "GET", path))["entry"]]
    revisions = [each for each in provenances if each.get("entity", [{}])[0]["role"] == "revision"]
    assert [each["entity"][0]["what"]["reference"] for each in revisions] == [listed["target"]]
    assert revisions[0]["target"] == [{"reference": listed["corrected_by"]}]
    both = await world.owner.expect(200, "GET", f"/fhir/Condition/{condition_id}/_history")
    assert [each["resource"]["code"]["text"] for each in both["entry"]] == ["AMINA-bronchitis", ASTHMA]
    lines = await sentences(world)
    assert lines[0].startswith("You asked Beeston Practice")
    assert f'Beeston Practice was given what you asked about "{ASTHMA}" of 1 May 2024.' in lines
    assert f'You wrote to Beeston Practice about "{ASTHMA}" of 1 May 2024.' in lines
    assert f'Beeston Practice has corrected "{ASTHMA}" of 1 May 2024.' in lines
    own = await world.owner.expect(200, "GET", f"/records/{world.record_id}/notices")
    told = [notice["state"] for notice in own["notices"]]
    assert told == ["amended", "accepted", "waiting-for-information", "in-review"]


async def test_a_questioned_item_is_marked_in_every_view_until_it_is_settled(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        reader = (await world.world.share(world.owner, SLICE, await world.world.sign_in(PATEL))).client
        clients = {"owner": world.owner, "reader": reader}
        for text, kind in ((ASTHMA, "Condition"), ("AMINA-penicillin", "AllergyIntolerance")):
            item = await world.item(kind, text)
            path = f"/fhir/{kind}/{item['id']}"
            before = {name: await client.call("GET", path) for name, client in clients.items()}
            asked = await world.question(f"{kind}/{item['id']}", should_say="Nothing of the kind")
            for name, client in clients.items():
                marked = await client.call("GET", path)
                assert TAG in marked.json()["meta"]["tag"], name
                assert [each["url"] for each in marked.json()["extension"]] == [
                    "urn:held:extension:questioned"
                ]
                assert marked.headers["etag"] != before[name].headers["etag"]
                one_by_one = await _found_page_by_page(client, kind, text)
                assert TAG in one_by_one["meta"]["tag"], name
                elements = await client.expect(200, "GET", f"/fhir/{kind}?_elements=code")
                assert any(TAG in each["resource"]["meta"]["tag"] for each in elements["entry"]), name
                again = await client.expect(200, "GET", f"{path}/_history")
                assert all(TAG in each["resource"]["meta"]["tag"] for each in again["entry"]), name
            source = await world.owner.call("GET", f"{path}/$source")
            assert b"questioned" not in source.content
            await world.owner.expect(200, "POST", world.path(asked["correction_id"], "withdraw"), json={})
            for name, client in clients.items():
                after = await client.call("GET", path)
                assert (after.content, after.headers["etag"]) == (
                    before[name].content,
                    before[name].headers["etag"],
                )
        assert await sentences(world) != []


async def test_the_mark_is_on_every_page(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        reader = (await world.world.share(world.owner, SLICE, await world.world.sign_in(PATEL))).client
        found = await world.owner.expect(200, "GET", "/fhir/Observation")
        ids = [entry["resource"]["id"] for entry in found["entry"]]
        await world.question(f"Observation/{ids[-1]}", should_say="48 mmol/mol")
        for client in (world.owner, reader):
            marked: list[str] = []
            path: str | None = "/fhir/Observation?_count=2"
            pages = 0
            while path is not None:
                page = await client.expect(200, "GET", path)
                pages += 1
                shown = [entry["resource"] for entry in page["entry"]]
                marked += [each["id"] for each in shown if TAG in each.get("meta", {}).get("tag", [])]
                following = [link["url"] for link in page["link"] if link["relation"] == "next"]
                path = following[0].removeprefix("http://held.test") if following else None
            assert (pages, marked) == (3, [ids[-1]])


async def _found_page_by_page(client: HeldClient, kind: str, text: str) -> dict[str, Any]:
    """The item as a search of one item a page gives it."""
    path: str | None = f"/fhir/{kind}?_count=1"
    while path is not None:
        page = await client.expect(200, "GET", path)
        for entry in page.get("entry", []):
            if entry["resource"]["code"]["text"] == text:
                return entry["resource"]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        path = following[0].removeprefix("http://held.test") if following else None
    raise AssertionError(text)


async def test_two_questions_about_one_item_are_settled_one_by_one(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        first = await world.question(f"Condition/{asthma['id']}", mid="0199-first")
        again = await world.question(f"Condition/{asthma['id']}", mid="0199-first")
        assert again == first
        other = {
            "kind": "wrong",
            "target": f"Condition/{asthma['id']}",
            "should_say": "Else",
            "mid": "0199-first",
        }
        assert (await world.owner.call("POST", world.path(), json=other)).status_code == 409
        second = await world.question(f"Condition/{asthma['id']}", kind="not-mine", should_say="")
        assert second["correction_id"] != first["correction_id"]
        await world.move(first["task_id"], "in-review", "denied", text="We have the test to show it.")
        assert TAG in (await world.item("Condition", ASTHMA))["meta"]["tag"]
        listed = await world.listed(first["correction_id"])
        assert listed["state"] == "denied"
        assert "Information Commissioner" in listed["sentence"]
        assert listed["messages"][-1]["text"] == "We have the test to show it."
        await world.owner.expect(200, "POST", world.path(second["correction_id"], "withdraw"), json={})
        assert "tag" not in (await world.item("Condition", ASTHMA))["meta"]


async def test_a_refusal_can_be_disagreed_with_and_that_stands_beside_the_item(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        disagree = world.path(asked["correction_id"], "disagree")
        early = await world.owner.call("POST", disagree, json={"statement": "I do."})
        assert early.status_code == 409
        refused = await world.move(asked["task_id"], "in-review", "denied", text="It was asthma.")
        assert refused["statusReason"] == {"text": "It was asthma."}
        assert "tag" not in (await world.item("Condition", ASTHMA))["meta"]
        told = await world.owner.expect(201, "POST", disagree, json={"statement": "It never was."})
        assert told["state"] == "disagreement-logged"
        assert TAG in (await world.item("Condition", ASTHMA))["meta"]["tag"]
        task = await world.task(told["disagreement"]["task_id"])
        assert task["code"]["coding"][0]["code"] == "medRecCxDenialDisagree"
        assert task["reasonReference"] == {"reference": f"Task/{asked['task_id']}"}
        assert (await world.task(asked["task_id"]))["businessStatus"] == refused["businessStatus"]
        logged = await world.move(task["id"], "disagreement-logged")
        assert logged["status"] == "completed"
        listed = await world.listed(asked["correction_id"])
        assert listed["disagreement"]["state"] == "logged"
        assert TAG in (await world.item("Condition", ASTHMA))["meta"]["tag"]
        assert await world.owner.expect(201, "POST", disagree, json={"statement": "It never was."}) == listed
        assert (await world.owner.call("POST", disagree, json={"statement": "Again."})).status_code == 409


async def test_a_disagreement_taken_back_is_not_said_again_in_silence(tmp_path: Path) -> None:
    async with corrections(tmp_path) as world:
        asthma = await world.item("Condition", ASTHMA)
        asked = await world.question(f"Condition/{asthma['id']}")
        await world.move(asked["task_id"], "in-review", "denied", text="It was asthma.")
        disagree = world.path(asked["correction_id"], "disagree")
        told = await world.owner.expect(201, "POST", disagree, json={"statement": "First."})
        back = world.path(told["disagreement"]["correction_id"], "withdraw")
        await world.owner.expect(200, "POST", back, json={})
        before = await world.listed(asked["correction_id"])
        for words in ("First.", "Third."):
            refused = await world.owner.call("POST", disagree, json={"statement": words})
            assert (refused.status_code, "took back" in refused.text) == (409, True)
        assert await world.listed(asked["correction_id"]) == before
        await world.question(f"Condition/{asthma['id']}", should_say="Third.")


async def test_something_missing_is_asked_of_an_organisation_and_settled_by_what_it_adds(
    tmp_path: Path,
) -> None:
    async with corrections(tmp_path) as world:
        missing = {"kind": "missing", "should_say": "My hay fever is not there."}
        await world.world.link(world.owner, "RR801")
        unsaid = await world.owner.call("POST", world.path(), json=missing)
        assert (unsaid.status_code, unsaid.json()["pointer"]) == (422, "/organisation")
        unlinked = await world.owner.call("POST", world.path(), json={**missing, "organisation": "X99999"})
        assert unlinked.status_code == 422
        asked = await world.question(**missing, organisation="B86001")
        assert "target" not in asked
        assert "focus" not in await world.task(asked["task_id"])
        await world.move(asked["task_id"], "in-review", "accepted")
        task = await world.task(asked["task_id"])
        assert (await world.put(task, "amendment-completed")).status_code == 422
        old = await world.item("Condition", ASTHMA)
        done = moved(task, "amendment-completed", "It is there now.")
        done["output"] = [
            {"type": {"text": "added"}, "valueReference": {"reference": f"Condition/{old['id']}"}}
        ]
        headers = {**FHIR, "If-Match": f'W/"{task["meta"]["versionId"]}"'}
        path = f"/fhir/Task/{task['id']}"
        assert (await world.practice.call("PUT", path, json=done, headers=headers)).status_code == 422
        world.add_condition("AMINA-hay-fever")
        await world.send()
        added = await world.item("Condition", "AMINA-hay-fever")
        done["output"][0]["valueReference"]["reference"] = f"Condition/{added['id']}"
        await world.practice.expect(200, "PUT", path, json=done, headers=headers)
        listed = await world.listed(asked["correction_id"])
        assert (listed["state"], listed["corrected_by"]) == ("amended", f"Condition/{added['id']}/_history/1")
