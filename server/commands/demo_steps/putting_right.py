"""A questioned item is put right by who wrote it. Those who had seen it wrong are told, and nobody else."""

import json
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from server.commands.demo_steps.extracts import SURGERY, TRUST
from server.commands.demo_steps.journey import (
    DOCTOR,
    GUESSER,
    PHARMACIST,
    Journey,
    Step,
    must,
    must_be_refused,
)
from server.commands.demo_steps.looking import look
from server.commands.demo_steps.phones import synced
from server.commands.phone_app.logbook import fault_in
from server.commands.phone_app.online import look_at_log
from server.commands.phone_app.opened import opened, read_json
from sync.phone import Draft

SAID_WRONG = "Gout of right foot"
SHOULD_SAY = "It was the left foot"
OPEN = frozenset({"queued", "in-review", "waiting-for-information", "accepted", "partial"})
PUT_RIGHT = "Gout of left foot"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_BUSINESS = "http://hl7.org/fhir/uv/patient-corrections/CodeSystem/PatientCorrectionBusinessStatus"


def steps() -> list[Step]:
    """The steps, in order."""
    return [
        Step("The surgery finds George's question, and no other organisation does", _fetched),
        Step("It can move the question only as it may, and not say it is done before it is", _moved),
        Step("It sends the item corrected, and answers", _amended),
        Step("Whoever saw it wrong is told, and nobody else", _told),
        Step("George's phone has the answer, and its log of who looked holds", _verified),
    ]


async def send_questioned(journey: Journey, title: str) -> str:
    """Has the surgery send the item with this title; its id. Each play begins with the wrong one."""
    person = journey.person
    patient_url, condition_url = (
        f"urn:uuid:{uuid5(NAMESPACE_URL, f'held-demo/put-right/{n}')}" for n in "12"
    )
    number = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": person.nhs_number}
    patient = {"resourceType": "Patient", "identifier": [number], "birthDate": person.birth_date}
    condition = {
        "resourceType": "Condition",
        "identifier": [{"system": "https://beeston-vale.example/Id/condition", "value": "put-right"}],
        "clinicalStatus": {"coding": [{"system": f"{_TERMINOLOGY}/condition-clinical", "code": "active"}]},
        "code": {"text": title},
        "subject": {"reference": patient_url},
    }
    entries = [
        {"fullUrl": patient_url, "resource": patient},
        {"fullUrl": condition_url, "resource": condition},
    ]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    report = await journey.sender(SURGERY).send(json.dumps(bundle).encode())
    must(report["state"] == "done", f"the extract ended {report['state']}")
    return next(line["id"] for line in report["items"] if line["type"] == "Condition")


async def withdraw_questions(journey: Journey) -> None:
    """Takes back whatever is still asked about the item, so that it can be asked anew."""
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/corrections")
    for asked in listed["corrections"]:
        is_about = str(asked.get("target", "")).startswith(f"Condition/{journey.phone_play.condition}/")
        if is_about and asked["state"] in OPEN:
            path = f"{journey.record}/corrections/{asked['correction_id']}/withdraw"
            await journey.citizen.expect(200, "POST", path, json={})


async def _fetched(journey: Journey) -> None:
    play = journey.phone_play
    task = await _task(journey)
    must(task["businessStatus"]["coding"][0]["code"] == "queued", "the question does not begin as queued")
    focus = task["focus"]["reference"]
    must(focus.startswith(f"Condition/{play.condition}/_history/"), f"the question is about {focus}")
    trust = journey.sender(TRUST)
    theirs = await trust.call("GET", f"/fhir/Task?owner=Organization/{TRUST}")
    must(play.question not in theirs.text, "another organisation finds the question")
    for path in (f"/fhir/Task?owner=Organization/{SURGERY}", f"/fhir/Task/{play.question}"):
        answer = await trust.call("GET", path)
        must(play.question not in answer.text or answer.status_code == 404, "another organisation reads it")


async def _moved(journey: Journey) -> None:
    task = await _task(journey)
    for status, business in (
        ("completed", "amendment-completed"),
        ("completed", "denied"),
        ("ready", "queued"),
    ):
        answer = await _put(journey, task, status, business)
        must(answer.status_code in {409, 422}, f"queued to {business} was answered {answer.status_code}")
    moved = await _move(journey, task, "in-progress", "in-review")
    stale = await _put(journey, task, "in-progress", "accepted")
    must(stale.status_code == 412, f"an old version was answered {stale.status_code}")
    accepted = await _move(journey, moved, "in-progress", "accepted")
    early = await _put(journey, accepted, "completed", "amendment-completed")
    must(early.status_code == 422, "the surgery could say it was done before it was")
    answer = await journey.sender(TRUST).call(
        "PUT", f"/fhir/Task/{task['id']}", content=json.dumps(accepted), headers=_if_match(accepted)
    )
    must_be_refused(answer, "another organisation's answer", {403, 404})


async def _amended(journey: Journey) -> None:
    play = journey.phone_play
    must(await send_questioned(journey, PUT_RIGHT) == play.condition, "the correction is another item")
    task = await _task(journey)
    done = await _move(journey, task, "completed", "amendment-completed")
    again = await _put(journey, done, "in-progress", "in-review")
    must(again.status_code in {409, 422}, "what was settled could be opened again")
    standing = await journey.citizen.expect(200, "GET", f"/fhir/Condition/{play.condition}")
    must(standing["code"]["text"] == PUT_RIGHT, "the item was not put right")
    must("questioned" not in str(standing["meta"].get("tag")), "the item is still marked")


async def _told(journey: Journey) -> None:
    play = journey.phone_play
    assert play.doctor is not None
    doctor = await journey.professional_client(DOCTOR)
    before = await _notices_of(doctor)
    must(len(before) >= 1, "the doctor who saw it wrong is not told")
    newest = before[0]
    must(SAID_WRONG in newest["sentence"], f"the newest notice says {newest['sentence']}")
    must(newest["corrected"]["title"] == PUT_RIGHT, "the notice does not tell the correction")
    for client in (
        await journey.professional_client(PHARMACIST),
        await journey.professional_client(GUESSER),
    ):
        said = [notice["sentence"] for notice in await _notices_of(client)]
        must(not any(SAID_WRONG in sentence for sentence in said), "somebody who never saw it is told")
    seen = await look(play.doctor, f"/fhir/Condition/{play.condition}")
    must(seen.json()["code"]["text"] == PUT_RIGHT, "the doctor still sees it wrong")


async def _verified(journey: Journey) -> None:
    play = journey.phone_play
    await synced(play.folder)
    report = await look_at_log(play.folder)
    must(report.trouble is None, f"the log could not be checked: {report.detail}")
    with opened(play.folder) as phone:
        entries, pin = phone.engine.log_entries(), phone.engine.pin()
        condition = phone.engine.item("Condition", play.condition)
    must(pin is not None, "the phone pinned no checkpoint")
    assert pin is not None
    must(fault_in(entries, pin) == "", "the log on the phone does not hold")
    must(condition is not None and not condition.questioned, "the item is still marked on the phone")
    assert play.doctor is not None
    assert condition is not None
    must(read_json(condition.body)["code"]["text"] == PUT_RIGHT, "the phone does not have it put right")
    read = [entry for entry in map(read_json, entries) if entry.get("grant_id") == play.doctor.grant_id]
    must(any(entry["kind"] == "read" for entry in read), "the doctor's reading is not in the phone's log")
    forged = [*entries[:-1], entries[-1].replace(b'"sealed":"', b'"sealed":"AAAA', 1)]
    must(fault_in(forged, pin) != "", "the phone takes a log that was changed")
    with opened(play.folder) as phone:
        phone.engine.write(Draft(op="delete", type="Observation", id=play.reading))
        for holder in (play.doctor, play.pharmacist):
            assert holder is not None
            phone.engine.write(
                Draft(op="command", type="Consent", id=holder.grant_id, args={"command": "end"})
            )
    await synced(play.folder)
    must_be_refused(await look(play.doctor, "/fhir/Condition"), "a read after the phone's end", {401})


async def _task(journey: Journey) -> dict[str, Any]:
    """George's question as the surgery finds it."""
    found = await journey.sender(SURGERY).call("GET", f"/fhir/Task?owner=Organization/{SURGERY}")
    must(found.status_code == 200, f"the surgery's questions were answered {found.status_code}")
    tasks = [entry["resource"] for entry in found.json().get("entry", [])]
    mine = [task for task in tasks if task["id"] == journey.phone_play.question]
    must(len(mine) == 1, "the surgery does not find the question")
    return mine[0]


async def _move(journey: Journey, task: dict[str, Any], status: str, business: str) -> dict[str, Any]:
    answer = await _put(journey, task, status, business)
    must(answer.status_code == 200, f"to {business} was answered {answer.status_code} {answer.text[:200]}")
    return answer.json()


async def _put(journey: Journey, task: dict[str, Any], status: str, business: str) -> Any:
    coding = {"system": _BUSINESS, "code": business}
    moved = task | {"status": status, "businessStatus": {"coding": [coding]}}
    return await journey.sender(SURGERY).call(
        "PUT", f"/fhir/Task/{task['id']}", content=json.dumps(moved), headers=_if_match(task)
    )


def _if_match(task: dict[str, Any]) -> dict[str, str]:
    return {"If-Match": f'W/"{task["meta"]["versionId"]}"', "Content-Type": "application/fhir+json"}


async def _notices_of(client: Any) -> list[dict[str, Any]]:
    return (await client.expect(200, "GET", "/notices"))["notices"]
