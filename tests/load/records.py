"""Extracts for the bench: generated ones of the sizes that a GP record has, and published synthetic ones."""

import hashlib
import re
from typing import Any
from uuid import UUID

import msgspec

from server.identity.development_provider import DemoPerson
from tests.extracts import Resource, bundle, patient
from tests.shared_data import SHARED_DATA

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
SYNTHEA = SHARED_DATA / "synthea-r4"
SYNTHEA_ITEMS_MIN = 1_000
_UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def generated(person: DemoPerson, items: int, *, series: str, padding: int = 0) -> Resource:
    """A collection of the person's results, in the shape and about the size of UK Core's (1.3 kB)."""
    about = patient(str(person.nhs_number), str(person.birth_date))
    practitioner = {"resourceType": "Practitioner", "id": f"gp-{series}", "name": [{"text": "Dr Jo Marsh"}]}
    results = [_result(f"{series}-{number}", series, number, padding) for number in range(items)]
    return bundle([about, practitioner, *results])


def published(person: DemoPerson, series: str) -> tuple[bytes, int] | None:
    """Published bundles joined to 1,000 entries or more, made the person's, each series with ids of its own.

    None where the folder is absent.
    """
    entries: list[dict[str, Any]] = []
    same_person: list[bytes] = []
    for path in sorted(SYNTHEA.glob("*.json")):
        found: list[dict[str, Any]] = msgspec.json.decode(path.read_bytes())["entry"]
        about = next(entry for entry in found if entry["resource"]["resourceType"] == "Patient")
        same_person.append(about["fullUrl"].removeprefix("urn:uuid:").encode())
        if not entries:
            identity = patient(str(person.nhs_number), str(person.birth_date), id=about["resource"]["id"])
            entries.append(about | {"resource": about["resource"] | identity})
        entries += [entry for entry in found if entry is not about]
        if len(entries) >= SYNTHEA_ITEMS_MIN:
            joined = msgspec.json.encode({"resourceType": "Bundle", "type": "transaction", "entry": entries})
            for other in same_person[1:]:
                joined = joined.replace(other, same_person[0])
            return _UUID.sub(lambda match: _another(match.group(), series), joined), len(entries)
    return None


def resources_in(raw: bytes) -> list[bytes]:
    """Every resource of a Bundle, by itself."""
    entries: list[dict[str, msgspec.Raw]] = msgspec.json.decode(raw, type=dict[str, Any])["entry"]
    return [msgspec.json.encode(entry["resource"]) for entry in entries]


def _another(uuid: bytes, series: str) -> bytes:
    digest = hashlib.blake2b(uuid, digest_size=16, key=series.encode()).digest()
    return str(UUID(bytes=digest)).encode()


def _result(source_id: str, series: str, number: int, padding: int) -> Resource:
    category = "http://terminology.hl7.org/CodeSystem/observation-category"
    words = f"Fasting sample, taken at home, visit {number}. " + "The person felt well. " * (4 + padding)
    return {
        "resourceType": "Observation",
        "id": source_id,
        "meta": {"profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Observation"]},
        "identifier": [{"system": "https://supplier.example/result", "value": source_id}],
        "status": "final",
        "category": [{"coding": [{"system": category, "code": "laboratory", "display": "Laboratory"}]}],
        "code": {
            "coding": [
                {"system": LOINC, "code": "4548-4", "display": "Hemoglobin A1c/Hemoglobin.total in Blood"},
                {"system": SNOMED, "code": "1019431000000105", "display": "Haemoglobin A1c level"},
            ],
            "text": "Haemoglobin A1c",
        },
        "subject": {"reference": "Patient/pat"},
        "performer": [{"reference": f"Practitioner/gp-{series}"}],
        "effectiveDateTime": f"20{10 + number % 15}-0{1 + number % 9}-{10 + number % 18}T09:30:00Z",
        "issued": f"20{10 + number % 15}-0{1 + number % 9}-{10 + number % 18}T15:00:00Z",
        "valueQuantity": {
            "value": msgspec.Raw(f"{40 + number % 20}.{number % 10}0".encode()),
            "unit": "mmol/mol",
            "system": "http://unitsofmeasure.org",
            "code": "mmol/mol",
        },
        "note": [{"text": words}],
        "referenceRange": [
            {
                "low": {"value": 20, "unit": "mmol/mol", "code": "mmol/mol"},
                "high": {"value": 42, "unit": "mmol/mol", "code": "mmol/mol"},
                "text": "20 to 42",
            }
        ],
    }
