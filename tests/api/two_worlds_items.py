"""Items for two worlds: what every record begins with, and variants that a slice must keep back.

Every reason to keep an item back is written down here from DESIGN section 5 and not asked of the product.
"""

import base64
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from fhir_profiles.slices import Slice
from tests.extracts import NHS_NUMBER, NOPAT, Resource

SNOMED = "http://snomed.info/sct"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
STU3_ACT_CODE = "http://hl7.org/fhir/v3/ActCode"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
ALLERGY = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
LAB = "http://terminology.hl7.org/CodeSystem/observation-category"
PROBLEM_LIST = {"coding": [{"system": SNOMED, "code": "717711000000103"}], "text": "Problems"}
SUBJECT = {"reference": "Patient/pat"}

CATEGORY = {
    "AllergyIntolerance": "allergies",
    "Condition": "problems",
    "DiagnosticReport": "results",
    "DocumentReference": "documents",
    "Encounter": "consultations",
    "Immunization": "immunisations",
    "List": "consultations",
    "MedicationRequest": "medicines",
    "MedicationStatement": "medicines",
    "Observation": "results",
    "Procedure": "procedures",
}
SUPPORTING = ("Location", "Medication", "Organization", "Practitioner", "PractitionerRole")
NEVER_CUT_BY_DATES = frozenset({"allergies", "needs"})

# What marks an item as of a sensitive class: a word, a label, a code.
MARKS: dict[str, tuple[str, str, str]] = {
    "mental-health": ("depression", "MH", "35489007"),
    "drugs-alcohol": ("heavy drinker", "SUD", ""),
    "sexual-health": ("chlamydia", "STD", ""),
    "hiv": ("tenofovir", "HIV", ""),
    "genetics": ("factor v leiden", "GDIS", ""),
    "abuse-safeguarding": ("domestic abuse", "SDV", "706893006"),
}
INVISIBLE = "\u200b"


class Shape(NamedTuple):
    """What a record's reader is given, and what for: the slice and the dates it holds to."""

    name: str
    slice: Slice

    @property
    def kept_back(self) -> list[str]:
        """The sensitive classes that are not ticked."""
        return [name for name in MARKS if name not in self.slice.sensitive]


def concept(text: str, code: str = "", system: str = SNOMED) -> Resource:
    """A CodeableConcept."""
    return {"text": text} | ({"coding": [{"system": system, "code": code}]} if code else {})


def narrative(text: str) -> Resource:
    """A narrative that says this."""
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>'}


def refers(name: str, display: str | None = None) -> Resource:
    """A Reference."""
    return {"reference": name} | ({"display": display} if display else {})


def person(number: str, birth_date: str, family: str, given: str) -> Resource:
    """The Patient of an extract."""
    return {
        "resourceType": "Patient",
        "id": "pat",
        "identifier": [{"system": NHS_NUMBER, "value": number}],
        "name": [{"family": family, "given": [given]}],
        "birthDate": birth_date,
    }


def _condition(text: str, date: str) -> Resource:
    return {
        "clinicalStatus": concept("", "active", CLINICAL) | {"text": "Active"},
        "code": concept(text, "195967001"),
        "subject": SUBJECT,
        "recordedDate": date,
    }


def _allergy(text: str, date: str) -> Resource:
    return {
        "clinicalStatus": concept("Active", "active", ALLERGY),
        "code": concept(text, "91936005"),
        "patient": SUBJECT,
        "recordedDate": date,
    }


def _observation(text: str, date: str) -> Resource:
    return {
        "status": "final",
        "category": [concept("Laboratory", "laboratory", LAB)],
        "code": concept(text, "4548-4", "http://loinc.org"),
        "subject": SUBJECT,
        "effectiveDateTime": date,
        "valueQuantity": {"value": 41.5, "unit": "mmol/mol"},
    }


def _request(text: str, date: str) -> Resource:
    return {
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": concept(text, "39113611000001102"),
        "subject": SUBJECT,
        "authoredOn": date,
    }


def _statement(text: str, date: str) -> Resource:
    return {
        "status": "active",
        "medicationCodeableConcept": concept(text),
        "subject": SUBJECT,
        "effectiveDateTime": date,
    }


def _immunization(text: str, date: str) -> Resource:
    return {
        "status": "completed",
        "vaccineCode": concept(text, "822851000000102"),
        "patient": SUBJECT,
        "occurrenceDateTime": date,
    }


def _encounter(text: str, date: str) -> Resource:
    return {
        "status": "finished",
        "class": {"system": ACT_CODE, "code": "AMB"},
        "type": [concept(text)],
        "subject": SUBJECT,
        "period": {"start": date},
    }


def _procedure(text: str, date: str) -> Resource:
    return {
        "status": "completed",
        "code": concept(text, "80146002"),
        "subject": SUBJECT,
        "performedDateTime": date,
    }


def _report(text: str, date: str) -> Resource:
    return {"status": "final", "code": concept(text), "subject": SUBJECT, "effectiveDateTime": date}


def _document(text: str, date: str) -> Resource:
    letter = base64.b64encode(text.encode()).decode()
    return {
        "status": "current",
        "type": concept(text),
        "description": text,
        "subject": SUBJECT,
        "date": f"{(date + '-01-01')[:10]}T10:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain", "data": letter}}],
    }


def _list(text: str, date: str) -> Resource:
    return {
        "status": "current",
        "mode": "snapshot",
        "title": text,
        "subject": SUBJECT,
        "date": date,
        "entry": [{"item": refers("Condition/diabetes")}],
    }


def _named(text: str, _date: str) -> Resource:
    return {"name": text}


def _practitioner(text: str, _date: str) -> Resource:
    return {"name": [{"text": text}]}


def _medication(text: str, _date: str) -> Resource:
    return {"code": concept(text, "39113611000001102")}


def _role(text: str, _date: str) -> Resource:
    return {"code": [concept(text)]}


_MAKERS: dict[str, Callable[[str, str], Resource]] = {
    "AllergyIntolerance": _allergy,
    "Condition": _condition,
    "DiagnosticReport": _report,
    "DocumentReference": _document,
    "Encounter": _encounter,
    "Immunization": _immunization,
    "List": _list,
    "Location": _named,
    "Medication": _medication,
    "MedicationRequest": _request,
    "MedicationStatement": _statement,
    "Observation": _observation,
    "Organization": _named,
    "Practitioner": _practitioner,
    "PractitionerRole": _role,
    "Procedure": _procedure,
}


def make(resource_type: str, source_id: str, text: str, date: str = "2026-09-01") -> Resource:
    """A plain item of a type, with this text wherever a reader would see its name."""
    return {"resourceType": resource_type, "id": source_id} | _MAKERS[resource_type](text, date)


def of_class(item: Resource, rng: Random, sensitive_class: str) -> Resource:
    """The item marked as of a sensitive class, by one of the marks a source may use."""
    word, label, code = MARKS[sensitive_class]
    ways = ["label", "note", "narrative", "invisible letters", "restricted"] + (["code"] if code else [])
    way = rng.choice(ways)
    if way == "label":
        return item | {"meta": {"security": [{"system": ACT_CODE, "code": label}]}}
    if way == "restricted":
        system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
        return item | {"meta": {"security": [{"system": system, "code": "R"}]}}
    if way == "narrative":
        return item | {"text": narrative(f"About {word}.")}
    if way == "code":
        return item | {"extension": [_coded(code)]}
    if way == "invisible letters":
        word = word[:3] + INVISIBLE + word[3:]
    return item | {"extension": [said(f"About {word}.")]}


def _coded(code: str) -> Resource:
    return {
        "url": "https://supplier.example/topic",
        "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code}]},
    }


def said(text: str) -> Resource:
    """An extension that says this."""
    return {"url": "https://supplier.example/remark", "valueString": text}


def unseen(item: Resource, rng: Random) -> Resource:
    """The item as its source hides it from the person."""
    ways = ["R4", "STU3", "contained"] + (
        ["securityLabel"] if item["resourceType"] == "DocumentReference" else []
    )
    way = rng.choice(ways)
    if way == "STU3":
        return item | {"meta": {"security": [{"system": STU3_ACT_CODE, "code": "NOPAT"}]}}
    if way == "securityLabel":
        return item | {"securityLabel": [{"coding": [NOPAT]}]}
    if way == "contained":
        inner = {
            "resourceType": "Practitioner",
            "id": "c",
            "meta": {"security": [NOPAT]},
            "name": [{"text": "In"}],
        }
        referring = {"url": "https://supplier.example/who", "valueReference": {"reference": "#c"}}
        return item | {"contained": [inner], "extension": [referring]}
    return item | {"meta": {"security": [NOPAT]}}
