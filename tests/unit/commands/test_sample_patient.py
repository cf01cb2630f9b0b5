"""Whom a published bundle is about, and the made-up number they get here."""

import json
from typing import Any

import pytest

from fhir_profiles.identifiers import is_nhs_number
from server.commands.sample_patient import BundleUnreadable, made_up_number, sample_patient, stated_numbers

PUBLISHED: dict[str, Any] = {
    "resourceType": "Patient",
    "identifier": [{"value": "no system"}, {"system": "https://example.org/mrn", "value": "7"}],
    "name": [{"given": ["Ada", "Jane"], "family": "Lovelace"}],
    "birthDate": "1970-05-01",
}


def bundle(*resources: Any) -> bytes:
    return json.dumps(
        {"resourceType": "Bundle", "entry": [{"resource": resource} for resource in resources]}
    ).encode()


def test_the_person_has_the_bundles_birth_date_name_and_identifier() -> None:
    patient = sample_patient(bundle(PUBLISHED, {"resourceType": "Condition"}))
    assert (patient.name, patient.birth_date) == ("Ada Jane Lovelace", "1970-05-01")
    assert patient.alias == ("https://example.org/mrn", "7")


def test_the_same_bundle_always_gives_the_same_number() -> None:
    assert sample_patient(bundle(PUBLISHED)) == sample_patient(bundle(PUBLISHED))


def test_a_number_of_the_test_range_is_used_as_it_stands() -> None:
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9993001007"}
    patient = sample_patient(bundle({**PUBLISHED, "identifier": [identifier]}))
    assert (patient.nhs_number, patient.alias) == ("9993001007", None)


def test_made_up_numbers_are_valid_different_and_of_the_test_range() -> None:
    numbers = {made_up_number(str(seed)) for seed in range(500)}
    assert all(is_nhs_number(number) and number.startswith("999") for number in numbers)
    assert len(numbers) > 490


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"entry":7}',
        bundle({"resourceType": "Condition"}),
        bundle(PUBLISHED, PUBLISHED),
        bundle({**PUBLISHED, "identifier": []}),
        bundle({**PUBLISHED, "birthDate": None}),
        b"[" * 100_000,
    ],
)
def test_a_file_without_one_findable_person_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleUnreadable, match="not a FHIR Bundle"):
        sample_patient(raw)


def test_the_numbers_a_bundle_states_are_those_of_its_patients() -> None:
    identifier = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9993001007"}
    assert stated_numbers(bundle({**PUBLISHED, "identifier": [identifier]})) == {"9993001007"}
    assert stated_numbers(bundle(PUBLISHED)) == stated_numbers(b"nonsense") == frozenset()
