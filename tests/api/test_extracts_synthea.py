"""Twelve published sample people through the unchanged gate: everything accounted for, nothing altered."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from server.commands.held_client import HeldClient
from server.intake.keeping import source_bytes
from server.intake.links import accept_alias
from server.storage import feed
from server.storage.session import ReadSession
from tests.compare import References, differences, numbers, opened
from tests.held_app import served_held
from tests.shared_data import shared_json
from tests.world import PRACTICE, World, citizen, push, record_id_of

HELD_TYPES = {
    "AllergyIntolerance", "Condition", "DiagnosticReport", "DocumentReference", "Encounter", "Immunization",
    "MedicationRequest", "Observation", "Organization", "Practitioner", "Procedure", "Provenance",
}  # fmt: skip
PAGE = 200


def patient_of(extract: dict[str, Any]) -> dict[str, Any]:
    return next(
        entry["resource"] for entry in extract["entry"] if entry["resource"]["resourceType"] == "Patient"
    )


async def read_by_owner(owner: HeldClient, items: list[dict[str, Any]]) -> dict[str, bytes]:
    """`Type/id` -> the bytes the owner gets for each item, over HTTP."""
    read: dict[str, bytes] = {}
    for item in items:
        name = f"{item['type']}/{item['id']}"
        answer = await owner.call("GET", f"/fhir/{name}")
        if answer.status_code == 200:
            read[name] = answer.content
    return read


def references_of(extract: dict[str, Any], report: dict[str, Any]) -> References:
    """The items that the extract's `urn:uuid:` references must lead to."""
    return References(
        {
            entry["fullUrl"]: f"{item['type']}/{item['id']}"
            for entry, item in zip(extract["entry"], report["items"], strict=True)
            if "id" in item
        }
    )


@pytest.mark.shared_data
async def test_a_published_person_arrives_whole_and_twice_is_once(tmp_path: Path) -> None:
    smallest = min(shared_json("synthea-r4"), key=lambda named: len(named[1]))
    totals = await taken_in(tmp_path, [smallest])
    assert totals == {"clinical": 64, "readable": 64}


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_twelve_published_people_arrive_whole_and_twice_is_once(tmp_path: Path) -> None:
    extracts = list(shared_json("synthea-r4"))
    assert len(extracts) == 12
    totals = await taken_in(tmp_path, extracts)
    assert totals["clinical"] > 2_000
    assert totals["readable"] >= 0.99 * totals["clinical"]
    assert totals["altered"] == 0


async def taken_in(folder: Path, extracts: list[tuple[str, bytes]]) -> Counter[str]:
    """Sends each extract twice for a citizen of its own; counts what came out."""
    people = [
        citizen(f"Sample Person{index}", index, patient_of(json.loads(raw))["birthDate"])
        for index, (_, raw) in enumerate(extracts)
    ]
    totals: Counter[str] = Counter()
    async with served_held(folder, people) as held:
        world = World(held)
        await world.register_integrators()
        sender = await world.integrator_client(world.practice)
        for person, (name, raw) in zip(people, extracts, strict=True):
            extract = json.loads(raw)
            owner = await world.sign_in(person)
            record_id = UUID(await record_id_of(owner))
            await world.link(owner)
            alias = patient_of(extract)["identifier"][0]
            await accept_alias(held.parts.storage, record_id, PRACTICE, alias["system"], alias["value"])

            report = await push(sender, raw)
            assert report["state"] == "done", name
            everything_is_accounted_for(extract, report)
            new = [item for item in report["items"] if item["verdict"] == "new"]
            read = await read_by_owner(owner, new)
            totals += Counter(
                clinical=len(new), readable=len(read), altered=altered(opened(raw), report, read)
            )

            seq = await seq_of(world, record_id)
            again = await push(sender, raw)
            assert (again["counts"]["new"], again["counts"]["changed"]) == (0, 0), name
            assert await seq_of(world, record_id) == seq, name
    return totals


async def seq_of(world: World, record_id: UUID) -> int:
    def read(session: ReadSession) -> int:
        state = session.hot.record_state()
        assert state is not None
        assert len(feed.heads(session, 0, 100_000)) > 0
        return state[0]

    return await world.held.parts.storage.read(record_id, read)


async def the_source_is_kept(world: World, record_id: UUID, raw: bytes, extract: dict[str, Any]) -> None:
    """What each item came from is a run of the bytes sent, and one of its resources."""
    storage = world.held.parts.storage
    sent = {entry["resource"]["id"]: entry["resource"] for entry in extract["entry"]}
    for each in await storage.read(record_id, lambda session: feed.heads(session, 0, 100_000)):
        if each.head.source is not None:
            source = await source_bytes(storage, record_id, each.head)
            assert source in raw
            resource = json.loads(source)
            assert resource == sent[resource["id"]]


def everything_is_accounted_for(extract: dict[str, Any], report: dict[str, Any]) -> None:
    """One verdict for each entry, of its type and id; what is held is new, what is not says why."""
    assert report["counts"]["received"] == len(extract["entry"]) == len(report["items"])
    for index, (entry, item) in enumerate(zip(extract["entry"], report["items"], strict=True)):
        resource = entry["resource"]
        assert item["pointer"].startswith(f"/entry/{index}/resource")
        assert (item["type"], item["source_id"]) == (resource["resourceType"], resource["id"])
        if resource["resourceType"] in HELD_TYPES:
            assert item["verdict"] == "new", item
            assert item["version"] == 1
        else:
            assert item["verdict"] in {"unchanged", "not-supported"}
            assert item["rule"]


def altered(extract: dict[str, Any], report: dict[str, Any], read: dict[str, bytes]) -> int:
    """How many items differ from what was sent in any code, text, digit, date, status or reference."""
    references = references_of(extract, report)
    count = 0
    for entry, item in zip(extract["entry"], report["items"], strict=True):
        served = read.get(f"{item['type']}/{item.get('id')}")
        if served is None:
            continue
        sent, found = entry["resource"], opened(served)
        lines = differences(sent, found, references)
        count += bool(lines) or numbers(found) != numbers(sent)
        if lines:
            print(item["pointer"], lines)
    return count
