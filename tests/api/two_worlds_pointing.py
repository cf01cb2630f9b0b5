"""How items of two worlds refer to one another."""

from collections.abc import Sequence
from random import Random
from typing import Any

from tests.api.two_worlds_items import refers
from tests.extracts import Resource

# Where an item may name another, and which types may stand there.
PLACES: dict[str, dict[str, tuple[str, ...]]] = {
    "AllergyIntolerance": {"recorder": ("Practitioner",)},
    "Condition": {
        "encounter": ("Encounter",),
        "recorder": ("Practitioner", "PractitionerRole"),
        "evidence.detail": ("Observation", "DocumentReference"),
    },
    "DiagnosticReport": {
        "result": ("Observation",),
        "encounter": ("Encounter",),
        "performer": ("Practitioner", "Organization"),
    },
    "DocumentReference": {
        "author": ("Practitioner", "Organization"),
        "custodian": ("Organization",),
        "context.related": ("Observation", "Condition"),
    },
    "Encounter": {
        "participant.individual": ("Practitioner", "PractitionerRole"),
        "serviceProvider": ("Organization",),
        "reasonReference": ("Condition",),
        "diagnosis.condition": ("Condition",),
        "location.location": ("Location",),
    },
    "Immunization": {
        "performer.actor": ("Practitioner", "Organization"),
        "location": ("Location",),
        "reaction.detail": ("Observation",),
    },
    "List": {"entry.item": ("Condition", "Observation", "MedicationRequest"), "encounter": ("Encounter",)},
    "Location": {"managingOrganization": ("Organization",)},
    "Medication": {"manufacturer": ("Organization",)},
    "MedicationRequest": {
        "medicationReference": ("Medication",),
        "requester": ("Practitioner", "Organization"),
        "reasonReference": ("Condition", "Observation"),
        "encounter": ("Encounter",),
    },
    "MedicationStatement": {"reasonReference": ("Condition",), "context": ("Encounter",)},
    "Observation": {
        "encounter": ("Encounter",),
        "performer": ("Practitioner", "Organization"),
        "hasMember": ("Observation",),
        "derivedFrom": ("Observation", "DocumentReference"),
    },
    "Organization": {"partOf": ("Organization",)},
    "Practitioner": {},
    "PractitionerRole": {
        "practitioner": ("Practitioner",),
        "organization": ("Organization",),
        "location": ("Location",),
    },
    "Procedure": {
        "encounter": ("Encounter",),
        "reasonReference": ("Condition", "Observation"),
        "performer.actor": ("Practitioner",),
        "location": ("Location",),
    },
}
_MANY = frozenset(
    {
        "author",
        "derivedFrom",
        "diagnosis",
        "entry",
        "evidence",
        "hasMember",
        "participant",
        "reaction",
        "reasonReference",
        "result",
    }
)
_MANY_AT = frozenset(
    {"Encounter.location", "Immunization.performer", "PractitionerRole.location", "Procedure.performer"}
)
_MANY_PERFORMERS = frozenset({"DiagnosticReport", "Observation"})


def point(item: Resource, place: str, target: str, display: str) -> Resource:
    """The item with a reference at one of its places."""
    grown = dict(item)
    if place == "medicationReference":
        grown.pop("medicationCodeableConcept", None)
    name, _, rest = place.partition(".")
    value: Any = {rest: refers(target, display)} if rest else refers(target, display)
    if place in ("evidence.detail", "context.related"):
        value = {rest: [refers(target, display)]}
    if name == "reaction":
        value |= {"date": "2026-01-01"}
    if _is_list(str(item["resourceType"]), name):
        grown[name] = [*grown.get(name, ()), value]
    else:
        grown[name] = value
    return grown


def _is_list(resource_type: str, name: str) -> bool:
    return (
        name in _MANY
        or f"{resource_type}.{name}" in _MANY_AT
        or (name == "performer" and resource_type in _MANY_PERFORMERS)
    )


def pointing(item: Resource, rng: Random, names: Sequence[str], count: int) -> Resource:
    """The item with up to `count` references to some of these names, wherever they fit."""
    places = PLACES.get(str(item["resourceType"]), {})
    for _ in range(count):
        fits = [
            (place, name)
            for place, types in places.items()
            for name in names
            if name.partition("/")[0] in types
            and (place not in item or _is_list(str(item["resourceType"]), place))
        ]
        if fits:
            place, name = rng.choice(fits)
            item = point(item, place, name, f"named {name}")
    return item
