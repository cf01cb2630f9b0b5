from typing import Any

import pytest

from server.intake.facts import (
    NHS_NUMBER_SYSTEM,
    SubjectClaim,
    entry_facts,
    identifiers_of,
    is_about_another_thing,
    patient_facts,
    reference_type,
    subject_claims,
)


def test_only_identifiers_with_a_system_and_a_value_count() -> None:
    resource = {
        "identifier": [
            {"value": "no system"},
            {"system": "no value"},
            {"system": "s", "value": "v"},
            {"system": 1, "value": 2},
            "text",
        ]
    }
    assert identifiers_of(resource) == (("s", "v"),)


def test_an_identifier_may_stand_alone() -> None:
    assert identifiers_of({"identifier": {"system": "s", "value": "v"}}) == (("s", "v"),)


def test_entry_facts_bear_anything_in_place_of_text() -> None:
    facts = entry_facts(3, {"resourceType": 7, "id": [], "identifier": None}, "")
    assert (facts.resource_type, facts.source_id, facts.identifiers) == ("", "", ())


def test_a_patient_is_named_by_full_url_and_id() -> None:
    facts = patient_facts({"id": "p", "birthDate": "1980-02-03"}, "urn:uuid:1")
    assert facts.names == ("urn:uuid:1", "Patient/p")


@pytest.mark.parametrize("element", ["subject", "patient", "for", "beneficiary"])
def test_each_subject_element_is_a_claim_whatever_the_type(element: str) -> None:
    claims = list(subject_claims({"resourceType": "Claim", element: {"reference": "Patient/p/_history/2"}}))
    assert claims == [SubjectClaim(reference="Patient/p")]


def test_several_subjects_are_several_claims() -> None:
    resource = {"subject": [{"reference": "Patient/1"}, {"reference": "Patient/2"}]}
    assert {claim.reference for claim in subject_claims(resource)} == {"Patient/1", "Patient/2"}


def test_the_subject_of_a_contained_item_is_a_claim_too() -> None:
    resource = {
        "contained": [{"resourceType": "ServiceRequest", "id": "r", "subject": {"reference": "Patient/2"}}]
    }
    assert [claim.reference for claim in subject_claims(resource)] == ["Patient/2"]


def test_a_contained_patient_comes_with_what_it_states() -> None:
    inner = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": NHS_NUMBER_SYSTEM, "value": "9990000018"}],
    }
    (claim,) = set(subject_claims({"contained": [inner], "subject": {"reference": "#p"}}))
    assert claim.contained is not None
    assert claim.contained.nhs_numbers == ("9990000018",)


def test_a_contained_patient_is_a_claim_whatever_refers_to_it() -> None:
    inner = {"resourceType": "Patient", "id": "p", "birthDate": "1980-02-03"}
    resource = {"contained": [inner], "subject": {"reference": "Patient/1"}, "asserter": {"reference": "#p"}}
    claims = list(subject_claims(resource))
    assert [claim.reference for claim in claims] == ["Patient/1", "#"]
    assert claims[1].contained == patient_facts(inner)


def test_none_of_two_contained_items_with_one_id_goes_unasked() -> None:
    inside = [
        {"resourceType": "Observation", "id": "o", "subject": {"reference": f"Patient/{number}"}}
        for number in (1, 2)
    ]
    assert {claim.reference for claim in subject_claims({"contained": inside})} == {"Patient/1", "Patient/2"}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("Patient/1", "Patient"),
        ("https://a.example/fhir/Device/1", "Device"),
        ("Patient?identifier=a|b", "Patient"),
        ("https://a.example/Group?x=1", "Group"),
        ("urn:uuid:1", ""),
        ("#x", ""),
        ("", ""),
        ("not a reference", ""),
    ],
)
def test_the_type_a_reference_names(reference: str, expected: str) -> None:
    assert reference_type(reference) == expected


@pytest.mark.parametrize(
    ("subject", "is_other"),
    [
        ({"reference": "Patient/1"}, False),
        ({"reference": "Device/1"}, True),
        ({"reference": "urn:uuid:device"}, True),
        ({"reference": "urn:uuid:unknown"}, False),
        ({"type": "Group", "display": "everyone"}, True),
    ],
)
def test_a_subject_that_is_no_person_is_told_apart(subject: dict[str, Any], is_other: bool) -> None:
    types = {"urn:uuid:device": "Device"}
    assert is_about_another_thing({"resourceType": "Observation", "subject": subject}, types) is is_other
