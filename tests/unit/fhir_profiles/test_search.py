from typing import Any

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.heads import Head, Labels
from fhir_profiles.search_query import COUNT_MAX, CRITERIA_MAX, Include, SortKey
from fhir_profiles.search_values import (
    SearchQuery,
    SearchRefused,
    matches,
    parse_query,
    sorted_heads,
    values_of,
)
from tests.unit.fhir_profiles.minimal import as_read, minimal

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def head_of(resource: dict[str, Any], logical_id: str = "o1", **fields: Any) -> Head:
    known: dict[str, Any] = {
        "resource_type": resource["resourceType"],
        "logical_id": logical_id,
        "version": 1,
        "last_updated": "2026-11-21T09:00:00.000Z",
        "labels": Labels(),
        "rules_version": 1,
        "dated": "",
        "is_current": True,
        "references": (),
        "search": values_of(as_read(resource)),
        "content_hash": b"",
        "title": "",
    }
    return Head(**{**known, **fields})


GLUCOSE = minimal(
    "Observation",
    code={"coding": [{"system": LOINC, "code": "15074-8"}, {"code": "local,1"}], "text": "Glucose"},
    category=[{"coding": [{"system": CATEGORY, "code": "laboratory"}]}],
    effectiveDateTime="2024-03-15",
    subject={"reference": "Patient/p1"},
    encounter={"reference": "Encounter/e1"},
    performer=[{"reference": "https://other.example/fhir/Practitioner/7/_history/2"}],
    identifier=[{"system": "https://lab.example", "value": "A|1"}],
)


def found(resource: dict[str, Any], *pairs: tuple[str, str], base_url: str = "", **options: Any) -> bool:
    query = parse_query(resource["resourceType"], pairs, base_url)
    return matches(head_of(resource), query, **options)


def test_values_are_indexed_in_their_forms() -> None:
    assert values_of(as_read(GLUCOSE)) == {
        "patient": ("Patient/p1",),
        "subject": ("Patient/p1",),
        "identifier": ("https://lab.example|A|1",),
        "code": (f"{LOINC}|15074-8", "|local,1"),
        "combo-code": (f"{LOINC}|15074-8", "|local,1"),
        "category": (f"{CATEGORY}|laboratory",),
        "status": ("http://hl7.org/fhir/observation-status|final",),
        "date": ("2024-03-15T00:00:00.000000/2024-03-16T00:00:00.000000",),
        "encounter": ("Encounter/e1",),
        "performer": ("https://other.example/fhir/Practitioner/7",),
    }


@pytest.mark.parametrize("resource_type", CATALOGUE)
def test_every_type_can_be_indexed(resource_type: str) -> None:
    assert all(values_of(as_read(minimal(resource_type))).values())


def test_all_kinds_of_elements_are_indexed() -> None:
    role = minimal(
        "PractitionerRole",
        active=True,
        period={"start": "2020"},
        specialty=[{"coding": [{"code": "394814009"}]}],
    )
    assert values_of(as_read(role)) == {
        "active": ("|true",),
        "date": ("2020-01-01T00:00:00.000000/~",),
        "specialty": ("|394814009",),
    }
    person = minimal("Practitioner", name=[{"family": "Šťastná", "given": ["Eva  Maria"], "text": "Dr Eva"}])
    assert values_of(as_read(person))["name"] == ("dr eva", "stastna", "eva maria")
    request = minimal(
        "MedicationRequest",
        dosageInstruction=[
            {"timing": {"event": ["2024-01-02", "2024-01-05"]}},
            {"timing": {"repeat": {"count": 2}}},
        ],
    )
    assert values_of(as_read(request))["date"] == (
        "2024-01-02T00:00:00.000000/2024-01-03T00:00:00.000000",
        "2024-01-05T00:00:00.000000/2024-01-06T00:00:00.000000",
    )
    taken = minimal("Observation", effectiveTiming={"event": ["2024-01-05", "2024-01-02"]})
    assert values_of(as_read(taken))["date"] == ("2024-01-02T00:00:00.000000/2024-01-06T00:00:00.000000",)
    repeated = minimal("Observation", effectiveTiming={"repeat": {"boundsPeriod": {"end": "2024"}}})
    assert values_of(as_read(repeated))["date"] == ("/2025-01-01T00:00:00.000000",)
    vaccine = minimal(
        "Immunization", lotNumber="AB 12", protocolApplied=[{"series": "2 dose", "doseNumberString": "1"}]
    )
    assert values_of(as_read(vaccine))["series"] == ("2 dose",)


def test_only_patients_are_found_by_patient() -> None:
    provenance = minimal("Provenance", target=[{"reference": "Patient/p1"}, {"reference": "Observation/o1"}])
    values = values_of(as_read(provenance))
    assert values["patient"] == ("Patient/p1",)
    assert values["target"] == ("Patient/p1", "Observation/o1")


def test_references_that_name_nothing_are_not_indexed() -> None:
    references = [
        {"reference": "#c"},
        {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
        {"display": "x"},
    ]
    assert "performer" not in values_of(minimal("Observation", performer=references))


TOKENS = [
    (f"{LOINC}|15074-8", True),
    ("15074-8", True),
    (f"{LOINC}|", True),
    ("|local\\,1", True),
    ("local\\,1", True),
    (f"x,{LOINC}|15074-8", True),
    (f"{LOINC}|15074", False),
    ("|15074-8", False),
    ("15074-8 ", False),
    (f"{LOINC.upper()}|15074-8", False),
    ("other|", False),
    ("local", False),
]


@pytest.mark.parametrize(("value", "is_found"), TOKENS)
def test_tokens_match_by_system_and_code(value: str, is_found: bool) -> None:
    assert found(GLUCOSE, ("code", value)) is is_found
    assert found(GLUCOSE, ("code:not", value)) is not is_found


def test_codes_of_a_bound_element_have_their_system() -> None:
    assert found(GLUCOSE, ("status", "http://hl7.org/fhir/observation-status|final"))
    assert found(GLUCOSE, ("status", "final"))
    assert not found(GLUCOSE, ("status", "https://e.org|final"))


def test_a_bar_within_a_value_is_escaped() -> None:
    assert found(GLUCOSE, ("identifier", "https://lab.example|A\\|1"))


def test_not_finds_what_has_no_value_at_all() -> None:
    assert found(minimal("Observation"), ("category:not", "laboratory"))


DATES = [
    ("2024-03-15", True),
    ("2024-03", True),
    ("2024", True),
    ("2024-03-16", False),
    ("2024-03-15T10:00:00Z", False),
    ("ne2024-03-15", False),
    ("ne2024-03-16", True),
    ("gt2024-03-14", True),
    ("gt2024-03-15", False),
    ("gt2024", False),
    ("gt2024-03-15T10:00:00Z", True),
    ("lt2024-03-16", True),
    ("lt2024-03-15", False),
    ("lt2024-03-15T10:00:00Z", True),
    ("ge2024-03-15", True),
    ("ge2024-03-16", False),
    ("ge2024", True),
    ("le2024-03-15", True),
    ("le2024-03-14", False),
    ("le2024", True),
    ("sa2024-03-14", True),
    ("sa2024-03-15", False),
    ("eb2024-03-16", True),
    ("eb2024-03-15", False),
    ("ap2024-03-16", True),
    ("ap2024-03-18", False),
    ("ap2024-02", True),
    ("2023,2024", True),
    ("lt2024,gt2025", False),
]


@pytest.mark.parametrize(("value", "is_found"), DATES)
def test_dates_match_by_the_range_their_precision_implies(value: str, is_found: bool) -> None:
    assert found(GLUCOSE, ("date", value)) is is_found


def test_open_periods_reach_for_ever() -> None:
    encounter = minimal("Encounter", period={"start": "2024-01-01"})
    assert found(encounter, ("date", "gt2050"))
    assert not found(encounter, ("date", "lt2024"))
    assert not found(encounter, ("date", "2024"))


def test_a_zone_written_with_a_bare_plus_is_understood() -> None:
    observation = minimal("Observation", effectiveDateTime="2024-03-15T10:00:00+01:00")
    assert found(observation, ("date", "2024-03-15T09:00:00Z"))
    assert found(observation, ("date", "2024-03-15T10:00:00 01:00"))


REFERENCES = [
    ("patient", "Patient/p1", True),
    ("patient", "p1", True),
    ("patient", "https://held.example/fhir/Patient/p1", True),
    ("patient", "Patient/p1/_history/3", True),
    ("patient", "Patient/p2", False),
    ("patient", "Encounter/e1", False),
    ("subject", "p1", True),
    ("subject:Patient", "p1", True),
    ("subject:Group", "p1", False),
    ("encounter", "e1", True),
    ("encounter", "x,Encounter/e1", True),
    ("encounter", "p1", False),
    ("performer", "https://other.example/fhir/Practitioner/7", True),
    ("performer", "Practitioner/7", False),
]


@pytest.mark.parametrize(("name", "value", "is_found"), REFERENCES)
def test_references_match_in_each_form(name: str, value: str, is_found: bool) -> None:
    assert found(GLUCOSE, (name, value), base_url="https://held.example/fhir") is is_found


def test_nothing_is_found_by_a_reference_that_is_cut() -> None:
    assert not found(GLUCOSE, ("encounter", "Encounter/e1"), cut={"Encounter/e1"})
    assert found(GLUCOSE, ("encounter:missing", "true"), cut={"Encounter/e1"})


def test_strings_match_at_their_start_without_case_and_accents() -> None:
    person = minimal("Practitioner", name=[{"family": "Šťastná-Novák"}])
    assert found(person, ("family", "STAST"))
    assert not found(person, ("family", "novak"))
    assert found(person, ("family:contains", "novák"))
    assert found(person, ("name", "x,šť"))


def test_missing_asks_whether_there_is_a_value() -> None:
    assert found(GLUCOSE, ("encounter:missing", "false"))
    assert not found(GLUCOSE, ("encounter:missing", "true"))
    assert found(GLUCOSE, ("specimen:missing", "true"))


def test_ids_and_times_of_change_are_criteria() -> None:
    assert found(GLUCOSE, ("_id", "x,o1"))
    assert not found(GLUCOSE, ("_id", "O1"))
    assert found(GLUCOSE, ("_lastUpdated", "ge2026-11-21"))
    assert not found(GLUCOSE, ("_lastUpdated", "lt2026-11-21"))


def test_repeated_parameters_must_all_hold() -> None:
    assert found(GLUCOSE, ("date", "ge2024-01-01"), ("date", "lt2025"), ("category", "laboratory"))
    assert not found(GLUCOSE, ("date", "ge2024-01-01"), ("date", "lt2024-02"))


def test_another_type_is_never_an_answer() -> None:
    assert not matches(head_of(minimal("Condition")), parse_query("Observation", []))


REFUSED = [
    ("colour", "red", "unknown-parameter"),
    ("CODE", "x", "unknown-parameter"),
    ("subject.name", "x", "unknown-parameter"),
    ("_has:Observation:patient:code", "x", "unknown-parameter"),
    ("_revinclude", "Provenance:target", "unknown-parameter"),
    ("_total", "accurate", "unknown-parameter"),
    ("_text", "x", "unknown-parameter"),
    ("_id:not", "x", "unknown-parameter"),
    ("_include:iterate", "Observation:encounter", "unknown-parameter"),
    ("code:text", "x", "unknown-modifier"),
    ("code:", "x", "unknown-modifier"),
    ("code:not:not", "x", "unknown-modifier"),
    ("date:not", "2024", "unknown-modifier"),
    ("patient:identifier", "x|1", "unknown-modifier"),
    ("patient:Zork", "x", "unknown-modifier"),
    ("code:missing", "maybe", "missing-modifier"),
    ("code", "", "empty-value"),
    ("code", "a|b|c", "token-value"),
    ("code", "|", "token-value"),
    ("date", "yesterday", "date-value"),
    ("date", "2024-13", "date-value"),
    ("date", "2023-02-30", "date-value"),
    ("date", "xx2024", "date-value"),
    ("date", ",", "empty-value"),
    ("code", ",,", "empty-value"),
    ("_id", ",", "empty-value"),
    ("patient", ",", "empty-value"),
    ("_lastUpdated", "now", "date-value"),
    ("patient", "Patient/a b", "reference-value"),
    ("patient", "Zork/1", "reference-value"),
    ("_count", "0", "count-value"),
    ("_count", "201", "count-value"),
    ("_count", "-1", "count-value"),
    ("_count", "٢", "count-value"),
    ("_count", "9" * 5000, "count-value"),
    ("_sort", "code", "sort-value"),
    ("_sort", "-", "sort-value"),
    ("_sort", "date,_id,_lastUpdated,issued", "sort-value"),
    ("_include", "*", "include-value"),
    ("_include", "Observation:*", "include-value"),
    ("_include", "Observation:code", "include-value"),
    ("_include", "Condition:encounter", "include-value"),
    ("_include", "Observation:encounter:Patient", "include-value"),
    ("_include", "Observation:focus:Zork", "include-value"),
    ("_elements", "colour", "elements-value"),
    ("_elements", "code,", "elements-value"),
    ("_summary", "count", "summary-value"),
    ("_summary", "yes", "summary-value"),
    ("_format", "xml", "format-value"),
]


@pytest.mark.parametrize(("name", "value", "rule"), REFUSED)
def test_what_is_not_offered_is_refused_by_name(name: str, value: str, rule: str) -> None:
    with pytest.raises(SearchRefused) as caught:
        parse_query("Observation", [(name, value)])
    assert caught.value.issue.rule == rule
    assert name.partition(":")[0] in caught.value.issue.detail


def test_a_refused_name_is_shown_short_and_printable() -> None:
    with pytest.raises(SearchRefused) as caught:
        parse_query("Observation", [("x\x1b\u202e" + "y" * 500, "1")])
    assert caught.value.issue.detail.isprintable()
    assert len(caught.value.issue.detail) < 120


@pytest.mark.parametrize("count", [1, COUNT_MAX - 1, COUNT_MAX])
def test_the_page_size_may_be_up_to_its_limit(count: int) -> None:
    assert parse_query("Observation", [("_count", str(count))]).count == count


def test_search_parameters_may_be_up_to_their_limit() -> None:
    pairs = [("code", f"c{index}") for index in range(CRITERIA_MAX)]
    parse_query("Observation", pairs[:-1])
    parse_query("Observation", [*pairs, ("_count", "5"), ("_sort", "date")])
    with pytest.raises(SearchRefused) as caught:
        parse_query("Observation", [*pairs, ("status", "final")])
    assert caught.value.issue.rule == "too-many-parameters"


def test_includes_may_be_up_to_their_limit() -> None:
    pairs = [("_include", "Observation:encounter")] * 10
    parse_query("Observation", pairs)
    with pytest.raises(SearchRefused):
        parse_query("Observation", [*pairs, pairs[0]])


@pytest.mark.parametrize("name", ["_count", "_sort", "_elements", "_summary", "_format"])
def test_a_result_parameter_is_given_once(name: str) -> None:
    value = {"_count": "5", "_sort": "date", "_elements": "code", "_summary": "true", "_format": "json"}[name]
    parse_query("Observation", [(name, value)])
    with pytest.raises(SearchRefused) as caught:
        parse_query("Observation", [(name, value), (name, value)])
    assert caught.value.issue.rule == "repeated-parameter"


def test_a_whole_query_is_read() -> None:
    pairs = (
        ("_sort", "-date,_id"),
        ("_include", "Observation:encounter"),
        ("_include", "Observation:performer:Practitioner"),
        ("_elements", "code,valueQuantity"),
        ("_summary", "data"),
        ("_format", "application/fhir+json"),
    )
    assert parse_query("Observation", pairs) == SearchQuery(
        resource_type="Observation",
        sort=(SortKey("date", is_descending=True), SortKey("_id", is_descending=False)),
        includes=(Include("encounter", None), Include("performer", "Practitioner")),
        elements=("code", "valueQuantity"),
        summary="data",
        pairs=pairs,
    )


def dated_heads() -> list[Head]:
    dates = {"a": "2024-03", "b": "2025", "c": "", "d": "2024-03-15", "e": "2024-03"}
    return [
        head_of(minimal("Observation", **({"effectiveDateTime": date} if date else {})), name, dated=date)
        for name, date in dates.items()
    ]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (None, "bdaec"),
        ("date", "aedbc"),
        ("-date", "baedc"),
        ("-date,-_id", "beadc"),
        ("_id", "abcde"),
        ("-_id", "edcba"),
        ("_lastUpdated,-_id", "edcba"),
    ],
)
def test_answers_stand_in_the_order_asked_for_and_undated_ones_last(sort: str | None, order: str) -> None:
    query = parse_query("Observation", [("_sort", sort)] if sort else [])
    assert "".join(head.logical_id for head in sorted_heads(reversed(dated_heads()), query)) == order


def test_open_periods_sort_by_the_bound_they_have() -> None:
    periods = {"a": {"start": "2024"}, "b": {"end": "2022"}, "c": {"start": "2023", "end": "2023"}}
    heads = [head_of(minimal("Encounter", period=period), name) for name, period in periods.items()]
    assert [
        head.logical_id for head in sorted_heads(heads, parse_query("Encounter", [("_sort", "date")]))
    ] == [
        "b",
        "c",
        "a",
    ]
    assert [
        head.logical_id for head in sorted_heads(heads, parse_query("Encounter", [("_sort", "-date")]))
    ] == [
        "a",
        "c",
        "b",
    ]
