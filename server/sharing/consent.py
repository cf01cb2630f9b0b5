"""A grant as the FHIR Consent that its owner sees. Pure.

https://hl7.org/fhir/R4/consent.html
"""

from html import escape
from typing import Any

from fhir_profiles import served
from server.http.times import to_wire
from server.sharing.grant import Grant, State
from server.sharing.plain_words import SENSITIVE_WORDS
from server.sharing.sentences import citizen_sentence, slots_of

POLICY = "urn:held:policy:deny-by-default"
SUBJECT_SYSTEM = "urn:held:subject"

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_ACT_CODE = f"{_TERMINOLOGY}/v3-ActCode"
_ORGANISATION = "https://fhir.nhs.uk/Id/ods-organization-code"

# There is no `expired` in Consent: the end of the period says it, judged by whoever reads.
_STATUS: dict[State, str] = {
    "draft": "draft",
    "offered": "proposed",
    "pending": "proposed",
    "active": "active",
    "ended": "inactive",
    "rejected": "rejected",
}
_SENSITIVITY = {
    "mental-health": ("MH",),
    "sexual-health": ("SEX",),
    "drugs-alcohol": ("SUD",),
    "abuse-safeguarding": ("SDV", "VIO"),
    "hiv": ("HIV",),
    "genetics": ("GDIS",),
}
_CURRENT_TYPES = (
    "AllergyIntolerance",
    "Condition",
    "DiagnosticReport",
    "Flag",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
)
_TYPES = {
    "medicines": ("MedicationRequest", "MedicationStatement"),
    "allergies": ("AllergyIntolerance",),
    "problems": ("Condition",),
    "results": ("DiagnosticReport", "Observation"),
    "immunisations": ("Immunization",),
    "consultations": ("Appointment", "Encounter"),
    "documents": ("DocumentReference",),
    "procedures": ("Procedure",),
    "care-plan": ("CarePlan", "Goal"),
    "needs": ("Flag",),
    "self-recorded": ("Observation",),
    "contact": ("Patient",),
}


def stamped_consent(grant: Grant, patient_id: str, version: int, last_updated: str) -> dict[str, Any]:
    """The Consent as it stands in the record. It has a version of its own, and names the grant's too."""
    resource = served.stamp(consent(grant, patient_id), str(grant.grant_id), version, last_updated)
    return served.with_extension(resource, "grant-version", {"valueInteger": grant.version})


def consent(grant: Grant, patient_id: str) -> dict[str, Any]:
    """The Consent of a grant. It says what is kept back too, so that it is for the owner alone."""
    sentence = citizen_sentence(slots_of(grant, grant.state))
    return {
        "resourceType": "Consent",
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(sentence)}</p></div>',
        },
        "status": _STATUS[grant.state],
        "scope": {"coding": [{"system": f"{_TERMINOLOGY}/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": _ACT_CODE, "code": "INFA"}]}],
        "patient": {"reference": f"Patient/{patient_id}"},
        "dateTime": to_wire(grant.created_at),
        "policy": [{"uri": POLICY}],
        "provision": _permit(grant),
    }


def _permit(grant: Grant) -> dict[str, Any]:
    parts = {
        "type": "permit",
        "period": _period(grant),
        "actor": _actors(grant),
        "action": [{"coding": [{"system": f"{_TERMINOLOGY}/consentaction", "code": "access"}]}],
        "purpose": [{"system": f"{_TERMINOLOGY}/v3-ActReason", "code": grant.purpose}],
        "class": [{"system": "http://hl7.org/fhir/resource-types", "code": name} for name in _types(grant)],
        "dataPeriod": _bounds(grant.slice.from_, grant.slice.to),
        "provision": _exceptions(grant),
    }
    return {name: value for name, value in parts.items() if value}


def _period(grant: Grant) -> dict[str, str]:
    if grant.ends_at is None:
        return {}
    start = {"start": to_wire(grant.redeemed_at)} if grant.redeemed_at is not None else {}
    return start | {"end": to_wire(grant.ended_at or grant.ends_at)}


def _bounds(start: str | None, end: str | None) -> dict[str, str]:
    return {name: text for name, text in (("start", start), ("end", end)) if text}


def _actors(grant: Grant) -> list[dict[str, Any]]:
    reference = _recipient_reference(grant)
    if reference is None:
        return []
    role = {"coding": [{"system": f"{_TERMINOLOGY}/v3-ParticipationType", "code": "IRCP"}]}
    return [{"role": role, "reference": reference}]


def _recipient_reference(grant: Grant) -> dict[str, Any] | None:
    if grant.redeemer is not None:
        who = {"system": SUBJECT_SYSTEM, "value": grant.redeemer.subject}
        return {"type": "Practitioner", "identifier": who, "display": grant.redeemer.name}
    if grant.to.subject:
        return {"type": "Practitioner", "identifier": {"system": SUBJECT_SYSTEM, "value": grant.to.subject}}
    if grant.to.organisation:
        organisation = {"system": _ORGANISATION, "value": grant.to.organisation}
        return {"type": "Organization", "identifier": organisation}
    return None


def _types(grant: Grant) -> list[str]:
    named = {name for category in grant.slice.categories for name in _TYPES[category]}
    if grant.slice.current:
        named.update(_CURRENT_TYPES)
    return sorted(named)


def _exceptions(grant: Grant) -> list[dict[str, Any]]:
    exceptions = [
        {"type": "deny", "securityLabel": [{"system": _ACT_CODE, "code": code}]}
        for name in SENSITIVE_WORDS
        if name not in grant.slice.sensitive
        for code in _SENSITIVITY[name]
    ]
    if grant.slice.hide:
        exceptions.append({"type": "deny", "data": _instances(grant.slice.hide)})
    if grant.slice.add:
        exceptions.append({"type": "permit", "data": _instances(grant.slice.add)})
    return exceptions


def _instances(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"meaning": "instance", "reference": {"reference": name}} for name in names]
