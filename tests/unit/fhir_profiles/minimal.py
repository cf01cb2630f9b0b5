"""The least that makes each type of the catalogue valid; tests add or break one thing at a time."""

import copy
import json
from typing import Any

from fhir_profiles.parse import decode

Resource = dict[str, Any]

_ALLERGY_CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
_CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
_SUBJECT = {"reference": "Patient/p1"}
_CODE = {"text": "something"}

_MINIMAL: dict[str, Resource] = {
    "Patient": {},
    "Practitioner": {},
    "PractitionerRole": {},
    "Organization": {"name": "Beeston Practice"},
    "Location": {},
    "AllergyIntolerance": {
        "patient": _SUBJECT,
        "clinicalStatus": {"coding": [{"system": _ALLERGY_CLINICAL, "code": "active"}]},
    },
    "Condition": {"subject": _SUBJECT},
    "Observation": {"status": "final", "code": _CODE},
    "MedicationRequest": {
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": _CODE,
        "subject": _SUBJECT,
    },
    "MedicationStatement": {"status": "active", "medicationCodeableConcept": _CODE, "subject": _SUBJECT},
    "Medication": {},
    "Immunization": {
        "status": "completed",
        "vaccineCode": _CODE,
        "patient": _SUBJECT,
        "occurrenceDateTime": "2021-03-01",
    },
    "Encounter": {"status": "finished", "class": {"code": "AMB"}},
    "Procedure": {"status": "completed", "subject": _SUBJECT},
    "DiagnosticReport": {"status": "final", "code": _CODE},
    "DocumentReference": {"status": "current", "content": [{"attachment": {"title": "Letter"}}]},
    "List": {"status": "current", "mode": "snapshot"},
    "Consent": {
        "status": "active",
        "scope": {"coding": [{"system": _CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [_CODE],
        "patient": _SUBJECT,
        "policy": [{"uri": "https://example.org/policy"}],
    },
    "Provenance": {
        "target": [{"reference": "Observation/o1"}],
        "recorded": "2026-11-21T09:00:00Z",
        "agent": [{"who": {"display": "Dr Patel"}}],
    },
    "Task": {"status": "ready", "intent": "order"},
    "Communication": {"status": "completed"},
}


def minimal(resource_type: str, **members: Any) -> Resource:
    """A minimal valid resource, with these members added or replaced. `class_` stands for `class`."""
    named = {name.rstrip("_"): value for name, value in members.items()}
    return {"resourceType": resource_type, **copy.deepcopy(_MINIMAL[resource_type]), **named}


def read(text: str, **replaced: str) -> Resource:
    """A resource as it comes from the wire, so that numbers keep their digits."""
    for name, value in replaced.items():
        text = text.replace(name, value)
    return decode(text.encode())


def as_read(resource: Resource) -> Resource:
    """A resource as `decode` would give it."""
    return decode(json.dumps(resource).encode())
