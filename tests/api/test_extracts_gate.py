"""Wrong person's data never gets in: the whole extract is held, with one face, none of it visible (T5)."""

from pathlib import Path
from typing import Any

from server.intake.links import accept_alias
from tests.extracts import NHS_NUMBER, Resource, bundle, condition, observation, patient
from tests.intake_world import intake_world
from tests.world import AMINA, BEN, PRACTICE

NUMBER = str(AMINA.nhs_number)
BORN = str(AMINA.birth_date)
OTHER_NUMBER = str(BEN.nhs_number)
THINGS = ("Device/d", "Group/g", "urn:uuid:device")
ALIAS = {"system": "https://supplier.example/person", "value": "A-1"}


def without_ids(report: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in {"extract_id", "received_at"}}


def hers(subject: str) -> Resource:
    """A contained item about someone."""
    return observation("o", subject={"reference": subject})


def wrong_person_extracts() -> dict[str, Resource]:
    """Amina's extract with one thing wrong each time, all of two entries."""
    mother_and_child = [patient(NUMBER, BORN), patient(OTHER_NUMBER, "2020-01-01", id="child")]
    contained = {"resourceType": "Patient", "id": "c", "name": [{"text": "Amina Yusuf"}]}
    child = patient(OTHER_NUMBER, "2020-01-01", id="child")
    return {
        "another birth date": bundle([patient(NUMBER, "1980-02-04"), observation()]),
        "another person's number": bundle([patient(OTHER_NUMBER, BORN), observation()]),
        "an invalid number": bundle([patient("9990000019", BORN), observation()]),
        "a number of no person here": bundle([patient("9990009996", BORN), observation()]),
        "no identifier": bundle([patient(NUMBER, BORN, identifier=[{"value": NUMBER}]), observation()]),
        "no birth date": bundle(
            [{k: v for k, v in patient(NUMBER).items() if k != "birthDate"}, observation()]
        ),
        "no Patient": bundle([condition(), observation()]),
        "a second Patient": bundle(mother_and_child),
        "one item about someone else": bundle(
            [patient(NUMBER, BORN), observation(subject={"reference": "Patient/someone-else"})]
        ),
        "one item about another number": bundle(
            [
                patient(NUMBER, BORN),
                observation(subject={"identifier": {"system": NHS_NUMBER, "value": OTHER_NUMBER}}),
            ]
        ),
        "one item about a name": bundle(
            [patient(NUMBER, BORN), observation(subject={"display": "Amina Yusuf"})]
        ),
        "a contained Patient known by name": bundle(
            [patient(NUMBER, BORN), observation(contained=[contained], subject={"reference": "#c"})]
        ),
        "a contained Patient who is someone else, and not the subject": bundle(
            [patient(NUMBER, BORN), condition(contained=[child], asserter={"reference": "#child"})]
        ),
        "one of two contained items with one id about someone else": bundle(
            [
                patient(NUMBER, BORN),
                condition(
                    contained=[hers("Patient/someone-else"), hers("Patient/pat")],
                    evidence=[{"detail": [{"reference": "#o"}]}],
                ),
            ]
        ),
        "an unsupported item about someone else": bundle(
            [patient(NUMBER, BORN), {"resourceType": "Claim", "patient": {"reference": "Patient/x"}}]
        ),
    }


async def test_every_wrong_person_extract_is_held_with_the_face_of_a_missing_link(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        hospital = await world.world.integrator_client(world.world.hospital)
        unlinked = await world.send(world.about_amina(observation()), sender=hospital)
        assert unlinked["state"] == "held"
        before = await world.seq()
        for name, extract in wrong_person_extracts().items():
            report = await world.send(extract)
            assert without_ids(report) == without_ids(unlinked), name
            assert report["items"] == [], name
        assert await world.seq() == before
        assert await world.clinical_types() == []


async def test_the_right_persons_extract_is_not_held(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        report = await world.send_items(observation(), condition())
        assert report["state"] == "done"
        assert report["counts"]["new"] == 2
        assert await world.clinical_types() == ["Condition", "Observation"]


async def test_what_is_held_is_kept_sealed_under_a_record_of_its_own(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await world.send(bundle([patient(OTHER_NUMBER, BORN), observation(code={"text": "MARKER-held"})]))
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log")
        assert [entry for entry in log["entries"] if entry["kind"] == "extract"] == []
    files = b"".join(path.read_bytes() for path in tmp_path.glob("held.db*"))
    assert b"MARKER-held" not in files


async def test_an_extract_waits_in_vain_when_the_link_ended_after_it_was_received(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        response = await world.post(world.about_amina(observation()))
        # The link ends before the checking has begun: nothing has yielded to it since the answer.
        await world.held.parts.links.end(world.record_id, PRACTICE)
        report = await world.final(response)
        assert report["state"] == "held"
        assert await world.clinical_types() == []


async def test_an_accepted_alias_stands_for_a_missing_number_and_for_nothing_else(tmp_path: Path) -> None:
    def by_alias(birth_date: str = BORN, **more: Any) -> Resource:
        return bundle([patient(NUMBER, birth_date, identifier=[ALIAS], **more), observation()])

    async with intake_world(tmp_path) as world:
        assert (await world.send(by_alias()))["state"] == "held"
        await accept_alias(
            world.held.parts.storage, world.record_id, PRACTICE, ALIAS["system"], ALIAS["value"]
        )
        assert (await world.send(by_alias()))["state"] == "done"
        assert (await world.send(by_alias("1980-02-04")))["state"] == "held"
        with_other_number = [ALIAS, {"system": NHS_NUMBER, "value": OTHER_NUMBER}]
        mixed = bundle([patient(NUMBER, BORN, identifier=with_other_number), observation()])
        assert (await world.send(mixed))["state"] == "held"
        hospital = await world.world.integrator_client(world.world.hospital)
        await world.world.link(world.owner, world.world.hospital.organisation)
        assert (await world.send(by_alias(), sender=hospital))["state"] == "held"


async def test_an_item_about_a_thing_is_quarantined_alone(tmp_path: Path) -> None:
    things = [observation(f"o-{index}", subject={"reference": each}) for index, each in enumerate(THINGS)]
    async with intake_world(tmp_path) as world:
        extract = world.about_amina(condition(), *things)
        extract["entry"].append(
            {"fullUrl": "urn:uuid:device", "resource": {"resourceType": "Device", "id": "d"}}
        )
        report = await world.send(extract)
        about_things = report["items"][2:-1]
        assert [item["rule"] for item in about_things] == ["subject-not-the-person"] * len(THINGS)
        assert await world.clinical_types() == ["Condition"]


async def test_only_the_sender_sees_the_report(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        response = await world.post(world.about_amina(observation()))
        await world.final(response)
        hospital = await world.world.integrator_client(world.world.hospital)
        other = await hospital.call("GET", response.headers["Location"])
        never = await hospital.call("GET", "/extracts/00000000-0000-4000-8000-000000000000")
        assert (other.status_code, other.content) == (never.status_code, never.content)
        assert other.status_code == 404
        assert (await world.owner.call("GET", response.headers["Location"])).status_code == 403
