"""Who a published sample bundle is about, and the made-up NHS number they get here. Pure.

The number follows from the bundle's own identifier, so that the same person sent again is found again.
"""

import hashlib
import json
from typing import Any, cast

import msgspec

NHS_NUMBER_SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"
TEST_RANGE = "999"
_FREE_DIGITS = 6


class BundleUnreadable(Exception):
    """The file is not a FHIR Bundle with one Patient who has an identifier and a date of birth."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class SamplePatient(msgspec.Struct, frozen=True, kw_only=True):
    """The person a bundle is about. `alias` is the bundle's own identifier for them."""

    name: str
    birth_date: str
    nhs_number: str
    alias: tuple[str, str] | None


def sample_patient(raw: bytes) -> SamplePatient:
    """The bundle's Patient. Raises BundleUnreadable."""
    patient = _patient(raw)
    birth_date = patient.get("birthDate")
    if not isinstance(birth_date, str):
        raise BundleUnreadable
    identifiers = [(one.get("system"), one.get("value")) for one in _dicts(patient.get("identifier"))]
    stated = next((value for system, value in identifiers if system == NHS_NUMBER_SYSTEM), None)
    if isinstance(stated, str) and stated.startswith(TEST_RANGE):
        return SamplePatient(name=_name(patient), birth_date=birth_date, nhs_number=stated, alias=None)
    for system, value in identifiers:
        if isinstance(system, str) and isinstance(value, str) and system != NHS_NUMBER_SYSTEM:
            number = made_up_number(f"{system}|{value}")
            return SamplePatient(
                name=_name(patient), birth_date=birth_date, nhs_number=number, alias=(system, value)
            )
    raise BundleUnreadable


def stated_numbers(raw: bytes) -> frozenset[str]:
    """The NHS numbers a bundle's Patients state; none when it cannot be read."""
    try:
        patients = _patients(raw)
    except BundleUnreadable:
        return frozenset()
    identifiers = [one for patient in patients for one in _dicts(patient.get("identifier"))]
    return frozenset(str(one.get("value")) for one in identifiers if one.get("system") == NHS_NUMBER_SYSTEM)


def made_up_number(seed: str) -> str:
    """An NHS number of the test range that always follows from the same seed."""
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{attempt} {seed}".encode()).digest()
        digits = TEST_RANGE + str(int.from_bytes(digest[:8], "big"))[-_FREE_DIGITS:]
        check = (
            11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        )
        # A check digit of 10 means that the nine digits are not a number anyone has.
        if check != 10:
            return digits + str(check % 11)
        attempt += 1


def _patient(raw: bytes) -> dict[str, Any]:
    patients = _patients(raw)
    if len(patients) != 1:
        raise BundleUnreadable
    return patients[0]


def _patients(raw: bytes) -> list[dict[str, Any]]:
    try:
        bundle = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleUnreadable from error
    if not isinstance(bundle, dict):
        raise BundleUnreadable
    entries = _dicts(cast("dict[str, Any]", bundle).get("entry"))
    resources = [resource for entry in entries for resource in _dicts([entry.get("resource")])]
    return [resource for resource in resources if resource.get("resourceType") == "Patient"]


def _name(patient: dict[str, Any]) -> str:
    for name in _dicts(patient.get("name")):
        given: list[Any] = name.get("given") or []
        words = [*(word for word in given if isinstance(word, str)), str(name.get("family") or "")]
        text = " ".join(words).strip() or str(name.get("text") or "")
        if " " in text:
            return text[:200]
    return "Sample Person"


def _dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", one) for one in cast("list[Any]", value) if isinstance(one, dict)]
