"""What a phone may write, and what becomes of it (SYNC 3.3 and 3.4)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.api.phones import (
    Scene,
    blood_pressure,
    command,
    create,
    delete,
    mid,
    new_phone,
    opened_scene,
    patch,
    weight,
)
from tests.world import BEN


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


async def test_an_own_reading_is_made_changed_and_deleted(scene: Scene) -> None:
    made = create(blood_pressure(128, 81))
    assert outcome(await scene.phone.one(made)) == ("applied", 1)
    kept = await scene.client.expect(200, "GET", f"/fhir/Observation/{made['id']}")
    assert kept["subject"] == {"reference": f"Patient/{scene.patient_id}"}
    assert kept["performer"] == [{"reference": f"Patient/{scene.patient_id}"}]
    assert kept["meta"]["versionId"] == "1"
    changed = patch(made, 1, {"note": [{"text": "after a walk"}]})
    assert outcome(await scene.phone.one(changed)) == ("applied", 2)
    assert outcome(await scene.phone.one(delete(made, 2))) == ("applied", 3)
    assert (await scene.client.call("GET", f"/fhir/Observation/{made['id']}")).status_code == 404
    page = await scene.phone.changes()
    gone = [row for row in page["changes"] if row["id"] == made["id"]]
    assert gone == [{"op": "gone", "type": "Observation", "id": made["id"], "version": 3}]


async def test_a_number_keeps_every_digit_it_was_sent_with(scene: Scene) -> None:
    body = json.dumps(weight(71)).replace('"value": 71', '"value": 71.50')
    made = create(json.loads(body))
    text = json.dumps({"deviceId": scene.phone.device_id, "mutations": [made]}).replace("71.5", "71.50")
    headers = {"Content-Type": "application/json"}
    pushed = await scene.phone.call("POST", "mutations", content=text.encode(), headers=headers)
    assert pushed.json()["results"][0]["outcome"] == "applied"
    kept = await scene.client.call("GET", f"/fhir/Observation/{made['id']}")
    assert '"value":71.50' in kept.text


async def test_a_repeat_is_answered_the_same_and_does_nothing(scene: Scene) -> None:
    made = create(weight(71))
    first = await scene.phone.one(made)
    await scene.phone.one(patch(made, 1, {"note": [{"text": "later"}]}))
    again = await scene.phone.one(made)
    assert again == first | {"repeat": True}
    elsewhere = await scene.other.one(made | {"body": weight(99)})
    assert elsewhere == first | {"repeat": True}
    kept = await scene.client.expect(200, "GET", f"/fhir/Observation/{made['id']}")
    assert (kept["meta"]["versionId"], kept["valueQuantity"]["value"]) == ("2", 71)


async def test_a_mutation_sent_twice_in_one_push_has_one_effect(scene: Scene) -> None:
    made = create(weight(71))
    pushed = await scene.phone.push(made, made)
    assert [(one["outcome"], one.get("repeat", False)) for one in pushed["results"]] == [
        ("applied", False),
        ("applied", True),
    ]


async def test_two_phones_that_change_different_parts_both_keep_their_change(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    assert outcome(await scene.phone.one(patch(made, 1, {"valueQuantity": {"value": 72}}))) == ("applied", 2)
    merged = await scene.other.one(patch(made, 1, {"effectiveDateTime": "2026-11-20T09:00:00Z"}))
    assert outcome(merged) == ("merged", 3)
    assert merged["body"]["valueQuantity"]["value"] == 72
    assert merged["body"]["effectiveDateTime"] == "2026-11-20T09:00:00Z"
    assert merged["body"]["meta"]["versionId"] == "3"
    assert await scene.client.expect(200, "GET", f"/fhir/Observation/{made['id']}") == merged["body"]


async def test_two_phones_that_change_one_value_differently_lose_neither(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    await scene.phone.one(patch(made, 1, {"valueQuantity": {"value": 72}}))
    clash = await scene.other.one(
        patch(made, 1, {"valueQuantity": {"value": 73}, "note": [{"text": "mine"}]})
    )
    assert (clash["outcome"], clash["code"]) == ("conflict", "changed")
    by_path = {one["path"]: one for one in clash["conflicts"]}
    assert by_path["value[x]"]["mine"]["valueQuantity"]["value"] == 73
    assert by_path["value[x]"]["theirs"]["valueQuantity"]["value"] == 72
    assert by_path["value[x]"]["base"]["valueQuantity"]["value"] == 71
    assert by_path[""]["mine"]["note"] == [{"text": "mine"}]
    kept = await scene.client.expect(200, "GET", f"/fhir/Observation/{made['id']}")
    assert (kept["meta"]["versionId"], kept["valueQuantity"]["value"], "note" in kept) == ("2", 72, False)


async def test_a_delete_beats_an_edit_and_the_edit_comes_back_whole(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    await scene.other.one(patch(made, 1, {"valueQuantity": {"value": 72}}))
    assert outcome(await scene.phone.one(delete(made, 1))) == ("applied", 3)
    clash = await scene.other.one(patch(made, 2, {"note": [{"text": "a thought"}]}))
    assert (clash["outcome"], clash["code"]) == ("conflict", "gone")
    assert clash["conflicts"][0]["mine"]["note"] == [{"text": "a thought"}]
    again = await scene.other.one(create(weight(75), id=made["id"]))
    assert (again["outcome"], again["code"]) == ("conflict", "gone")
    assert outcome(await scene.other.one(delete(made, 2))) == ("applied", 3)


async def test_what_came_from_a_source_cannot_be_written(scene: Scene) -> None:
    before = {row["id"]: row for row in (await scene.phone.changes())["changes"]}
    attempts: list[dict[str, Any]] = []
    for row in before.values():
        if row["type"] in ("Condition", "Observation", "Provenance"):
            attempts += [patch(row, row["version"], {"note": [{"text": "x"}]}), delete(row, row["version"])]
            attempts.append(patch(row, row["version"], {}, op="replace", body=row["body"]))
            attempts.append(create(row["body"], id=row["id"]))
    results = (await scene.phone.push(*attempts))["results"]
    assert {(one["outcome"], one["code"]) for one in results} <= {
        ("rejected", "read-only"),
        ("rejected", "bad-id"),
    }
    after = {row["id"]: row for row in (await scene.phone.changes())["changes"]}
    assert after == before


async def test_the_person_says_how_to_reach_them_and_nothing_else_of_their_patient(scene: Scene) -> None:
    me = {"type": "Patient", "id": scene.patient_id}
    telecom = [{"system": "phone", "value": "07700 900000", "use": "mobile"}]
    assert outcome(await scene.phone.one(patch(me, 1, {"telecom": telecom}))) == ("applied", 2)
    language = [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "ur"}]}, "preferred": True}]
    assert outcome(await scene.other.one(patch(me, 1, {"communication": language}))) == ("merged", 3)
    kept = await scene.client.expect(200, "GET", f"/fhir/Patient/{scene.patient_id}")
    assert (kept["telecom"], kept["communication"]) == (telecom, language)
    outside: list[dict[str, Any]] = [{"birthDate": "1990-01-01"}, {"telecom": None, "name": []}, {"id": "x"}]
    for members in outside:
        refused = await scene.phone.one(patch(me, 3, members))
        assert (refused["outcome"], refused["code"]) == ("rejected", "read-only")
    for other in (patch(me, 3, {}, op="replace", body=kept), delete(me, 3), create(kept, id=me["id"])):
        refused = await scene.phone.one(other)
        assert (refused["outcome"], refused["code"]) == ("rejected", "read-only")
    stranger = {"type": "Patient", "id": str(uuid4())}
    assert (await scene.phone.one(patch(stranger, 1, {"telecom": telecom})))["code"] == "not-found"


async def test_one_bad_mutation_changes_nothing_for_the_others(scene: Scene) -> None:
    good, followed = create(weight(71)), create(weight(72))
    bad: list[dict[str, Any]] = [
        create({**weight(1), "status": "no-such-status"}),
        create({**weight(1), "subject": {"reference": "Patient/someone-else"}}),
        create({**weight(1), "performer": [{"reference": "Practitioner/dr"}]}),
        create(weight(1), id="not-a-uuid"),
        create({**weight(1), "id": "another"}),
        {"mid": mid(), "op": "create", "type": "Observation", "id": str(uuid4())},
        {"mid": mid(), "op": "create", "type": "Condition", "id": str(uuid4()), "body": weight(1)},
        {"mid": mid(), "op": "explode", "type": "Observation", "id": str(uuid4())},
        {"mid": mid(), "op": "patch", "type": "Observation", "id": good["id"], "patch": {}},
        patch({"type": "Observation", "id": str(uuid4())}, 1, {}),
        command("Consent", str(uuid4()), "no-such-command"),
    ]
    results = (await scene.phone.push(good, *bad, followed))["results"]
    assert [outcome(results[0]), outcome(results[-1])] == [("applied", 1), ("applied", 1)]
    codes = [one["code"] for one in results[1:-1]]
    assert [one["outcome"] for one in results[1:-1]] == ["rejected"] * len(bad)
    assert codes == [
        "invalid",
        "not-about-you",
        "not-by-you",
        "bad-id",
        "other-id",
        "unreadable",
        "read-only",
        "unreadable",
        "no-base",
        "not-found",
        "bad-request",
    ]
    assert results[1]["issue"]["resourceType"] == "OperationOutcome"
    again = (await scene.phone.push(*bad))["results"]
    assert again == [one | {"repeat": True} for one in results[1:-1]]


async def test_what_comes_after_a_mutation_waits_for_it(scene: Scene) -> None:
    first, bad = create(weight(71)), create({**weight(1), "status": "nonsense"})
    second = patch(first, 1, {"note": [{"text": "x"}]}, after=first["mid"])
    early = await scene.phone.one(second)
    assert (early["outcome"], early["code"]) == ("retry", "after")
    blocked = create(weight(73), after=bad["mid"])
    third = create(weight(74), after=blocked["mid"])
    results = (await scene.phone.push(first, second, bad, blocked, third))["results"]
    assert [one["outcome"] for one in results] == ["applied", "applied", "rejected", "blocked", "blocked"]
    assert (await scene.phone.one(blocked))["repeat"] is True


async def test_mutations_of_one_txn_are_done_together_or_not_at_all(scene: Scene) -> None:
    good = create(weight(71), txn="a")
    bad = create({**weight(1), "status": "nonsense"}, txn="a")
    alone, fine, fine_too = create(weight(70)), create(weight(72), txn="b"), create(weight(73), txn="b")
    results = (await scene.phone.push(good, alone, bad, fine, fine_too))["results"]
    assert [one["outcome"] for one in results] == ["blocked", "applied", "rejected", "applied", "applied"]
    assert results[0]["code"] == "txn"
    assert (await scene.client.call("GET", f"/fhir/Observation/{good['id']}")).status_code == 404
    assert (await scene.client.call("GET", f"/fhir/Observation/{fine['id']}")).status_code == 200
    again = (await scene.phone.push(good, bad))["results"]
    assert [one["outcome"] for one in again] == ["blocked", "rejected"]


@pytest.mark.parametrize("members", [{"op": "frobnicate"}, {"base": 7}, {"type": None}])
async def test_a_txn_with_a_part_that_cannot_be_read_is_not_done(
    scene: Scene, members: dict[str, Any]
) -> None:
    good, odd = create(weight(71), txn="a"), create(weight(72), txn="a") | members
    results = (await scene.phone.push(good, odd))["results"]
    assert [(one["outcome"], one["code"]) for one in results] == [
        ("blocked", "txn"),
        ("rejected", "unreadable"),
    ]
    assert (await scene.client.call("GET", f"/fhir/Observation/{good['id']}")).status_code == 404


@pytest.mark.parametrize("is_done", [True, False])
async def test_what_was_answered_earlier_in_a_push_stays_when_a_later_txn_fails(
    scene: Scene, is_done: bool
) -> None:
    first = create(weight(71) if is_done else {**weight(71), "status": "nonsense"})
    bad = delete({"type": "Observation", "id": str(uuid4())}, 1, txn="b")
    results = (await scene.phone.push(first, first | {"txn": "b"}, bad))["results"]
    answered = ("applied", 1) if is_done else ("rejected", None)
    assert [outcome(one) for one in results[:2]] == [answered, answered]
    assert [one.get("repeat", False) for one in results] == [False, True, False]
    assert (await scene.phone.push(first, bad))["results"] == [one | {"repeat": True} for one in results[1:]]
    status = (await scene.client.call("GET", f"/fhir/Observation/{first['id']}")).status_code
    assert status == (200 if is_done else 404)


async def test_a_push_brings_the_rows_since_the_cursor_and_says_which_mutations_they_hold(
    scene: Scene,
) -> None:
    cursor = (await scene.phone.changes())["cursor"]
    await scene.other.one(create(weight(60)))
    made, bad = create(weight(71)), create({**weight(1), "status": "nonsense"})
    pushed = await scene.phone.push(bad, made, since=cursor)
    assert [row["type"] for row in pushed["changes"]] == ["Observation", "Observation"]
    assert set(pushed["acked"]) == {made["mid"], bad["mid"]}
    assert pushed["digest"] == (await scene.phone.changes(pushed["cursor"]))["digest"]
    assert {row["by"] for row in pushed["changes"]} == {"self"}
    lost = await scene.phone.push(create(weight(72)), since="AAAA")
    assert lost["results"][0]["outcome"] == "applied"
    assert "cursor" not in lost


async def test_a_status_does_not_go_back(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    refused = await scene.phone.one(patch(made, 1, {"status": "preliminary"}))
    assert (refused["outcome"], refused["code"]) == ("rejected", "status")


async def test_a_wrong_clock_changes_no_outcome(scene: Scene) -> None:
    made = create(weight(71), at="1999-01-01T00:00:00Z", sentAt="2099-01-01T00:00:00Z")
    assert outcome(await scene.phone.one(made)) == ("applied", 1)
    late = patch(made, 1, {"valueQuantity": {"value": 72}}, sentAt="1999-01-01T00:00:00Z")
    early = patch(made, 1, {"valueQuantity": {"value": 73}}, sentAt="2099-01-01T00:00:00Z")
    assert outcome(await scene.phone.one(late)) == ("applied", 2)
    assert (await scene.other.one(early))["outcome"] == "conflict"


async def test_an_edit_of_a_version_nobody_has_keeps_what_the_person_wrote(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    clash = await scene.phone.one(patch(made, 7, {"valueQuantity": {"value": 72}}))
    assert (clash["outcome"], clash["code"]) == ("conflict", "base-unknown")
    assert clash["conflicts"][0]["mine"] == {"valueQuantity": {"value": 72}}


async def test_an_item_changed_twice_in_one_push_keeps_both_versions(scene: Scene) -> None:
    made = create(weight(71))
    later = patch(made, 1, {"valueQuantity": {"value": 72}}, after=made["mid"])
    last = patch(made, 2, {"valueQuantity": {"value": 73}}, after=later["mid"])
    results = (await scene.phone.push(made, later, last))["results"]
    assert [outcome(one) for one in results] == [("applied", 1), ("applied", 2), ("applied", 3)]
    history = await scene.client.expect(200, "GET", f"/fhir/Observation/{made['id']}/_history")
    values = [entry["resource"]["valueQuantity"]["value"] for entry in history["entry"]]
    assert values == [73, 72, 71]


async def test_a_push_naming_another_phone_or_another_person_is_refused(scene: Scene) -> None:
    scene.phone.device_id, device_id = scene.other.device_id, scene.phone.device_id
    refused = await scene.phone.send(create(weight(71)))
    assert (refused.status_code, refused.json()["code"]) == (403, "device-unknown")
    scene.phone.device_id = device_id
    ben = await new_phone(scene.world, BEN)
    ben.record_id = scene.phone.record_id
    assert (await ben.send(create(weight(71)))).status_code == 404


async def test_a_mutation_without_a_readable_id_refuses_the_whole_push(scene: Scene) -> None:
    good = create(weight(71))
    unreadable: list[Any] = [{"op": "create"}, {"mid": "7"}, {"mid": mid().upper()}, {"mid": 7}, "text", None]
    for bad in unreadable:
        refused = await scene.phone.send(good, bad)
        assert (refused.status_code, refused.json()["code"]) == (400, "bad-request")
    assert (await scene.client.call("GET", f"/fhir/Observation/{good['id']}")).status_code == 404


def outcome(result: dict[str, Any]) -> tuple[str, int | None]:
    """What a result says first."""
    return result["outcome"], result.get("version")
