"""Merges two changes of one resource, unit by unit, so that nothing anybody wrote is lost.

A pure function of three values. Equal changes are no conflict, changes of different units both stand, and two
different changes of one unit are joined where that is safe; otherwise they clash and the current value stays.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from sync.messages import Clash
from sync.units import JOININGS, Joining, key_of, rank_of, units_of
from sync.values import JsonObject, in_one_form, is_list, is_object

_SET_BY_US = tuple(name.removeprefix("meta.") for name, how in JOININGS.items() if how is Joining.OURS)


Key = Callable[[Any], bytes | None]


class Merged(msgspec.Struct, frozen=True):
    """The resource with both changes as far as they go together.

    `changed` is false when it is just the current one. Where `clashes` names a unit, the current value stands
    in the resource and the other is in the clash, whole.
    """

    resource: JsonObject
    changed: bool
    clashes: tuple[Clash, ...] = ()


class _Sides(NamedTuple):
    """Three readings of the same part: as it was, and as each side has it now."""

    base: JsonObject
    mine: JsonObject
    theirs: JsonObject


def merge(base: JsonObject, mine: JsonObject, theirs: JsonObject) -> Merged:
    """Joins what changed from `base` to `mine` with what changed from `base` to `theirs`, the current one.

    What the server sets itself, `meta.versionId` and `meta.lastUpdated`, is taken from `theirs`.
    """
    sides = _Sides(_without_stamps(base), _without_stamps(mine), _without_stamps(theirs))
    if _is_same(sides.mine, sides.theirs) or _is_same(sides.mine, sides.base):
        return Merged(theirs, changed=False)
    if _is_same(sides.theirs, sides.base):
        return Merged(_stamped(mine, theirs), changed=True)
    joined, clashes = _join_units(sides, str(theirs.get("resourceType", "")), prefix="")
    if _is_same(joined, sides.theirs):
        return Merged(theirs, changed=False, clashes=tuple(clashes))
    return Merged(_stamped(joined, theirs), changed=True, clashes=tuple(clashes))


def with_mine(merged: Merged) -> JsonObject:
    """The resource with the other side's own values where they clash."""
    resource = merged.resource
    for clash in merged.clashes:
        current: JsonObject = clash.theirs or {}
        own: JsonObject = clash.mine or {}
        outer, _, nested = clash.path.rpartition(".")
        if nested and outer:
            resource = resource | {outer: _exchanged(resource.get(outer, {}), current, own)}
        else:
            resource = _exchanged(resource, current, own)
    return resource


def _exchanged(members: JsonObject, current: JsonObject, own: JsonObject) -> JsonObject:
    return {name: value for name, value in members.items() if name not in current} | own


def _join_units(sides: _Sides, resource_type: str, *, prefix: str) -> tuple[JsonObject, list[Clash]]:
    base, mine, theirs = (units_of(side) for side in sides)
    joined: JsonObject = {}
    clashes: list[Clash] = []
    for unit in dict.fromkeys((*theirs, *mine)):
        parts = _Sides(base.get(unit, {}), mine.get(unit, {}), theirs.get(unit, {}))
        members, clash = _join(parts, resource_type, f"{prefix}{unit}")
        joined |= members
        clashes += clash
    return joined, clashes


def _join(parts: _Sides, resource_type: str, unit: str) -> tuple[JsonObject, list[Clash]]:
    """One unit, and where it could not be joined."""
    if _is_same(parts.mine, parts.theirs) or _is_same(parts.mine, parts.base):
        return parts.theirs, []
    if _is_same(parts.theirs, parts.base):
        return parts.mine, []
    match JOININGS.get(unit, Joining.CLASH):
        case Joining.UNION:
            joined = _join_lists(parts, unit, in_one_form)
        case Joining.KEYED:
            joined = _join_lists(parts, unit, partial(key_of, unit))
        case Joining.FORWARD:
            joined = _later(parts, resource_type, unit)
        case Joining.NESTED if all(_is_one_object(part, unit) for part in parts):
            inner = _Sides(*(part.get(unit, {}) for part in parts))
            members, clashes = _join_units(inner, resource_type, prefix=f"{unit}.")
            return ({unit: members} if members else {}), clashes
        case _:
            joined = None
    if joined is None:
        return parts.theirs, [_clash(unit, parts)]
    return joined, []


def _join_lists(parts: _Sides, unit: str, key: Key) -> JsonObject | None:
    """The list entry by entry, known by their keys; None when they cannot be joined."""
    name = unit.rpartition(".")[2]
    if any(set(part) - {name} or not is_list(part.get(name, [])) for part in parts):
        return None
    keyed = [_keyed(part.get(name, []), key, is_set=key is in_one_form) for part in parts]
    base, mine, theirs = keyed
    if base is None or mine is None or theirs is None:
        return None
    entries: list[Any] = []
    for entry_key in dict.fromkeys((*theirs, *mine)):
        was, is_mine, is_theirs = base.get(entry_key), mine.get(entry_key), theirs.get(entry_key)
        if _is_same(is_mine, was) or _is_same(is_mine, is_theirs):
            entry = is_theirs
        elif _is_same(is_theirs, was):
            entry = is_mine
        else:
            return None
        entries += [] if entry is None else [entry]
    return {name: entries} if entries else {}


def _keyed(entries: Sequence[Any], key: Key, *, is_set: bool) -> dict[bytes, Any] | None:
    """The entries by key; None when one has no key or two have the same and are not the same."""
    keyed: dict[bytes, Any] = {}
    for entry in entries:
        entry_key = key(entry)
        if entry_key is None or entry is None or (entry_key in keyed and not is_set):
            return None
        keyed[entry_key] = entry
    return keyed


def _later(parts: _Sides, resource_type: str, unit: str) -> JsonObject | None:
    """Whichever status is further on; None when that cannot be told."""
    if set(parts.mine) != {unit} or set(parts.theirs) != {unit}:
        return None
    mine = rank_of(resource_type, unit, parts.mine[unit])
    theirs = rank_of(resource_type, unit, parts.theirs[unit])
    if mine is None or theirs is None:
        return None
    return parts.mine if mine > theirs else parts.theirs


def _clash(unit: str, parts: _Sides) -> Clash:
    """The three readings of a unit, as objects of their members, None where it is absent."""
    return Clash(path=unit, base=parts.base or None, mine=parts.mine or None, theirs=parts.theirs or None)


def _is_one_object(part: JsonObject, unit: str) -> bool:
    return not set(part) - {unit} and is_object(part.get(unit, {}))


def _is_same(one: Any, other: Any) -> bool:
    return in_one_form(one) == in_one_form(other)


def _without_stamps(resource: JsonObject) -> JsonObject:
    meta = resource.get("meta")
    if not is_object(meta):
        return resource
    kept = {name: value for name, value in meta.items() if name not in _SET_BY_US}
    bare = resource | {"meta": kept}
    return bare if kept else {name: value for name, value in bare.items() if name != "meta"}


def _stamped(resource: JsonObject, theirs: JsonObject) -> JsonObject:
    """The resource with the server's own stamps, and in the order of members, that the current one has."""
    current = theirs.get("meta")
    stamps = {name: current[name] for name in _SET_BY_US if name in current} if is_object(current) else {}
    stamped = _without_stamps(resource)
    if stamps:
        stamped |= {"meta": stamps | stamped.get("meta", {})}
    return {name: stamped[name] for name in dict.fromkeys((*theirs, *stamped)) if name in stamped}
