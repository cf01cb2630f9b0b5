"""What becomes of each item: taken as sent, quarantined alone, kept as source; every one accounted for."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fhir_profiles.heads import Head
from server.errors import NotFound
from server.intake.keeping import source_bytes
from tests.compare import References, differences, opened
from tests.extracts import Resource, bundle, condition, encoded, identified, observation, patient
from tests.intake_world import IntakeWorld, intake_world, only, verdicts
from tests.world import AMINA

NUMBER, BORN = str(AMINA.nhs_number), str(AMINA.birth_date)


async def source_of(world: IntakeWorld, head: Head) -> bytes:
    return await source_bytes(world.held.parts.storage, world.record_id, head)


@pytest.mark.parametrize("kind", ["transaction", "collection"])
async def test_an_extract_becomes_items_with_our_ids_and_the_sources_content(
    tmp_path: Path, kind: str
) -> None:
    async with intake_world(tmp_path) as world:
        extract = world.about_amina(observation(), identified(condition(), "c-1"), kind=kind)
        report = await world.send(extract)
        assert report["counts"] == {
            "received": 3, "new": 2, "changed": 0, "unchanged": 1,
            "ended_at_source": 0, "not_supported": 0, "quarantined": 0,
        }  # fmt: skip
        references = References({"Patient/pat": f"Patient/{world.patient_id}"})
        for item, entry in zip(report["items"][1:], extract["entry"][1:], strict=True):
            head = only(await world.heads(item["type"]))
            assert (head.logical_id, head.version) == (item["id"], item["version"])
            sent = opened(msgspec.json.encode(entry["resource"]))
            assert differences(sent, opened(await world.served(head)), references) == []
            assert await source_of(world, head) == msgspec.json.encode(entry["resource"])
        readable = await world.owner.expect(200, "GET", f"/fhir/Observation/{report['items'][1]['id']}")
        assert readable["valueQuantity"]["unit"] == "mmol/mol"


async def test_a_document_is_taken_with_its_composition_kept_as_source(tmp_path: Path) -> None:
    composition = {
        "resourceType": "Composition", "status": "final", "title": "Summary", "date": "2026-01-01",
        "type": {"text": "Summary"}, "subject": {"reference": "urn:uuid:p"}, "author": [{"display": "Dr"}],
    }  # fmt: skip
    document = bundle(
        [composition, patient(NUMBER, BORN), condition(subject={"reference": "urn:uuid:p"})], "document"
    )
    document |= {
        "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:d"},
        "timestamp": "2026-01-01T00:00:00Z",
    }
    for index, entry in enumerate(document["entry"]):
        entry["fullUrl"] = "urn:uuid:p" if index == 1 else f"urn:uuid:{index}"
    async with intake_world(tmp_path) as world:
        report = await world.send(document)
        assert list(verdicts(report).values()) == ["not-supported", "unchanged", "new"]
        served = only(await world.served_items("Condition"))
        assert served["subject"]["reference"] == f"Patient/{world.patient_id}"


async def test_digits_and_order_of_codings_come_out_as_they_went_in(tmp_path: Path) -> None:
    digits = ["1.00", "0.40", "-0", "1e3", "12345678901234567.8", "0.000000000000000001"]
    codings = [
        {"system": "http://read.info/ctv3", "code": "X"},
        {"system": "http://snomed.info/sct", "code": "1"},
    ]
    async with intake_world(tmp_path) as world:
        items = [
            observation(f"o{index}", text, code={"coding": codings}) for index, text in enumerate(digits)
        ]
        await world.send_items(*items)
        bodies = [await world.served(head) for head in await world.heads("Observation")]
        for text in digits:
            assert sum(f'"value":{text},'.encode() in body for body in bodies) == 1, text
        assert all(msgspec.json.decode(body)["code"]["coding"] == codings for body in bodies)


async def test_one_malformed_item_never_blocks_its_neighbours(tmp_path: Path) -> None:
    broken: list[Resource] = [
        observation("no-status") | {"status": "nonsense"},
        observation("no-code", code={}),
        observation("bad-date", effectiveDateTime="2026-02-30"),
        observation("null", note=None),
        observation("two-values", valueString="x"),
        observation("text-for-object", code="x"),
        observation("x" * 65),
        observation("script", text={"status": "generated", "div": "<div><script>x</script></div>"}),
        condition("wrong-reference", encounter={"reference": "Medication/1"}),
        {"resourceType": "Condition", "id": "no-subject", "code": {"text": "x"}},
        {"id": "no-type", "status": "final"},
    ]
    async with intake_world(tmp_path) as world:
        extract = world.about_amina(
            *[item for each in broken for item in (each, condition(f"c{len(each)}-{id(each)}"))]
        )
        extract["entry"].append({"fullUrl": "urn:uuid:nothing"})
        report = await world.send(extract)
        assert report["state"] == "done"
        assert report["counts"]["new"] == len(broken)
        assert report["counts"]["received"] == len(extract["entry"]) == len(report["items"])
        quarantined = [item for item in report["items"] if item["verdict"] == "quarantined"]
        assert [item["pointer"].split("/")[2] for item in quarantined] == [
            str(1 + 2 * index) for index in range(len(broken))
        ] + [str(len(extract["entry"]) - 1)]
        for item in quarantined:
            assert item["rule"]
            assert item["outcome"]["resourceType"] == "OperationOutcome"
        assert len(await world.clinical_types()) == len(broken)


async def test_types_we_do_not_hold_are_kept_as_source_and_said_so(tmp_path: Path) -> None:
    claim = {"resourceType": "Claim", "id": "cl", "patient": {"reference": "Patient/pat"}, "use": "claim"}
    invented = {"resourceType": "Invention", "id": "x"}
    async with intake_world(tmp_path) as world:
        report = await world.send_items(claim, invented, observation())
        assert list(verdicts(report).values()) == ["unchanged", "not-supported", "not-supported", "new"]
        assert report["items"][1] == {
            "pointer": "/entry/1/resource", "type": "Claim", "source_id": "cl",
            "verdict": "not-supported", "rule": "type-not-held",
        }  # fmt: skip


async def test_a_source_cannot_send_what_only_the_record_says_of_itself(tmp_path: Path) -> None:
    ours = ["Consent", "Task", "Communication", "AuditEvent"]
    async with intake_world(tmp_path) as world:
        items = [{"resourceType": each, "id": "x", "status": "active"} for each in ours]
        report = await world.send_items(*items)
        assert list(verdicts(report).values()) == ["unchanged", *["not-supported"] * 4]
        assert await world.clinical_types() == []


async def test_the_sources_patient_does_not_replace_the_records(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        seq = await world.seq()
        report = await world.send(bundle([patient(NUMBER, BORN, name=[{"text": "Somebody Else"}])]))
        assert report["items"][0] == {
            "pointer": "/entry/0/resource", "type": "Patient", "source_id": "pat", "id": world.patient_id,
            "verdict": "unchanged", "rule": "patient-identity",
        }  # fmt: skip
        assert await world.seq() == seq


async def test_references_lead_to_served_items_and_contained_patients_are_gone(tmp_path: Path) -> None:
    inner = patient(NUMBER, BORN, id="inner", address=[{"city": "MARKER-city"}])
    practitioner = {"resourceType": "Practitioner", "id": "gp", "name": [{"text": "Dr Who"}]}
    async with intake_world(tmp_path) as world:
        report = await world.send_items(
            identified(practitioner, "gp-1"),
            observation(
                performer=[{"reference": "Practitioner/gp"}, {"reference": "Practitioner/elsewhere"}]
            ),
            condition(contained=[inner], subject={"reference": "#inner"}),
        )
        assert report["counts"]["new"] == 3, report
        by_type = {item["type"]: item["id"] for item in report["items"]}
        (first, second) = only(await world.served_items("Observation"))["performer"]
        assert first["reference"] == f"Practitioner/{by_type['Practitioner']}"
        assert second["reference"].startswith("Practitioner/")
        assert "elsewhere" not in second["reference"]
        served = only(await world.served_items("Condition"))
        assert served["subject"]["reference"] == f"Patient/{world.patient_id}"
        assert "contained" not in served


async def test_a_later_extract_finds_items_by_the_sources_own_id(tmp_path: Path) -> None:
    practitioner = identified(
        {"resourceType": "Practitioner", "id": "gp", "name": [{"text": "Dr Who"}]}, "gp-1"
    )
    async with intake_world(tmp_path) as world:
        await world.send_items(practitioner)
        await world.send_items(observation(performer=[{"reference": "Practitioner/gp"}]))
        held = only(await world.heads("Practitioner")).logical_id
        served = only(await world.served_items("Observation"))
        assert served["performer"][0]["reference"] == f"Practitioner/{held}"


async def test_provenance_names_versions_organisation_and_extract(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        report = await world.send_items(observation(), condition())
        said: dict[str, Any] = only(await world.served_items("Provenance"))
        targets = sorted(target["reference"] for target in said["target"])
        assert targets == sorted(f"{item['type']}/{item['id']}/_history/1" for item in report["items"][1:])
        assert said["agent"][0]["who"]["identifier"]["value"] == "B86001"
        assert said["entity"][0]["what"]["identifier"]["value"] == f"urn:uuid:{report['extract_id']}"
        await world.send_items(observation(value="8.10"), condition())
        activities = [
            (each["activity"]["coding"][0]["code"], len(each["target"]))
            for each in await world.served_items("Provenance")
        ]
        assert sorted(activities) == [("CREATE", 2), ("UPDATE", 1)]


async def test_what_we_authored_has_no_source(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        with pytest.raises(NotFound):
            await source_of(world, only(await world.heads("Patient")))


async def test_the_source_is_given_back_byte_for_byte_across_parts(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        long = condition("long", note=[{"text": "ä" * 400_000}])
        spaced = encoded(world.about_amina(observation(), long)).replace(
            b'"status":"final"', b'"status" :\n "final"'
        )
        await world.send(spaced)
        source = await source_of(world, only(await world.heads("Condition")))
        assert source == msgspec.json.encode(long)
        assert b'"status" :\n "final"' in await source_of(world, only(await world.heads("Observation")))


async def test_the_log_tells_the_citizen_in_plain_words(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await world.send_items(observation(), condition())
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log")
        entry = only([each for each in log["entries"] if each["kind"] == "extract"])
        assert entry["sentence"] == "Beeston Practice sent an update to your record: 2 new items."
        assert entry["listed"] == 2
        await world.send_items(observation(), condition(text="Eczema"), condition("c2"))
        await world.send_items(observation())
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log")
        sentences = [each["sentence"] for each in log["entries"] if each["kind"] == "extract"]
        assert sentences[1:] == [
            "Beeston Practice sent an update to your record: 1 new item and 1 changed item.",
            "Beeston Practice sent an update to your record. Nothing in it was new.",
        ]
