"""The laws of wall 3: a View shows nothing of what is outside it (DESIGN section 2, THREATS f2)."""

import json
from datetime import date

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_profiles import parse, references
from fhir_profiles.closure import Visible, close
from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES, Head, encode_head
from fhir_profiles.labels_by_type import OWNER_ONLY_TYPES
from fhir_profiles.references import Key
from fhir_profiles.served import head_for_reader, head_of, render_for_reader, stamp
from fhir_profiles.slices import Slice

TODAY = date(2024, 6, 15)
EXAMPLES = 60
PLACES: dict[str, tuple[str, ...]] = {
    "AllergyIntolerance": ("recorder", "encounter"),
    "Condition": ("encounter", "evidence.detail", "extension.valueReference"),
    "Consent": ("sourceReference",),
    "DocumentReference": ("custodian", "author", "relatesTo.target", "context.encounter"),
    "Encounter": ("diagnosis.condition", "participant.individual", "serviceProvider", "partOf"),
    "List": ("entry.item", "source"),
    "Location": ("managingOrganization", "partOf"),
    "Medication": ("manufacturer", "modifierExtension.valueReference", "ingredient.itemReference"),
    "MedicationRequest": ("medicationReference", "requester", "encounter", "eventHistory", "reasonReference"),
    "Observation": (
        "hasMember",
        "performer",
        "encounter",
        "note.authorReference",
        "contained.performer.actor",
    ),
    "Organization": ("partOf", "extension.valueReference"),
    "Practitioner": ("qualification.issuer",),
    "PractitionerRole": ("practitioner", "organization", "location"),
    "Provenance": ("target", "target", "agent.who", "entity.what"),
}
ONE = frozenset(
    {
        "custodian",
        "encounter",
        "individual",
        "item",
        "manufacturer",
        "organization",
        "practitioner",
        "recorder",
    }
    | {"requester", "serviceProvider", "source", "sourceReference", "valueReference", "medicationReference"}
    | {
        "condition",
        "itemReference",
        "managingOrganization",
        "issuer",
        "authorReference",
        "actor",
        "who",
        "what",
    }
    | {"partOf", "context"}
)
NAMES = [f"{resource_type}/{letter}" for resource_type in PLACES for letter in "ab"]
TARGETS = [
    *NAMES,
    "Observation/absent",
    "http://elsewhere/Observation/1",
    "urn:uuid:0",
    "Observation/a/_history/2",
]
WORDS = ["", "", "", "", "hiv", "depression", "methadone"]

World = dict[str, dict]


@st.composite
def resources(draw: st.DrawFn, name: str) -> dict:
    """A resource of that name whose every part carries a marker telling where it came from."""
    resource_type, _, logical_id = name.partition("/")
    resource: dict = {"resourceType": resource_type, "id": logical_id}
    resource["code"] = {"text": f"~{name}~ {draw(st.sampled_from(WORDS))}"}
    resource["subject"] = {"reference": "Patient/p"}
    for place in PLACES[resource_type]:
        for target in draw(st.lists(st.sampled_from(TARGETS), max_size=2)):
            _put(
                resource,
                place.split("."),
                {"reference": target, "display": f"~{target.removesuffix('/_history/2')}~"},
            )
    if draw(st.booleans()):
        resource["telecom"] = [{"value": "~contact~"}]
    if draw(st.booleans()):
        resource["text"] = {"status": "generated", "div": "<div xmlns='http://www.w3.org/1999/xhtml'>x</div>"}
    resource["status"] = draw(st.sampled_from(["active", "completed"]))
    return resource


def _put(element: dict, path: list[str], reference: dict) -> None:
    name, rest = path[0], path[1:]
    value: dict = reference
    if rest:
        value = {}
        _put(value, rest, reference)
    if name == "contained":
        value |= {"resourceType": "Procedure", "id": "c"}
        element["partOf"] = [{"reference": "#c"}]
    if name in {"extension", "modifierExtension"}:
        value["url"] = "http://example.org/x"
    if name in ONE:
        element[name] = value
    else:
        element.setdefault(name, []).append(value)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=14, unique=True))
    return {name: draw(resources(name)) for name in names}


slices = st.builds(
    Slice,
    current=st.booleans(),
    categories=st.lists(st.sampled_from(CATEGORIES), max_size=6, unique=True).map(tuple),
    conditions=st.sampled_from([(), ("a",)]),
    add=st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
    hide=st.lists(st.sampled_from(NAMES), max_size=2, unique=True).map(tuple),
    sensitive=st.lists(st.sampled_from(SENSITIVE_CLASSES), max_size=2, unique=True).map(tuple),
)


PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"family": "Green"}],
    "telecom": [{"value": "~contact~"}],
}


class Told(msgspec.Struct):
    """All that a reader is told, and the View it is drawn from."""

    visible: Visible
    bodies: dict[Key, bytes]
    heads: dict[Key, bytes]


def stored(world: World, version: int = 1) -> dict[Key, tuple[Head, bytes]]:
    rows: dict[Key, tuple[Head, bytes]] = {}
    for resource in [PATIENT, *world.values()]:
        served = stamp(resource, resource["id"], version, f"2024-01-0{version}T00:00:00.000Z")
        head = head_of(
            served, version=version, last_updated=served["meta"]["lastUpdated"], source=("x", 0, 0)
        )
        rows[head.resource_type, head.logical_id] = (head, parse.encode(served))
    return rows


def tell(rows: dict[Key, tuple[Head, bytes]], shared: Slice) -> Told:
    visible = close({key: head for key, (head, _) in rows.items()}, shared, TODAY)
    cut = {key: visible.cut.get(key, frozenset()) for key in visible.kept}
    return Told(
        visible,
        {key: render_for_reader(rows[key][1], cut[key]) for key in visible.kept},
        {key: encode_head(head_for_reader(rows[key][0], cut[key])) for key in visible.kept},
    )


def key_of(name: str) -> Key:
    resource_type, _, logical_id = name.partition("/")
    return (resource_type, logical_id)


def world_without_newcomers(world: World, changed: World, shared: Slice) -> World:
    """The changed world, less the changed items that came into the View: those are not "outside"."""
    differing = {name for name in {*world, *changed} if world.get(name) != changed.get(name)}
    while True:
        kept = tell(stored(changed), shared).visible.kept
        newcomers = {name for name in differing if key_of(name) in kept}
        if not newcomers:
            return changed
        changed = {name: resource for name, resource in changed.items() if name not in newcomers}


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices, others=worlds(), data=st.data())
def test_changing_anything_outside_a_view_changes_no_byte_drawn_from_it(
    world: World, shared: Slice, others: World, data: st.DataObject
) -> None:
    before = tell(stored(world), shared)
    hidden = [name for name in NAMES if key_of(name) not in before.visible.kept]
    changed = {name: resource for name, resource in world.items() if name not in hidden}
    for name in hidden:
        match data.draw(st.sampled_from(["as it was", "gone", "another"])):
            case "as it was" if name in world:
                changed[name] = world[name]
            case "another" if name in others:
                changed[name] = others[name]
            case _:
                pass
    after = tell(stored(world_without_newcomers(world, changed, shared)), shared)
    assert after == before


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices)
def test_a_view_is_drawn_from_nothing_but_what_it_shows(world: World, shared: Slice) -> None:
    rows = stored(world)
    told = tell(rows, shared)
    assert tell({key: row for key, row in rows.items() if key in told.visible.kept}, shared) == told


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices)
def test_what_is_shown_names_nothing_that_is_not(world: World, shared: Slice) -> None:
    told = tell(stored(world), shared)
    for key, body in told.bodies.items():
        assert key[0] not in OWNER_ONLY_TYPES
        resource = json.loads(body)
        for reference in references.references_in(resource):
            assert (reference.resource_type, reference.logical_id) in told.visible.kept
        for name in TARGETS:
            if key_of(name) not in told.visible.kept:
                assert f"~{name}~" not in body.decode(), (key, name)
        if "contact" not in shared.categories:
            assert b"~contact~" not in body


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices)
def test_what_is_shown_carries_no_class_that_was_not_ticked(world: World, shared: Slice) -> None:
    rows = stored(world)
    kept = tell(rows, shared).visible.kept
    needed_by_added = {
        (reference.resource_type, reference.logical_id)
        for key, (head, _) in rows.items()
        if "/".join(key) in shared.add
        for reference in head.references
        if reference.is_needed
    }
    for key in kept - needed_by_added:
        if "/".join(key) not in shared.add:
            assert set(rows[key][0].labels.sensitive) <= set(shared.sensitive)
        assert "/".join(key) not in shared.hide


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices)
def test_provenance_is_shown_only_with_all_its_targets_shown_whole(world: World, shared: Slice) -> None:
    rows = stored(world)
    visible = tell(rows, shared).visible
    for key in visible.kept:
        for reference in rows[key][0].references:
            if reference.path == "Provenance.target":
                target = (reference.resource_type, reference.logical_id)
                assert target in visible.kept
                assert {kind for kind, _ in visible.cut.get(target, ())} <= {"Provenance"}


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices, name=st.sampled_from(NAMES))
def test_hiding_one_more_item_never_shows_more(world: World, shared: Slice, name: str) -> None:
    rows = stored(world)
    less = tell(rows, msgspec.structs.replace(shared, hide=(*shared.hide, name))).visible
    more = tell(rows, shared).visible
    assert less.kept <= more.kept
    assert key_of(name) not in less.kept
    for key in less.kept:
        assert more.cut.get(key, frozenset()) <= less.cut.get(key, frozenset())


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices, wider=slices)
def test_sharing_more_never_shows_less(world: World, shared: Slice, wider: Slice) -> None:
    rows = stored(world)
    both = msgspec.structs.replace(
        shared,
        current=shared.current or wider.current,
        categories=tuple({*shared.categories, *wider.categories}),
        conditions=shared.conditions or wider.conditions,
        add=tuple({*shared.add, *wider.add}),
        sensitive=tuple({*shared.sensitive, *wider.sensitive}),
    )
    assert tell(rows, shared).visible.kept <= tell(rows, both).visible.kept


@settings(max_examples=EXAMPLES, deadline=None)
@given(world=worlds(), shared=slices)
def test_a_new_version_that_differs_only_in_what_is_cut_shows_no_difference(
    world: World, shared: Slice
) -> None:
    # A reference to a chosen condition decides on the item itself, so it is not a hidden part of it.
    shared = msgspec.structs.replace(shared, conditions=())
    told = tell(stored(world), shared)
    outside = [
        target for target in TARGETS if key_of(target) not in told.visible.kept and "_history" not in target
    ]
    cut_names = {"/".join(key) for keys in told.visible.cut.values() for key in keys}

    def swapped(text: str) -> str | None:
        # Every reference that is cut is turned to something else outside the View, of no item at all.
        return "urn:uuid:9" if text in outside and (text in cut_names or ":" in text) else None

    rows = stored(world)
    later = stored(
        {name: references.rewrite(resource, swapped) for name, resource in world.items()}, version=2
    )
    for key in told.visible.cut.keys() - {("Patient", "p")}:
        rows[key] = later[key]
    again = tell(rows, shared)
    assert again.visible.kept == told.visible.kept
    assert again.bodies == told.bodies
    assert again.heads == told.heads
