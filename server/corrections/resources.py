"""A correction as FHIR: its Task, its Communications and, once amended, the Provenance. Pure.

Made under the record's lock, so that the tests check every shape there is with the models, and nothing here.

http://hl7.org/fhir/uv/patient-corrections (1.0.0); https://hl7.org/fhir/R4/task.html
"""

from typing import Any

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode
from server.corrections.correction import Amendment, Correction, Message, Target
from server.corrections.rules import STATUS
from server.http.times import to_wire

BASE = "http://hl7.org/fhir/uv/patient-corrections"
TASK_TYPES = f"{BASE}/CodeSystem/PatientCorrectionTaskTypes"
COMMUNICATION_TYPES = f"{BASE}/CodeSystem/PatientCorrectionCommunicationTypes"
OUTPUT_TYPES = f"{BASE}/CodeSystem/PatientCorrectionOutputTypes"
BUSINESS_STATUS = f"{BASE}/CodeSystem/PatientCorrectionBusinessStatus"
REQUEST, DISAGREEMENT, RESOLUTION = "medRecCxReq", "medRecCxDenialDisagree", "medRecCxReqResolution"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_TOPICS = {
    "wrong": "Something in my record is wrong",
    "missing": "Something is missing from my record",
    "not-mine": "Something in my record is not about me",
    "out-of-date": "Something in my record is out of date",
}
_DISAGREEMENT_TOPIC = "I disagree with your answer"


def task(correction: Correction) -> tuple[Head, bytes]:
    """The Task as it stands, ready for the feed."""
    stamped, changed_at = task_resource(correction), to_wire(correction.changed_at)
    head = served.head_of(stamped, version=correction.task_version, last_updated=changed_at)
    return head, encode(stamped)


def task_resource(correction: Correction) -> dict[str, Any]:
    """The Task as it is served."""
    changed_at = to_wire(correction.changed_at)
    stamped = served.stamp(
        _task(correction), str(correction.correction_id), correction.task_version, changed_at
    )
    for name, value in _extensions(correction):
        stamped = served.with_extension(stamped, name, value)
    return stamped


def communication(correction: Correction, message: Message) -> tuple[Head, bytes]:
    """One message as a Communication, ready for the feed. It is written once and never changes."""
    stamped = communication_resource(correction, message)
    head = served.head_of(stamped, version=1, last_updated=to_wire(message.at))
    return head, encode(stamped)


def communication_resource(correction: Correction, message: Message) -> dict[str, Any]:
    """One message as it is served."""
    return served.stamp(_communication(correction, message), message.communication_id, 1, to_wire(message.at))


def provenance(correction: Correction, logical_id: str) -> tuple[Head, bytes]:
    """What says that a newer version puts a disputed one right, ready for the feed."""
    assert correction.amendment is not None
    changed_at = to_wire(correction.changed_at)
    resource = _provenance(correction, correction.amendment)
    stamped = served.stamp(resource, logical_id, 1, changed_at)
    return served.head_of(stamped, version=1, last_updated=changed_at), encode(stamped)


def _task(correction: Correction) -> dict[str, Any]:
    status, business = STATUS[correction.state]
    code = DISAGREEMENT if correction.is_disagreement else REQUEST
    patient = _patient(correction)
    parts: dict[str, Any] = {
        "resourceType": "Task",
        "meta": {"profile": [f"{BASE}/StructureDefinition/patient-correction-task"]},
        "status": status,
        "statusReason": {"text": correction.reason} if correction.reason else None,
        "businessStatus": {"coding": [{"system": BUSINESS_STATUS, "code": business}]},
        "intent": "order",
        "priority": "urgent" if correction.is_urgent else "routine",
        "code": {"coding": [{"system": TASK_TYPES, "code": code}]},
        "focus": _focus(correction.target) if correction.target else None,
        "for": patient,
        "authoredOn": to_wire(correction.asked_at),
        "lastModified": to_wire(correction.changed_at),
        "requester": patient,
        "owner": _organisation(correction),
        "reasonReference": _original_task(correction),
        "input": [_part(COMMUNICATION_TYPES, code, correction.messages[0].communication_id)],
        "output": _outputs(correction),
    }
    return {name: value for name, value in parts.items() if value}


def _extensions(correction: Correction) -> list[tuple[str, dict[str, Any]]]:
    """What the Task says in ways of our own: when an answer is due, and of what kind the question is."""
    said = [
        ("due", {"valueDateTime": to_wire(correction.due_at)}),
        ("question-kind", {"valueCode": correction.kind}),
    ]
    if correction.element:
        said.append(("element", {"valueString": correction.element}))
    return said


def _outputs(correction: Correction) -> list[dict[str, Any]]:
    return [
        _part(OUTPUT_TYPES, RESOLUTION, message.communication_id)
        for message in correction.messages
        if message.is_final
    ]


def _part(system: str, code: str, communication_id: str) -> dict[str, Any]:
    return {
        "type": {"coding": [{"system": system, "code": code}]},
        "valueReference": {"reference": f"Communication/{communication_id}"},
    }


def _focus(target: Target) -> dict[str, Any]:
    focus: dict[str, Any] = {"reference": target.reference}
    system, _, value = target.identifier.partition("|")
    if value:
        focus["identifier"] = {"system": system, "value": value} if system else {"value": value}
    return focus


def _original_task(correction: Correction) -> dict[str, Any] | None:
    return {"reference": f"Task/{correction.disagrees_with}"} if correction.is_disagreement else None


def _communication(correction: Correction, message: Message) -> dict[str, Any]:
    by_person = message.by == "person"
    code = DISAGREEMENT if correction.is_disagreement else REQUEST
    patient, organisation = _patient(correction), _organisation(correction)
    first = correction.messages[0]
    about = [{"reference": f"Task/{correction.correction_id}"}]
    parts: dict[str, Any] = {
        "resourceType": "Communication",
        "meta": {"profile": [f"{BASE}/StructureDefinition/patient-correction-communication"]},
        "status": "completed",
        "category": [{"coding": [{"system": COMMUNICATION_TYPES, "code": code}]}],
        "subject": patient,
        "sender": patient if by_person else organisation,
        "recipient": [organisation if by_person else patient],
        "sent": to_wire(message.at),
        "topic": {"text": _topic(correction)} if message is first else None,
        "payload": [{"contentString": message.text}],
        "about": about,
    }
    if message is not first:
        asked = {"reference": f"Communication/{first.communication_id}"}
        parts |= {
            "about": [*about, asked],
            "partOf": [asked],
            "inResponseTo": [_answered(correction, message)],
        }
    return {name: value for name, value in parts.items() if value}


def _answered(correction: Correction, message: Message) -> dict[str, str]:
    """The newest message of the other side before this one, or the first."""
    before = correction.messages[: correction.messages.index(message)]
    other = [each for each in before if each.by != message.by] or before[:1]
    return {"reference": f"Communication/{other[-1].communication_id}"}


def _topic(correction: Correction) -> str:
    return _DISAGREEMENT_TOPIC if correction.is_disagreement else _TOPICS[correction.kind]


def _provenance(correction: Correction, amendment: Amendment) -> dict[str, Any]:
    item = f"{amendment.resource_type}/{amendment.logical_id}"
    custodian = {"coding": [{"system": f"{_TERMINOLOGY}/provenance-participant-type", "code": "custodian"}]}
    who = {"system": ODS, "value": correction.organisation}
    activity = "UPDATE" if correction.target else "CREATE"
    resource: dict[str, Any] = {
        "resourceType": "Provenance",
        "target": [{"reference": f"{item}/_history/{amendment.version}"}],
        "recorded": to_wire(correction.changed_at),
        "activity": {"coding": [{"system": f"{_TERMINOLOGY}/v3-DataOperation", "code": activity}]},
        "agent": [{"type": custodian, "who": {"identifier": who, "display": correction.organisation_name}}],
    }
    if correction.target is not None:
        resource["entity"] = [{"role": "revision", "what": {"reference": correction.target.reference}}]
    return resource


def _patient(correction: Correction) -> dict[str, str]:
    return {"reference": f"Patient/{correction.patient_id}"}


def _organisation(correction: Correction) -> dict[str, Any]:
    return {
        "reference": f"Organization/{correction.organisation}",
        "identifier": {"system": ODS, "value": correction.organisation},
        "display": correction.organisation_name,
    }


def instant_of(correction: Correction) -> str:
    """When it was asked, written as `meta.lastUpdated` is."""
    return to_wire(correction.asked_at)
