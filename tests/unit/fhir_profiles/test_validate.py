import copy
from typing import Any

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.issues import Issue
from fhir_profiles.parse import encode
from fhir_profiles.second_opinion import second_opinion
from fhir_profiles.validate import validate
from fhir_profiles.walk import ISSUES_MAX
from tests.unit.fhir_profiles.minimal import as_read, minimal

ABSENT = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
QUANTITY = {"value": 6.3, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def judged(resource: dict[str, Any]) -> tuple[Issue, ...]:
    return validate(as_read(resource))


@pytest.mark.parametrize("resource_type", CATALOGUE)
def test_the_least_of_each_type_is_valid(resource_type: str) -> None:
    assert judged(minimal(resource_type)) == ()


VALID = {
    "partial dates": minimal("Patient", birthDate="1970-02"),
    "a year": minimal("Patient", birthDate="1970"),
    "a leap day": minimal("Patient", birthDate="2024-02-29"),
    "a date and time with a zone": minimal("Observation", effectiveDateTime="2021-03-01T09:30:00.123+01:00"),
    "a primitive extension beside its value": minimal(
        "Patient", birthDate="1970", _birthDate={"extension": [ABSENT]}
    ),
    "a primitive extension alone": minimal("Patient", _birthDate={"extension": [ABSENT]}),
    "nulls paired with extensions": minimal(
        "Patient", name=[{"given": ["Ann", None], "_given": [None, {"extension": [ABSENT]}]}]
    ),
    "one value of a choice": minimal("Observation", valueQuantity=QUANTITY),
    "a conditional reference": minimal("Observation", subject={"reference": "Patient?identifier=a|1"}),
    "an absolute reference": minimal(
        "Observation", subject={"reference": "https://ehr.example/fhir/Patient/7"}
    ),
    "a urn reference": minimal(
        "Observation", subject={"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}
    ),
    "a versioned reference": minimal("Provenance", target=[{"reference": "Observation/o1/_history/2"}]),
    "a reference by identifier": minimal("Observation", subject={"identifier": {"value": "1"}}),
    "a contained resource": minimal(
        "MedicationRequest",
        contained=[{"resourceType": "Medication", "id": "m", "code": {"text": "Paracetamol"}}],
        medicationReference={"reference": "#m"},
    ),
    "a contained type whose definition we do not hold": minimal(
        "AllergyIntolerance",
        contained=[{"resourceType": "Substance", "id": "s", "code": {"text": "Latex"}}],
    ),
    "an extension with children": minimal(
        "Patient", extension=[{"url": "https://e.org/a", "extension": [{"url": "b", "valueString": "c"}]}]
    ),
    "narrative": minimal(
        "Patient",
        text={
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Hello <a href="https://e.org">there</a></p></div>',
        },
    ),
    "an attachment with its data": minimal(
        "DocumentReference", content=[{"attachment": {"contentType": "text/plain", "data": "aGVsbG8="}}]
    ),
    "a condition in remission with an end": minimal(
        "Condition",
        clinicalStatus=coded(CONDITION_CLINICAL, "remission"),
        abatementDateTime="2020",
    ),
    "an allergy entered in error": {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": "Patient/p1"},
        "verificationStatus": coded(ALLERGY_VERIFICATION, "entered-in-error"),
    },
    "a required code explained away by an extension": minimal(
        "Condition", clinicalStatus={"extension": [ABSENT]}
    ),
    "a reason for no value": minimal("Observation", dataAbsentReason={"text": "refused"}),
    "an empty list with its reason": minimal("List", emptyReason={"text": "nil known"}),
}
del VALID["a contained resource"]["medicationCodeableConcept"]


@pytest.mark.parametrize("name", VALID)
def test_what_fhir_allows_is_valid(name: str) -> None:
    assert judged(VALID[name]) == ()


def test_a_required_choice_may_be_there_as_an_extension_alone() -> None:
    immunization = minimal("Immunization", _occurrenceDateTime={"extension": [ABSENT]})
    del immunization["occurrenceDateTime"]
    assert judged(immunization) == ()


def test_a_required_choice_and_decimals_go_together() -> None:
    immunization = minimal(
        "Immunization",
        _occurrenceDateTime={"extension": [ABSENT]},
        doseQuantity={"value": 0.50, "unit": "ml"},
    )
    del immunization["occurrenceDateTime"]
    assert judged(immunization) == ()


def test_a_consent_needs_a_policy_and_a_privacy_consent_a_patient() -> None:
    consent = minimal("Consent")
    without_policy = {name: value for name, value in consent.items() if name != "policy"}
    without_patient = {name: value for name, value in consent.items() if name != "patient"}
    assert [issue.rule for issue in judged(without_policy)] == ["ppc-1"]
    assert [issue.rule for issue in judged(without_patient)] == ["ppc-2"]


def test_a_document_section_is_not_both_filled_and_empty() -> None:
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Summary"},
        "date": "2026-11-21",
        "author": [{"display": "Dr Patel"}],
        "title": "Summary",
        "section": [
            {
                "title": "Outer",
                "section": [
                    {"title": "x", "emptyReason": {"text": "x"}, "entry": [{"reference": "Patient/1"}]}
                ],
            },
            {"title": "Nothing"},
        ],
    }
    found = {(issue.rule, issue.pointer) for issue in judged(composition)}
    assert found == {("cmp-2", "/section/0/section/0/emptyReason"), ("cmp-1", "/section/1")}


def test_hostile_narrative_is_an_error_and_odd_narrative_a_warning() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
    hostile = minimal("Patient", text={"status": "generated", "div": div.format("<script>x</script>")})
    odd = minimal("Patient", text={"status": "generated", "div": div.format("<section>x</section>")})
    assert [(issue.severity, issue.rule) for issue in judged(hostile)] == [("error", "narrative-active")]
    assert [(issue.severity, issue.rule) for issue in judged(odd)] == [
        ("warning", "narrative-unknown-element")
    ]


def test_a_bomb_of_faults_is_answered_by_the_first_few() -> None:
    issues = judged(minimal("Patient", name=[{} for _ in range(5000)]))
    assert len(issues) == ISSUES_MAX


def test_validating_changes_nothing() -> None:
    resource = as_read(minimal("Observation", valueQuantity=QUANTITY))
    before = copy.copy(encode(resource))
    assert validate(resource) == ()
    assert encode(resource) == before


def test_what_is_nested_too_deeply_is_an_issue() -> None:
    extension: dict[str, Any] = {"url": "a", "valueString": "b"}
    for _ in range(2000):
        extension = {"url": "a", "extension": [extension]}
    assert [issue.rule for issue in validate({"resourceType": "Patient", "extension": [extension]})] == [
        "too-deep"
    ]


def test_the_models_are_a_second_opinion_of_their_own() -> None:
    misspelt = minimal("Patient", name=[{"fmaily": "x"}])
    (issue,) = second_opinion(misspelt, has_raw_numbers=False, stand_ins=[])
    assert (issue.rule, issue.pointer) == ("model-extra-forbidden", "/name/0/fmaily")
    unknown = minimal("Patient", contained=[{"resourceType": "Zork"}])
    (issue,) = second_opinion(unknown, has_raw_numbers=False, stand_ins=[])
    assert issue.rule == "contained-type"
