import pytest

from fhir_profiles.currency import TITLE_LENGTH_MAX, dated, is_current, title_of


def concept(*codes: str) -> dict:
    return {"coding": [{"code": code} for code in codes]}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Condition", "clinicalStatus": concept("active")}, True),
        ({"resourceType": "Condition", "clinicalStatus": concept("recurrence")}, True),
        ({"resourceType": "Condition", "clinicalStatus": concept("relapse")}, True),
        ({"resourceType": "Condition", "clinicalStatus": concept("inactive")}, False),
        ({"resourceType": "Condition", "clinicalStatus": concept("resolved")}, False),
        (
            {
                "resourceType": "Condition",
                "clinicalStatus": concept("active"),
                "verificationStatus": concept("refuted"),
            },
            False,
        ),
        ({"resourceType": "Condition", "category": [concept("problem-list-item")]}, True),
        (
            {
                "resourceType": "Condition",
                "category": [concept("problem-list-item")],
                "abatementDateTime": "2019",
            },
            False,
        ),
        ({"resourceType": "Condition", "category": [concept("encounter-diagnosis")]}, False),
        ({"resourceType": "MedicationRequest", "status": "active"}, True),
        ({"resourceType": "MedicationRequest", "status": "on-hold"}, True),
        ({"resourceType": "MedicationRequest", "status": "unknown"}, True),
        ({"resourceType": "MedicationRequest", "status": "completed"}, False),
        ({"resourceType": "MedicationRequest", "status": "entered-in-error"}, False),
        ({"resourceType": "MedicationStatement", "status": "active"}, True),
        ({"resourceType": "MedicationStatement", "status": "not-taken"}, False),
        ({"resourceType": "AllergyIntolerance", "clinicalStatus": concept("resolved")}, True),
        ({"resourceType": "AllergyIntolerance", "verificationStatus": concept("entered-in-error")}, True),
        ({"resourceType": "Flag", "status": "active"}, True),
        ({"resourceType": "Flag", "status": "inactive"}, False),
        ({"resourceType": "Observation", "status": "final"}, False),
        ({"resourceType": "Consent", "status": "active"}, False),
    ],
)
def test_what_counts_as_current(resource: dict, expected: bool) -> None:
    assert is_current(resource) is expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (
            {"resourceType": "Observation", "effectiveDateTime": "2019-03", "issued": "2020-01-01T00:00:00Z"},
            "2019-03",
        ),
        ({"resourceType": "Observation", "issued": "2020-01-01T00:00:00Z"}, "2020-01-01T00:00:00Z"),
        ({"resourceType": "Observation", "effectiveTiming": {"event": ["2018-05-05"]}}, "2018-05-05"),
        ({"resourceType": "Encounter", "period": {"start": "2017", "end": "2018"}}, "2017"),
        ({"resourceType": "Encounter", "period": {"end": "2018"}}, "2018"),
        ({"resourceType": "Immunization", "_occurrenceDateTime": {}, "recorded": "2016"}, "2016"),
        ({"resourceType": "DocumentReference", "context": {"period": {"start": "2015"}}}, "2015"),
        ({"resourceType": "Condition", "onsetAge": {"value": 3}}, ""),
        ({"resourceType": "Patient", "birthDate": "1970"}, ""),
    ],
)
def test_the_clinical_date_is_as_sent(resource: dict, expected: str) -> None:
    assert dated(resource) == expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"resourceType": "Condition", "code": {"text": " Type 2\n diabetes "}}, "Type 2 diabetes"),
        ({"resourceType": "Condition", "code": {"coding": [{"code": "1"}, {"display": "Asthma"}]}}, "Asthma"),
        ({"resourceType": "MedicationRequest", "medicationCodeableConcept": {"text": "Aspirin"}}, "Aspirin"),
        ({"resourceType": "Organization", "name": "Beeston Practice"}, "Beeston Practice"),
        ({"resourceType": "Practitioner", "name": [{"text": "Dr Patel"}]}, "Dr Patel"),
        ({"resourceType": "Practitioner", "name": [{"given": ["Asha"], "family": "Patel"}]}, "Asha Patel"),
        ({"resourceType": "Encounter", "class": {"code": "AMB", "display": "ambulatory"}}, "ambulatory"),
        ({"resourceType": "MedicationRequest", "medicationReference": {"display": "Aspirin"}}, "Aspirin"),
        ({"resourceType": "Observation", "encounter": {"display": "Secret"}}, "Observation"),
        ({"resourceType": "Observation"}, "Observation"),
    ],
)
def test_the_title_is_in_the_sources_words(resource: dict, expected: str) -> None:
    assert title_of(resource) == expected


def test_a_long_title_is_shortened() -> None:
    for length, expected in [(TITLE_LENGTH_MAX, TITLE_LENGTH_MAX), (TITLE_LENGTH_MAX + 1, TITLE_LENGTH_MAX)]:
        assert len(title_of({"resourceType": "Condition", "code": {"text": "x" * length}})) == expected
