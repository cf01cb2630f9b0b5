"""What an organisation sends: taken once, held when it is about somebody else, and never without a link."""

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from server.commands.demo_file import DemoCitizen
from server.commands.demo_steps.journey import Journey, Step, must, name_of
from server.commands.extract_sender import Report

SURGERY = "ZHD01"
TRUST = "ZHD02"
HIDDEN_NOTE = "demo-hidden-note"
CANONICAL_WORDS = "Talked about sleep."
HIDDEN_AGE = "71.50"
NOBODYS_NUMBER = "9993002194"

_AGE_MARK = "age goes here"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("The surgery sends George's record an item, and sending it again changes nothing", _send_twice),
        Step("What the surgery signs itself in with works once, and only with its own key", _assertion_once),
        Step("A rehearsal says what would happen, and keeps nothing", _rehearse),
        Step("An extract about the wrong person is held, and nothing of it is published", _wrong_person),
        Step("An organisation Aisha never linked gets the same answer", _no_link),
    ]


def hidden_bundle(
    person: DemoCitizen, words: str, *, about: DemoCitizen | None = None, born: str | None = None
) -> bytes:
    """An extract with one mental-health item, which George's shares leave out.

    `about` and `born` are what a mistaken sender says of the person.
    """
    claimed = about or person
    patient_url, condition_url = _url("patient"), _url(HIDDEN_NOTE)
    patient: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": claimed.nhs_number}],
        "birthDate": born or person.birth_date,
    }
    condition: dict[str, Any] = {
        "resourceType": "Condition",
        "meta": {"security": [{"system": _ACT_CODE, "code": "MH"}]},
        "identifier": [{"system": "https://beeston-vale.example/Id/condition", "value": HIDDEN_NOTE}],
        "clinicalStatus": _status("clinical", "active"),
        "verificationStatus": _status("ver-status", "confirmed"),
        "code": {"text": "Trouble sleeping since bereavement"},
        "subject": {"reference": patient_url},
        "onsetAge": {"value": _AGE_MARK, "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"},
        "recordedDate": "2026-01-15",
        "note": [{"text": words}],
    }
    entries = [_entry(patient_url, patient), _entry(condition_url, condition)]
    bundle = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    # A decimal cannot be written with its last zero by the JSON module, so it is put in afterwards.
    return bundle.replace(f'"{_AGE_MARK}"', HIDDEN_AGE).encode()


async def send_hidden(journey: Journey, words: str) -> Report:
    """Sends George's hidden item with these words."""
    report = await journey.sender(SURGERY).send(hidden_bundle(journey.person, words))
    must(report["state"] == "done", f"the extract ended {report['state']}")
    return report


async def _send_twice(journey: Journey) -> None:
    first = await send_hidden(journey, CANONICAL_WORDS)
    must(first["counts"]["quarantined"] == 0, f"the first sending ended {first['counts']}")
    bundle = hidden_bundle(journey.person, CANONICAL_WORDS)
    again = await journey.sender(SURGERY).send(bundle)
    counts = again["counts"]
    must(again["state"] == "done", f"the second sending ended {again['state']}")
    must(counts["new"] == counts["changed"] == 0, f"the second sending changed something: {counts}")
    before, after = _condition_line(first), _condition_line(again)
    must(before["id"] == after["id"], "the second sending made another item")
    must(before["version"] == after["version"], "the second sending made another version")
    hidden = await journey.citizen.expect(200, "GET", f"/fhir/Condition/{after['id']}")
    journey.items[HIDDEN_NOTE] = name_of(hidden)
    journey.own[name_of(hidden)] = hidden


async def _assertion_once(journey: Journey) -> None:
    surgery, trust = journey.sender(SURGERY), journey.sender(TRUST)
    form = surgery.sign_in_form()
    first = await surgery.client.token_request(form)
    must(first.status_code == 200, f"the surgery's sign-in was answered {first.status_code}")
    for again in (form, surgery.sign_in_form(as_client=trust.integrator.client_id)):
        answer = await surgery.client.token_request(again)
        must(
            answer.status_code in {400, 401},
            f"a wrong assertion was answered {answer.status_code}",
        )
        must(answer.json().get("error") == "invalid_client", "a wrong assertion has another face")


async def _rehearse(journey: Journey) -> None:
    bundle = hidden_bundle(journey.person, f"Only a rehearsal {journey.play_id}.")
    report = await journey.sender(SURGERY).send(bundle, dry_run="true")
    must(report["counts"]["changed"] == 1, f"the rehearsal said {report['counts']}")
    _, logical_id = journey.item(HIDDEN_NOTE)
    kept = await journey.citizen.expect(200, "GET", f"/fhir/Condition/{logical_id}")
    must(kept["note"][0]["text"] == CANONICAL_WORDS, "the rehearsal was kept")


async def _wrong_person(journey: Journey) -> None:
    before = await _conditions(journey)
    sender = journey.sender(SURGERY)
    mistaken = [
        hidden_bundle(journey.person, "Not hers.", about=journey.other_person),
        hidden_bundle(journey.person, "Nobody's.", about=_nobody(journey.person)),
        hidden_bundle(journey.person, "His, but born on another day.", born="1951-03-15"),
        _with_a_subject(hidden_bundle(journey.person, "His, with hers inside."), journey.other_person),
    ]
    for bundle in mistaken:
        _must_be_held(await sender.send(bundle))
    must(await _conditions(journey) == before, "a held extract changed George's record")


def _with_a_subject(bundle: bytes, other: DemoCitizen) -> bytes:
    """The bundle with its last item about someone else."""
    said = json.loads(bundle)
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": other.nhs_number}
    said["entry"][-1]["resource"]["subject"] = {"identifier": identifier}
    return json.dumps(said).encode()


async def _no_link(journey: Journey) -> None:
    other = journey.other_person
    no_link = await journey.sender(TRUST).send(hidden_bundle(other, "Not asked for."))
    unknown = await journey.sender(TRUST).send(hidden_bundle(_nobody(other), "Not asked for."))
    _must_be_held(no_link)
    must(_face(no_link) == _face(unknown), "the report tells a missing link from an unknown person")


async def _conditions(journey: Journey) -> int:
    found = await journey.citizen.expect(200, "GET", "/fhir/Condition?_count=200")
    return len(found["entry"])


def _must_be_held(report: Report) -> None:
    must(report["state"] == "held", f"the extract ended {report['state']}, not held")
    published = {name: report["counts"][name] for name in ("new", "changed", "unchanged")}
    must(not any(published.values()), f"a held extract published {published}")
    must(not report["items"], "the report of a held extract speaks of its items")


def _face(report: Report) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name not in {"extract_id", "received_at"}}


def _condition_line(report: Report) -> dict[str, Any]:
    return next(line for line in report["items"] if line["type"] == "Condition")


def _nobody(like: DemoCitizen) -> DemoCitizen:
    return DemoCitizen(
        subject="",
        name="Nobody",
        nhs_number=NOBODYS_NUMBER,
        birth_date=like.birth_date,
        record_id="",
        patient_id="",
    )


def _status(kind: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/condition-{kind}", "code": code}]}


def _entry(url: str, resource: dict[str, Any]) -> dict[str, Any]:
    request = {"method": "POST", "url": resource["resourceType"]}
    return {"fullUrl": url, "resource": resource, "request": request}


def _url(name: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'held-demo/{name}')}"
