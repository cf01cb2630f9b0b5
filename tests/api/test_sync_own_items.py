"""What a phone may record as the person's own: by them, about them, and no larger than need be."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from server.records.pulling import SELF_RECORDED_TYPES
from tests.api.phones import Scene, command, create, delete, opened_scene, patch, weight

ELSEWHERE = {"display": "Dr House, St James Hospital"}
HOSPITAL = {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "ZHD02"}


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


def letter() -> dict[str, Any]:
    """A document of one's own."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"text": "Diary of headaches"},
        "date": "2026-11-20T08:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": "aGVhZGFjaGU=", "title": "Diary"}}],
    }


OWN = {"Observation": lambda: weight(71), "DocumentReference": letter}


@pytest.mark.parametrize("kind", sorted(SELF_RECORDED_TYPES))
async def test_every_type_a_phone_may_write_is_made_changed_read_found_and_deleted(
    scene: Scene, kind: str
) -> None:
    made = create(OWN[kind]())
    path = f"/fhir/{kind}/{made['id']}"
    cursor = (await scene.phone.changes())["cursor"]
    assert (await scene.phone.one(made))["outcome"] == "applied"
    assert (await scene.client.expect(200, "GET", path))["meta"]["versionId"] == "1"
    words = {"text": "in my words"}
    changed = {"note": [words]} if kind == "Observation" else {"description": "in my words"}
    assert (await scene.phone.one(patch(made, 1, changed)))["version"] == 2
    stored = await scene.client.expect(200, "GET", path)
    whole = patch(made, 2, {}, op="replace", body=stored | {"language": "en"})
    assert (await scene.phone.one(whole))["version"] == 3
    found = await scene.client.expect(200, "GET", f"/fhir/{kind}", params={"_id": made["id"]})
    assert [entry["resource"]["language"] for entry in found["entry"]] == ["en"]
    rows = (await scene.other.changes())["changes"]
    assert [row["by"] for row in rows if row["id"] == made["id"]] == ["self"]
    assert (await scene.phone.one(delete(made, 3)))["version"] == 4
    assert (await scene.client.call("GET", path)).status_code == 404
    assert [row["op"] for row in (await scene.phone.changes(cursor))["changes"]] == ["gone"]


async def test_what_we_cannot_hold_as_the_persons_own_stops_nothing_beside_it(scene: Scene) -> None:
    answers = create({"resourceType": "QuestionnaireResponse", "status": "completed"})
    good = create(weight(71))
    results = (await scene.phone.push(answers, good))["results"]
    assert (results[0]["outcome"], results[0]["code"]) == ("rejected", "read-only")
    assert results[1]["outcome"] == "applied"


def of_someone_else(name: str) -> Callable[[str], dict[str, Any]]:
    """A reading in which something else than the person has a say."""
    made: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
        "performer display": lambda me: {"performer": [me | ELSEWHERE]},
        "performer identifier": lambda me: {"performer": [me | {"identifier": HOSPITAL}]},
        "second performer": lambda me: {"performer": [me, ELSEWHERE]},
        "no performer": lambda _: {"performer": []},
        "source": lambda _: {"meta": {"source": "urn:ods:ZHD01"}},
        "security": lambda _: {"meta": {"security": [{"code": "NOPAT"}]}},
        "profile": lambda _: {
            "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation"]}
        },
        "assigner": lambda _: {"identifier": [{"system": "urn:x", "value": "1", "assigner": ELSEWHERE}]},
        "note author": lambda _: {"note": [{"text": "x", "authorString": "Dr House"}]},
        "note author named": lambda me: {"note": [{"text": "x", "authorReference": me | ELSEWHERE}]},
    }
    return lambda patient_id: made[name]({"reference": f"Patient/{patient_id}"})


@pytest.mark.parametrize(
    "name",
    [
        "performer display",
        "performer identifier",
        "second performer",
        "no performer",
        "source",
        "security",
        "profile",
        "assigner",
        "note author",
        "note author named",
    ],
)
async def test_a_reading_says_nothing_in_the_name_of_anybody_else(scene: Scene, name: str) -> None:
    members = of_someone_else(name)(scene.patient_id)
    refused = await scene.phone.one(create(weight(71) | members))
    assert (refused["outcome"], refused["code"]) == ("rejected", "not-by-you")
    made = create(weight(71))
    await scene.phone.one(made)
    refused = await scene.phone.one(patch(made, 1, members))
    assert (refused["outcome"], refused["code"]) == ("rejected", "not-by-you")


@pytest.mark.parametrize(
    "members",
    [
        {"custodian": ELSEWHERE},
        {"authenticator": ELSEWHERE},
        {"author": [ELSEWHERE]},
        {"masterIdentifier": {"value": "1", "assigner": ELSEWHERE}},
        {"contained": [{"resourceType": "Organization", "id": "o", "name": "St James"}]},
    ],
)
async def test_a_document_says_nothing_in_the_name_of_anybody_else(
    scene: Scene, members: dict[str, Any]
) -> None:
    refused = await scene.phone.one(create(letter() | members))
    assert (refused["outcome"], refused["code"]) == ("rejected", "not-by-you")


@pytest.mark.parametrize(
    "attached",
    [
        {"contentType": "text/html", "data": "PGI+"},
        {"contentType": "text/plain", "url": "http://192.0.2.1/x"},
        {"data": "PGI+"},
    ],
)
async def test_a_document_holds_no_links_and_nothing_that_runs(
    scene: Scene, attached: dict[str, Any]
) -> None:
    refused = await scene.phone.one(create(letter() | {"content": [{"attachment": attached}]}))
    assert (refused["outcome"], refused["code"]) == ("rejected", "invalid")


async def test_a_change_that_changes_nothing_makes_no_version(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    ours = {"tag": [{"system": "urn:held:tag", "code": "questioned"}]}
    for members in ({"performer": None}, {"subject": None}, {"id": None}, {"meta": ours}):
        assert (await scene.phone.one(patch(made, 1, members)))["version"] == 1


@pytest.mark.parametrize("more", [{"display": "Aisha Khan"}, {"identifier": {"value": "9993001171"}}])
async def test_a_reading_is_about_the_person_and_nobody_else(scene: Scene, more: dict[str, Any]) -> None:
    subject = {"reference": f"Patient/{scene.patient_id}"}
    refused = await scene.phone.one(create(weight(71) | {"subject": subject | more}))
    assert (refused["outcome"], refused["code"]) == ("rejected", "not-about-you")
    said = create(weight(71) | {"subject": subject, "performer": [subject]})
    assert (await scene.phone.one(said))["outcome"] == "applied"


async def test_a_reading_of_one_of_the_base_profiles_may_say_so(scene: Scene) -> None:
    profile = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
    made = create(weight(71) | {"meta": {"versionId": "7", "profile": [profile]}})
    assert (await scene.phone.one(made))["outcome"] == "applied"


@pytest.mark.parametrize(
    "members",
    [
        {"note": [{"text": "a"}] * 201},
        {"component": [{"code": {"coding": [{"code": "a"}] * 150}}] * 150},
        {f"member{number}": dict.fromkeys(map(str, range(500)), 1) for number in range(11)},
    ],
    ids=["a long list", "many in all", "many members"],
)
async def test_what_has_too_many_parts_is_refused_before_it_is_looked_at(
    scene: Scene, members: dict[str, Any]
) -> None:
    made = create(weight(71))
    results = (await scene.phone.push(made, create(weight(72) | members)))["results"]
    results.append(await scene.phone.one(patch(made, 1, members)))
    assert [(one["outcome"], one.get("code")) for one in results] == [
        ("applied", None),
        ("rejected", "invalid"),
        ("rejected", "invalid"),
    ]
    assert all("issue" not in one for one in results)
    me = patch({"type": "Patient", "id": scene.patient_id}, 1, {"telecom": [{"value": "1"}] * 201})
    assert (await scene.phone.one(me))["code"] == "invalid"


async def test_joined_lists_do_not_grow_without_end(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    first = patch(made, 1, {"note": [{"text": f"a {number}"} for number in range(150)]})
    second = patch(made, 1, {"note": [{"text": f"b {number}"} for number in range(150)]})
    results = (await scene.phone.push(first, second))["results"]
    assert [(one["outcome"], one.get("code")) for one in results] == [
        ("applied", None),
        ("rejected", "invalid"),
    ]


async def test_readings_and_commands_in_turn_each_see_what_the_one_before_did(scene: Scene) -> None:
    made = create(weight(71))
    share = command("Consent", str(uuid4()), "grant", to={"open": True}, slice={"current": True})
    later = patch(made, 1, {"note": [{"text": "x"}]})
    results = (await scene.phone.push(made, share, later, delete(made, 2)))["results"]
    assert [one["outcome"] for one in results] == ["applied"] * 4
    assert [one.get("version") for one in results] == [1, 1, 2, 3]
