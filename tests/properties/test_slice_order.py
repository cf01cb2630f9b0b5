"""One slice within another, and the slice within both, against what they show of any item on any day."""

from datetime import date
from itertools import pairwise

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_profiles.closure import close
from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES, Head, HeldReference, Labels
from fhir_profiles.slices import Slice, SliceTest, is_within, meet, permits, slice_problem

IDS = ("1", "2")
TYPES = ("Observation", "Condition", "MedicationRequest", "AllergyIntolerance", "Flag", "List")
NEVER_NAMED = ("Patient", "Practitioner", "Medication", "Provenance", "Consent")
NAMES = [f"{resource_type}/{one}" for resource_type in (*TYPES, "Practitioner", "Medication") for one in IDS]
SOME_CATEGORIES = ("medicines", "allergies", "problems", "results", "needs", "contact")
SOME_CLASSES = ("mental-health", "hiv")
DAYS = ("2022", "2023", "2023-05", "2023-05-31", "2023-06", "2023-06-15", "2024")
DATED = ("", "nonsense", *DAYS, "2023-06-15T23:30:00+01:00", "2021-12-31")
TODAYS = (date(2023, 6, 15), date(2024, 2, 29), date(2030, 1, 1))
EVERYTHING = Slice(categories=CATEGORIES)


def subsets(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True, max_size=3).map(tuple)


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    """A slice that may be asked for."""
    areas = st.one_of(subsets(SOME_CATEGORIES), st.just(CATEGORIES), st.just(SOME_CATEGORIES))
    add = draw(subsets(tuple(NAMES)))
    first, last = draw(st.sampled_from((None, *DAYS))), draw(st.sampled_from((None, *DAYS)))
    shared = Slice(
        current=draw(st.booleans()),
        categories=draw(areas),
        conditions=draw(subsets(IDS)),
        from_=first,
        to=last,
        add=add,
        hide=tuple(name for name in draw(subsets(tuple(NAMES))) if name not in add),
        sensitive=draw(st.one_of(subsets(SOME_CLASSES), st.just(SENSITIVE_CLASSES))),
    )
    if slice_problem(shared) is not None:
        shared = msgspec.structs.replace(shared, to=None)
    assert slice_problem(shared) is None
    return shared


@st.composite
def narrower_slices(draw: st.DrawFn) -> tuple[Slice, Slice]:
    """A slice, and one made from it by taking things away, as a person would."""
    wider = draw(slices())
    hide = (*wider.hide, *(n for n in draw(subsets(tuple(NAMES))) if n not in (*wider.add, *wider.hide)))
    narrower = msgspec.structs.replace(
        wider,
        current=wider.current and draw(st.booleans()),
        categories=tuple(name for name in wider.categories if draw(st.booleans())),
        conditions=tuple(name for name in wider.conditions if draw(st.booleans())),
        add=tuple(name for name in wider.add if draw(st.booleans())),
        sensitive=tuple(name for name in wider.sensitive if draw(st.booleans())),
        hide=hide,
    )
    return narrower, wider


@st.composite
def wider_than(draw: st.DrawFn, shared: Slice) -> Slice:
    """A slice made from another by letting more in."""
    has_all = draw(st.booleans())
    categories = CATEGORIES if has_all else tuple({*shared.categories, *draw(subsets(SOME_CATEGORIES))})
    return msgspec.structs.replace(
        shared,
        current=shared.current or draw(st.booleans()),
        categories=categories,
        conditions=tuple({*shared.conditions, *draw(subsets(IDS))}),
        from_=draw(st.sampled_from((None, shared.from_))),
        to=draw(st.sampled_from((None, shared.to))),
        add=tuple({*shared.add, *draw(subsets(tuple(NAMES)))} - set(shared.hide)),
        hide=tuple(name for name in shared.hide if draw(st.booleans())),
        sensitive=tuple({*shared.sensitive, *draw(subsets(SOME_CLASSES))}),
    )


@st.composite
def heads(draw: st.DrawFn) -> Head:
    """An item as served.py makes its head: what is current, and every Condition, has a category."""
    resource_type = draw(st.sampled_from((*TYPES, *NEVER_NAMED)))
    categories = draw(subsets(SOME_CATEGORIES)) if resource_type not in NEVER_NAMED else ()
    is_current = bool(categories) and draw(st.booleans())
    if resource_type == "Condition":
        categories = categories or ("problems",)
    conditions = draw(subsets(IDS))
    return Head(
        resource_type=resource_type,
        logical_id=draw(st.sampled_from(IDS)),
        version=1,
        last_updated="2024-06-01T00:00:00.000Z",
        labels=Labels(categories, draw(subsets(SOME_CLASSES))),
        rules_version=1,
        dated=draw(st.sampled_from(DATED)),
        is_current=is_current,
        references=tuple(HeldReference("problem", "Condition", one) for one in conditions),
        search={},
        content_hash=b"",
        title="",
        source=("extract", 0, 1),
    )


def shows_no_more(narrower: Slice, wider: Slice, items: list[Head], today: date) -> bool:
    """Whether a View through the first holds nothing that one through the second does not."""
    found = {(head.resource_type, head.logical_id): head for head in items}
    less, more = close(found, narrower, today), close(found, wider, today)
    is_cut_the_same = all(
        less.cut.get(key, frozenset()) >= more.cut.get(key, frozenset()) for key in less.kept
    )
    return less.kept <= more.kept and is_cut_the_same


@given(slices(), slices(), st.lists(heads(), max_size=6), st.sampled_from(TODAYS))
@settings(max_examples=300)
def test_the_meet_of_two_slices_shows_only_what_both_show(
    one: Slice, other: Slice, items: list[Head], today: date
) -> None:
    met = meet(one, other)
    for head in items:
        assert not permits(met, head, today) or (permits(one, head, today) and permits(other, head, today))
        keeps = [SliceTest(each, today).withholds_contact(head) for each in (met, one, other)]
        assert keeps[0] or not (keeps[1] or keeps[2])
    assert shows_no_more(met, one, items, today)
    assert shows_no_more(met, other, items, today)
    assert is_within(met, one)
    assert is_within(met, other)


@given(st.one_of(st.tuples(slices(), slices()), narrower_slices()), st.lists(heads(), max_size=6))
@settings(max_examples=300)
def test_a_slice_within_another_never_shows_more(pair: tuple[Slice, Slice], items: list[Head]) -> None:
    narrower, wider = pair
    if not is_within(narrower, wider):
        return
    for today in TODAYS:
        assert all(permits(wider, head, today) for head in items if permits(narrower, head, today))
        assert shows_no_more(narrower, wider, items, today)
    assert meet(narrower, wider) == narrower
    assert is_within(meet(wider, narrower), narrower)


@given(narrower_slices())
def test_taking_things_away_is_within(pair: tuple[Slice, Slice]) -> None:
    narrower, wider = pair
    assert is_within(narrower, wider)


@given(slices(), slices(), slices())
@settings(max_examples=250)
def test_to_be_within_is_an_order(one: Slice, two: Slice, three: Slice) -> None:
    assert is_within(one, one)
    for a, b, c in ((one, two, three), (meet(one, two), one, three), (meet(meet(one, two), three), one, two)):
        if is_within(a, b) and is_within(b, c):
            assert is_within(a, c)


@given(slices(), slices())
def test_the_meet_does_not_depend_on_who_came_first(one: Slice, other: Slice) -> None:
    there, back = meet(one, other), meet(other, one)
    assert is_within(there, back)
    assert is_within(back, there)
    assert meet(one, one) == one
    assert meet(there, one) == meet(there, other) == there


@given(st.data(), slices())
@settings(max_examples=250)
def test_whatever_is_within_both_is_within_their_meet(data: st.DataObject, shared: Slice) -> None:
    one, other = data.draw(wider_than(shared)), data.draw(wider_than(shared))
    assert is_within(shared, one)
    assert is_within(shared, other)
    assert is_within(shared, meet(one, other))


def test_everything_holds_a_condition_and_the_current_summary() -> None:
    diabetes = Slice(current=False, conditions=("1",), from_="2020")
    everything = msgspec.structs.replace(EVERYTHING, current=False)
    assert is_within(diabetes, everything)
    assert is_within(Slice(), everything)
    assert meet(everything, diabetes) == diabetes
    dated = msgspec.structs.replace(everything, from_="2010")
    assert not is_within(diabetes, dated)


def test_an_item_added_is_not_within_the_area_it_belongs_to() -> None:
    # It would be shown even once it is found to be sensitive.
    letter = Slice(current=False, add=("DocumentReference/1",))
    assert not is_within(letter, EVERYTHING)
    assert meet(letter, EVERYTHING).add == ()


def test_dates_are_compared_by_the_days_they_mean() -> None:
    def window(first: str | None, last: str | None) -> Slice:
        return Slice(current=False, categories=("results",), from_=first, to=last)

    for narrower, wider in pairwise(
        [window("2023-06-15", "2023-06-15"), window("2023-06", "2023-06"), window("2023", "2023-12-31")]
    ):
        assert is_within(narrower, wider)
        assert not is_within(wider, narrower)
    assert is_within(window("2023", "2023"), window("2023-01-01", "2023-12"))
    assert meet(window("2023", None), window(None, "2023-06")) == window("2023", "2023-06")
    assert not is_within(window(None, None), window("2023", None))


def test_dates_without_a_day_in_common_leave_what_dates_never_cut() -> None:
    early = Slice(categories=("allergies", "results"), conditions=("1",), to="2020")
    late = Slice(categories=("results", "allergies"), conditions=("1",), from_="2021")
    assert meet(early, late) == Slice(categories=("allergies",))
