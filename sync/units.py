"""The units of a resource: the parts that are changed as one, and how two changes of a part are joined.

Only data: which members belong together, which lists are joined entry by entry and by which key, and in which
order a status moves. Everything not named here is one unit with its `_` sibling, and two different changes of
it clash.
"""

from enum import Enum
from typing import Any

from sync.values import JsonObject, in_one_form, is_object


class Joining(Enum):
    """What becomes of a unit that both sides changed in different ways."""

    CLASH = "clash"
    UNION = "union"
    KEYED = "keyed"
    FORWARD = "forward"
    NESTED = "nested"
    OURS = "ours"


CHOICES = (
    "value", "effective", "onset", "abatement", "occurrence", "performed", "deceased", "multipleBirth",
    "medication", "reported", "product",
)  # fmt: skip
"""Elements whose name goes on with a type: `valueQuantity` and `valueString` are one element, `value[x]`."""

TOGETHER = {"dataAbsentReason": "value[x]", "interpretation": "value[x]", "referenceRange": "value[x]"}
"""Elements that mean nothing without another: they are changed with it."""

JOININGS: dict[str, Joining] = {
    "note": Joining.UNION,
    "identifier": Joining.KEYED,
    "extension": Joining.KEYED,
    "modifierExtension": Joining.KEYED,
    "telecom": Joining.KEYED,
    "communication": Joining.KEYED,
    "status": Joining.FORWARD,
    "docStatus": Joining.FORWARD,
    "meta": Joining.NESTED,
    "meta.tag": Joining.UNION,
    "meta.security": Joining.UNION,
    "meta.profile": Joining.UNION,
    "meta.versionId": Joining.OURS,
    "meta.lastUpdated": Joining.OURS,
}
"""How each unit is joined; the rest clash. OURS is the server's own to set: no side changes it."""

ORDERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("Observation", "status"): (
        "unknown", "registered", "preliminary", "cancelled", "final", "amended", "corrected",
        "entered-in-error",
    ),
    ("QuestionnaireResponse", "status"): (
        "in-progress", "stopped", "completed", "amended", "entered-in-error",
    ),
    ("DocumentReference", "status"): ("current", "superseded", "entered-in-error"),
    ("DocumentReference", "docStatus"): ("preliminary", "final", "amended", "entered-in-error"),
}  # fmt: skip
"""The order in which a status moves, of the types a phone writes. Two changes are joined to the later one."""


def unit_of(member: str) -> str:
    """The unit a top-level member belongs to."""
    name = member.removeprefix("_")
    if name in TOGETHER:
        return TOGETHER[name]
    for stem in CHOICES:
        if name.startswith(stem) and name[len(stem) : len(stem) + 1].isupper():
            return f"{stem}[x]"
    return name


def units_of(resource: JsonObject) -> dict[str, JsonObject]:
    """The members of a resource by unit, in the order they stand."""
    units: dict[str, JsonObject] = {}
    for member, value in resource.items():
        units.setdefault(unit_of(member), {})[member] = value
    return units


def rank_of(resource_type: str, element: str, status: object) -> int | None:
    """How far a status is, None when its order is not known."""
    order = ORDERS.get((resource_type, element), ())
    return order.index(status) if isinstance(status, str) and status in order else None


def moves_back(resource_type: str, before: JsonObject, after: JsonObject) -> str | None:
    """The element whose status goes back between two versions, None when none does."""
    for known_type, element in ORDERS:
        if known_type == resource_type:
            old = rank_of(resource_type, element, before.get(element))
            new = rank_of(resource_type, element, after.get(element))
            if old is not None and new is not None and new < old:
                return element
    return None


def key_of(unit: str, entry: Any) -> bytes | None:
    """What an entry of a keyed list is known by, None when it cannot be told from others."""
    if not is_object(entry):
        return None
    key = [entry.get(name) for name in _KEYS[unit]]
    return None if key[-1] is None else in_one_form(key)


_KEYS: dict[str, tuple[str, ...]] = {
    "identifier": ("system", "value"),
    "extension": ("url",),
    "modifierExtension": ("url",),
    "telecom": ("system", "value"),
    "communication": ("language",),
}
