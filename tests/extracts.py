"""Small synthetic extracts: the least that matters, each part replaceable."""

from collections.abc import Sequence
from typing import Any

import msgspec

Resource = dict[str, Any]

NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
SUPPLIER = "https://supplier.example/item"
LOINC = "http://loinc.org"
NOPAT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}


def patient(number: str, birth_date: str = "1980-02-03", **more: Any) -> Resource:
    """A Patient with an NHS number."""
    return {
        "resourceType": "Patient",
        "id": "pat",
        "identifier": [{"system": NHS_NUMBER, "value": number}],
        "name": [{"family": "Yusuf", "given": ["Amina"]}],
        "birthDate": birth_date,
    } | more


def observation(source_id: str = "obs-1", value: str = "7.40", **more: Any) -> Resource:
    """A laboratory result about `Patient/pat`."""
    return {
        "resourceType": "Observation",
        "id": source_id,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "4548-4"}], "text": "Haemoglobin A1c"},
        "subject": {"reference": "Patient/pat"},
        "effectiveDateTime": "2026-09-01",
        "valueQuantity": {"value": msgspec.Raw(value.encode()), "unit": "mmol/mol"},
    } | more


def condition(source_id: str = "con-1", text: str = "Asthma", **more: Any) -> Resource:
    """An active problem of `Patient/pat`."""
    return {
        "resourceType": "Condition",
        "id": source_id,
        "clinicalStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
            ]
        },
        "code": {"text": text},
        "subject": {"reference": "Patient/pat"},
        "recordedDate": "2024-05-01",
    } | more


def identified(resource: Resource, value: str) -> Resource:
    """The resource with a supplier's identifier."""
    return resource | {"identifier": [{"system": SUPPLIER, "value": value}]}


def bundle(resources: Sequence[Resource], kind: str = "collection") -> Resource:
    """A Bundle of these resources."""
    entries: list[Resource] = [{"resource": resource} for resource in resources]
    if kind == "transaction":
        entries = [
            entry | {"request": {"method": "POST", "url": entry["resource"]["resourceType"]}}
            for entry in entries
        ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def encoded(value: Resource) -> bytes:
    """The Bundle as bytes, with the digits of numbers as they were written."""
    return msgspec.json.encode(value)
