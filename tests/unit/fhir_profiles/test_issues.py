from fhir.resources.R4B.operationoutcome import OperationOutcome

from fhir_profiles.issues import Issue, expression_of, has_errors, operation_outcome

ERROR = Issue(code="value", rule="date", pointer="/name/0/period/start", detail="This must be a date.")
WARNING = Issue(severity="warning", code="value", rule="narrative-empty", detail="The narrative is empty.")


def test_an_outcome_says_where_why_and_by_which_rule() -> None:
    outcome = operation_outcome([ERROR, WARNING], "Patient")
    assert outcome["issue"][0] == {
        "severity": "error",
        "code": "value",
        "details": {"text": "This must be a date."},
        "diagnostics": "date",
        "expression": ["Patient.name[0].period.start"],
    }
    OperationOutcome.model_validate(outcome)


def test_an_outcome_of_nothing_says_all_is_well() -> None:
    outcome = operation_outcome([])
    assert outcome["issue"][0]["severity"] == "information"
    OperationOutcome.model_validate(outcome)


def test_an_expression_without_type_begins_with_the_element() -> None:
    assert expression_of("/entry/3") == "entry[3]"
    assert expression_of("") == ""
    assert expression_of("/a~1b/c~0d", "X") == "X.a/b.c~d"


def test_warnings_are_no_errors() -> None:
    assert has_errors([WARNING, ERROR])
    assert not has_errors([WARNING])
