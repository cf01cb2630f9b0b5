"""The laws of merging (SYNC 3.4, I12 and I13), for any three readings of a resource."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.merge import merge, with_mine
from sync.units import JOININGS, ORDERS, Joining, unit_of, units_of
from sync.values import apply_patch, in_one_form, is_list, make_patch, read_json, write_json

WORDS = st.sampled_from(["a", "b", "c"])
NUMBERS = st.sampled_from([b"1", b"1.0", b"1.00", b"2e3"]).map(read_json)
CODING = st.fixed_dictionaries({"code": WORDS}, optional={"system": WORDS, "display": WORDS})
NOTES = st.lists(st.fixed_dictionaries({"text": WORDS}, optional={"time": WORDS}), max_size=3)
POINTS = st.lists(
    st.fixed_dictionaries({"system": WORDS, "value": WORDS}, optional={"use": WORDS}), max_size=3
)
STATUSES = st.sampled_from([*ORDERS["Observation", "status"], "a word nobody knows"])
META = st.fixed_dictionaries(
    {},
    optional={
        "versionId": WORDS,
        "lastUpdated": WORDS,
        "source": WORDS,
        "tag": st.lists(CODING, max_size=2),
        "security": st.lists(CODING, max_size=2),
    },
)
RESOURCES = st.fixed_dictionaries(
    {"resourceType": st.just("Observation")},
    optional={
        "meta": META,
        "status": STATUSES,
        "_status": st.fixed_dictionaries({"id": WORDS}),
        "valueQuantity": st.fixed_dictionaries({"value": NUMBERS}),
        "valueString": WORDS,
        "dataAbsentReason": CODING,
        "interpretation": st.lists(CODING, max_size=2),
        "effectiveDateTime": WORDS,
        "effectivePeriod": st.fixed_dictionaries({"start": WORDS}),
        "note": NOTES,
        "identifier": POINTS,
        "telecom": POINTS,
        "extension": st.lists(st.fixed_dictionaries({"url": WORDS, "valueCode": WORDS}), max_size=3),
        "category": st.lists(CODING, max_size=2),
        "method": CODING,
    },
)


def same(one: Any, other: Any) -> bool:
    return in_one_form(bare(one)) == in_one_form(bare(other))


def bare(resource: dict[str, Any]) -> dict[str, Any]:
    """Without what the server sets itself."""
    meta = {
        name: value
        for name, value in resource.get("meta", {}).items()
        if name in ("source", "tag", "security")
    }
    rest = {name: value for name, value in resource.items() if name != "meta"}
    return rest | ({"meta": meta} if meta else {})


@given(RESOURCES, RESOURCES)
def test_who_changes_alone_is_taken_whole(base: dict[str, Any], mine: dict[str, Any]):
    merged = merge(base, mine, base)
    assert same(merged.resource, mine)
    assert merged.clashes == ()
    assert merged.changed == (not same(mine, base))


@given(RESOURCES, RESOURCES)
def test_the_same_change_on_both_sides_is_no_conflict(base: dict[str, Any], both: dict[str, Any]):
    merged = merge(base, both, both)
    assert merged.resource == both
    assert not merged.changed
    assert merged.clashes == ()


@given(RESOURCES, RESOURCES)
def test_nothing_changed_here_leaves_the_current_as_it_is(base: dict[str, Any], theirs: dict[str, Any]):
    merged = merge(base, base, theirs)
    assert write_json(merged.resource) == write_json(theirs)
    assert not merged.changed


@given(RESOURCES, RESOURCES, RESOURCES)
def test_merging_is_a_function_of_its_three_readings(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
):
    readings = [write_json(one) for one in (base, mine, theirs)]
    first = merge(base, mine, theirs)
    again = merge(*(read_json(one) for one in readings))
    assert write_json(first.resource) == write_json(again.resource)
    assert [clash.path for clash in first.clashes] == [clash.path for clash in again.clashes]
    assert [write_json(one) for one in (base, mine, theirs)] == readings


@given(RESOURCES, RESOURCES, RESOURCES)
def test_merging_once_more_changes_nothing(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
):
    once = merge(base, mine, theirs)
    if not once.clashes:
        again = merge(base, mine, once.resource)
        assert same(again.resource, once.resource)
        assert again.clashes == ()


@given(RESOURCES, RESOURCES, RESOURCES)
def test_both_sides_clash_over_the_same_units(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
):
    here, there = merge(base, mine, theirs), merge(base, theirs, mine)
    assert {clash.path for clash in here.clashes} == {clash.path for clash in there.clashes}


@given(RESOURCES, RESOURCES, RESOURCES)
def test_every_value_is_in_the_resource_or_in_a_clash(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
):
    """I13: whatever either side wrote and the other did not take away is still to be seen."""
    merged = merge(base, mine, theirs)
    clashing = {clash.path: clash for clash in merged.clashes}
    was, wrote = units_of(bare(base)), units_of(bare(mine))
    result, current = units_of(bare(merged.resource)), units_of(bare(theirs))
    for unit, members in wrote.items():
        if in_one_form(members) == in_one_form(was.get(unit, {})) or unit == "meta":
            continue
        if unit in clashing:
            assert in_one_form(clashing[unit].mine) == in_one_form(members)
            assert in_one_form(result.get(unit, {})) == in_one_form(current.get(unit, {}))
        elif JOININGS.get(unit) in (Joining.UNION, Joining.KEYED) and is_list(members.get(unit)):
            _assert_added_entries_stand(unit, was, members, result)
        elif JOININGS.get(unit) is Joining.FORWARD:
            assert _rank(result, unit) >= max(_rank(wrote, unit), _rank(current, unit)) or not current.get(
                unit
            )
        else:
            assert in_one_form(result[unit]) == in_one_form(members)


def _assert_added_entries_stand(unit: str, was: Any, members: Any, result: Any) -> None:
    before = {in_one_form(one) for one in was.get(unit, {}).get(unit, [])}
    now = {in_one_form(one) for one in result.get(unit, {}).get(unit, [])}
    assert {in_one_form(one) for one in members[unit]} - before <= now


def _rank(units: Any, unit: str) -> int:
    members = units.get(unit, {})
    order = ORDERS["Observation", unit]
    return order.index(members[unit]) if set(members) == {unit} and members[unit] in order else -1


@given(RESOURCES, RESOURCES, RESOURCES)
def test_taking_ones_own_side_of_every_clash_leaves_none_of_the_others(
    base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]
):
    merged = merge(base, mine, theirs)
    settled = units_of(bare(with_mine(merged)))
    wrote = units_of(bare(mine))
    for clash in merged.clashes:
        if not clash.path.startswith("meta."):
            assert in_one_form(settled.get(clash.path, {})) == in_one_form(wrote.get(clash.path, {}))


@given(RESOURCES, RESOURCES)
def test_a_patch_made_of_two_readings_leads_from_one_to_the_other(one: dict[str, Any], other: dict[str, Any]):
    assert in_one_form(apply_patch(one, make_patch(one, other))) == in_one_form(other)
    assert make_patch(one, one) == {}


@given(RESOURCES)
def test_every_member_belongs_to_one_unit(resource: dict[str, Any]):
    units = units_of(resource)
    assert sorted(name for members in units.values() for name in members) == sorted(resource)
    assert all(unit_of(name) == unit for unit, members in units.items() for name in members)
