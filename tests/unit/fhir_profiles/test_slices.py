from datetime import date

import msgspec
import pytest

from fhir_profiles.heads import CATEGORIES, Head, HeldReference, Labels
from fhir_profiles.partial_dates import first_day, last_day
from fhir_profiles.slices import NAMED_ITEMS_MAX, Slice, is_inside_window, permits, slice_problem, year_before

TODAY = date(2024, 6, 15)
NOTHING = Slice(current=False)


def head(
    resource_type: str = "Observation",
    *categories: str,
    dated: str = "2024-06-01",
    sensitive: tuple[str, ...] = (),
    is_current: bool = False,
    references: tuple[HeldReference, ...] = (),
) -> Head:
    return Head(
        resource_type=resource_type,
        logical_id="1",
        version=1,
        last_updated="2024-06-01T00:00:00.000Z",
        labels=Labels(categories, sensitive),
        rules_version=1,
        dated=dated,
        is_current=is_current,
        references=references,
        search={},
        content_hash=b"",
        title="",
    )


def test_a_slice_travels_as_the_api_says() -> None:
    wire = (
        b'{"current":false,"categories":["medicines"],"conditions":["c"],"from":"2020","to":"2021-05",'
        b'"add":["Observation/1"],"hide":["Condition/2"],"sensitive":["hiv"]}'
    )
    shared = msgspec.json.decode(wire, type=Slice)
    assert shared.from_ == "2020"
    assert msgspec.json.encode(shared) == wire


def test_current_is_the_default_and_absent_dates_are_left_out() -> None:
    assert msgspec.json.decode(b"{}", type=Slice).current is True
    assert msgspec.json.encode(Slice()) == (
        b'{"current":true,"categories":[],"conditions":[],"add":[],"hide":[],"sensitive":[]}'
    )


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"everything":true}', type=Slice)


@pytest.mark.parametrize(
    ("shared", "word"),
    [
        (Slice(categories=("money",)), "category"),
        (Slice(categories=("medicines", "medicines")), "twice"),
        (Slice(sensitive=("politics",)), "sensitive class"),
        (Slice(conditions=("Condition/1",)), "condition"),
        (Slice(add=("Observation",)), "type and id"),
        (Slice(hide=("observation/1",)), "type and id"),
        (Slice(hide=("Observation/a b",)), "type and id"),
        (Slice(hide=("Patient/1",)), "hidden"),
        (Slice(add=("Consent/1",)), "cannot be shared"),
        (Slice(add=("Observation/1",), hide=("Observation/1",)), "both"),
        (Slice(from_="2023-02-29"), "dates"),
        (Slice(from_="yesterday"), "dates"),
        (Slice(to="2024-01-01T00:00:00Z"), "dates"),
        (Slice(from_="2024-02", to="2024-01"), "begins after"),
        (Slice(add=tuple(f"Observation/{n}" for n in range(NAMED_ITEMS_MAX + 1))), "At most"),
    ],
)
def test_a_slice_that_makes_no_sense_is_refused(shared: Slice, word: str) -> None:
    assert word in (slice_problem(shared) or "")


@pytest.mark.parametrize(
    "shared",
    [
        Slice(),
        NOTHING,
        Slice(categories=CATEGORIES, sensitive=("hiv", "genetics"), from_="2020", to="2020"),
        Slice(add=tuple(f"Observation/{n}" for n in range(NAMED_ITEMS_MAX))),
    ],
)
def test_a_slice_that_makes_sense_is_not(shared: Slice) -> None:
    assert slice_problem(shared) is None


def test_a_reason_for_refusal_never_repeats_what_was_sent() -> None:
    assert "secret" not in (slice_problem(Slice(categories=("secret",))) or "")


def test_current_gives_active_items_needs_and_a_year_of_results() -> None:
    assert permits(Slice(), head("Condition", "problems", is_current=True, dated=""), TODAY)
    assert permits(Slice(), head("Flag", "needs", dated=""), TODAY)
    assert permits(Slice(), head("Observation", "results", dated="2023-06-15"), TODAY)
    assert not permits(Slice(), head("Observation", "results", dated="2023-06-14"), TODAY)
    assert not permits(Slice(), head("Observation", "results", dated=""), TODAY)
    assert not permits(Slice(), head("Condition", "problems"), TODAY)
    assert not permits(Slice(), head("Encounter", "consultations"), TODAY)


def test_a_result_dated_only_by_the_year_is_recent_when_all_of_the_year_is() -> None:
    assert permits(Slice(), head("Observation", "results", dated="2024"), TODAY)
    assert not permits(Slice(), head("Observation", "results", dated="2023"), TODAY)


def test_without_current_only_the_chosen_categories_are_given() -> None:
    medicines = Slice(current=False, categories=("medicines",))
    assert permits(medicines, head("MedicationRequest", "medicines"), TODAY)
    assert not permits(medicines, head("AllergyIntolerance", "allergies", is_current=True), TODAY)
    assert not permits(NOTHING, head("Flag", "needs", is_current=True), TODAY)


def test_an_item_without_a_category_is_for_nobody() -> None:
    everything = Slice(categories=CATEGORIES, conditions=("c",))
    linked = head("Basic", references=(HeldReference("Basic.subject", "Condition", "c"),))
    assert not permits(everything, linked, TODAY)


def test_the_window_applies_to_the_rest() -> None:
    window = Slice(categories=("consultations",), from_="2020", to="2021-03")
    inside = {"2020", "2020-01-01", "2021-03-31", "2021-03", "2021-03-31T23:59:59+01:00"}
    outside = {"2019-12-31", "2021-04-01", "2021", "", "soon"}
    for dated in inside:
        assert permits(window, head("Encounter", "consultations", dated=dated), TODAY), dated
    for dated in outside:
        assert not permits(window, head("Encounter", "consultations", dated=dated), TODAY), dated


def test_the_window_never_cuts_allergies_needs_or_what_is_current() -> None:
    window = Slice(categories=CATEGORIES, from_="2030")
    assert permits(window, head("AllergyIntolerance", "allergies", dated="1990"), TODAY)
    assert permits(window, head("Flag", "needs", dated="1990"), TODAY)
    assert permits(window, head("Condition", "problems", dated="1990", is_current=True), TODAY)
    assert permits(window, head("Observation", "results", dated="2024-01-01"), TODAY)
    assert not permits(window, head("Condition", "problems", dated="1990"), TODAY)
    allergies_only = Slice(current=False, categories=("allergies",), from_="2030")
    assert permits(allergies_only, head("AllergyIntolerance", "allergies", dated="1990"), TODAY)


def test_the_window_cuts_active_problems_when_current_is_not_shared() -> None:
    window = Slice(current=False, categories=("problems",), from_="2030")
    assert not permits(window, head("Condition", "problems", dated="1990", is_current=True), TODAY)


def test_sensitive_items_are_left_out_unless_every_class_is_ticked() -> None:
    two = head("Condition", "problems", is_current=True, sensitive=("hiv", "mental-health"))
    assert not permits(Slice(), two, TODAY)
    assert not permits(Slice(sensitive=("hiv",)), two, TODAY)
    assert permits(Slice(sensitive=("hiv", "mental-health")), two, TODAY)
    assert not permits(NOTHING, head("Condition", "problems", sensitive=("hiv",)), TODAY)


def test_what_was_added_is_shown_even_when_sensitive() -> None:
    added = Slice(current=False, add=("Condition/1",))
    assert permits(added, head("Condition", "problems", sensitive=("hiv",)), TODAY)
    assert permits(added, head("Condition"), TODAY)


def test_hiding_beats_everything_else() -> None:
    hidden = Slice(categories=CATEGORIES, conditions=("1",), add=("Condition/1",), hide=("Condition/1",))
    assert not permits(hidden, head("Condition", "problems", is_current=True), TODAY)


@pytest.mark.parametrize("resource_type", ["Consent", "Task", "Communication", "AuditEvent", "Provenance"])
def test_grants_corrections_and_the_log_are_never_named_by_a_slice(resource_type: str) -> None:
    shared = Slice(categories=CATEGORIES, add=(f"{resource_type}/1",))
    assert not permits(shared, head(resource_type, "problems", is_current=True), TODAY)


def test_supporting_items_are_not_named_by_a_slice() -> None:
    assert not permits(Slice(categories=CATEGORIES, add=("Organization/1",)), head("Organization"), TODAY)


def test_the_patient_always_belongs() -> None:
    assert permits(NOTHING, head("Patient", sensitive=("hiv",)), TODAY)


def test_a_condition_brings_what_refers_to_it() -> None:
    shared = Slice(current=False, conditions=("diabetes",), from_="2024")
    linked = (HeldReference("Encounter.diagnosis.condition", "Condition", "diabetes"),)
    other = (HeldReference("Encounter.diagnosis.condition", "Condition", "asthma"),)
    assert permits(shared, head("Encounter", "consultations", references=linked), TODAY)
    assert not permits(shared, head("Encounter", "consultations", references=linked, dated="2023"), TODAY)
    assert not permits(shared, head("Encounter", "consultations", references=other), TODAY)
    itself = msgspec.structs.replace(head("Condition", "problems", dated="1999"), logical_id="diabetes")
    assert permits(shared, itself, TODAY)
    secret = head("Encounter", "consultations", references=linked, sensitive=("hiv",))
    assert not permits(shared, secret, TODAY)


def test_a_year_before_a_leap_day_is_the_last_of_february() -> None:
    assert year_before(date(2024, 2, 29)) == date(2023, 2, 28)
    assert year_before(date(2024, 3, 1)) == date(2023, 3, 1)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", date(2024, 1, 1), date(2024, 12, 31)),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29)),
        ("2024-02-03", date(2024, 2, 3), date(2024, 2, 3)),
        ("2024-02-03T10:00:00+14:00", date(2024, 2, 3), date(2024, 2, 3)),
        ("2024-13", None, None),
        ("2023-02-29", None, None),
        ("0000", None, None),
        ("", None, None),
        ("24-01-01", None, None),
    ],
)
def test_a_partial_date_means_all_its_days(text: str, first: date | None, last: date | None) -> None:
    assert (first_day(text), last_day(text)) == (first, last)


def test_without_a_window_every_date_is_inside() -> None:
    assert is_inside_window(NOTHING, "")
