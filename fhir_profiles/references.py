"""Finds, rewrites and cuts the references of a resource (https://hl7.org/fhir/R4/references.html).

A reference is an object whose `reference` is a string. Canonical, uri and url elements are not references and
are never touched. Paths are property names joined by dots, as in `MedicationRequest.medicationReference`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

from fhir_profiles.heads import HeldReference
from fhir_profiles.needed_elements import is_needed_element
from fhir_profiles.shapes import Resource

Key = tuple[str, str]

_RELATIVE = re.compile(r"([A-Z][A-Za-z]{0,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_NOWHERE: Key = ("", "")
# An element that holds nothing but these has no content of its own (FHIR invariant ele-1 and ext-1).
_HOLLOW = frozenset({"id"})
_HOLLOW_EXTENSION = frozenset({"id", "url"})


class Cut(msgspec.Struct, frozen=True):
    """A resource without some of its references. When `is_valid` is False it can no longer be shown."""

    resource: Resource
    was_cut: bool
    is_valid: bool


class _Gone:
    """What stands for an element that has been removed."""


_GONE = _Gone()


def target_of(text: str) -> Key:
    """The type and id a reference names in this record, or two empty strings when it cannot name any."""
    match = _RELATIVE.fullmatch(text)
    return (match[1], match[2]) if match else _NOWHERE


def references_in(resource: Resource) -> tuple[HeldReference, ...]:
    """Every literal reference at any depth, those of contained resources and extensions too."""
    found: list[tuple[str, str]] = []
    _collect(resource, str(resource.get("resourceType", "")), found)
    outward = [(path, text) for path, text in found if not text.startswith("#")]
    needed = _needed_paths(resource, [path for path, _ in outward])
    return tuple(
        HeldReference(f"{path}[{place}]" if _counts_alone(path) else path, *target_of(text), path in needed)
        for place, (path, text) in enumerate(outward)
    )


def rewrite(resource: Resource, new: Callable[[str], str | None]) -> Resource:
    """The resource with each literal reference replaced by what `new` answers; None leaves it as it is."""
    return cast("Resource", _rewritten(resource, new))


def without_displays(resource: Resource, tells: Callable[[str], bool]) -> Resource:
    """The resource without the display of each literal reference of which `tells` says so."""
    return cast("Resource", _without_displays(resource, tells))


def cut(resource: Resource, keep: Callable[[str, str], bool]) -> Cut:
    """The resource without the references whose target `keep` refuses.

    A reference that cannot name an item of this record is asked about as `keep("", "")`. With a reference
    goes all that cannot stand without it, contained resources nothing refers to any more, and narrative.
    """
    return _cut_where(resource, lambda _path, text: keep(*target_of(text)))


def _cut_where(resource: Resource, stays: Callable[[str, str], bool]) -> Cut:
    pruned, fallen = _prune_around_contained(resource, stays)
    if isinstance(pruned, _Gone):
        return Cut({}, was_cut=True, is_valid=False)
    if pruned is resource and not fallen:
        return Cut(resource, was_cut=False, is_valid=True)
    return Cut(without_narrative(_without_orphans(pruned)), was_cut=True, is_valid=True)


def _prune_around_contained(
    resource: Resource, stays: Callable[[str, str], bool]
) -> tuple[Resource | _Gone, set[str]]:
    """Prunes until no contained resource falls: one that falls takes the references to it along."""
    fallen: set[str] = set()
    while True:
        scissors = _Scissors(stays, fallen)
        pruned = scissors.prune_resource(resource)
        if scissors.fallen <= fallen:
            return pruned, fallen
        fallen = fallen | scissors.fallen


class _Scissors:
    """One pass over a resource; `fallen` gathers the ids of contained resources that cannot stand."""

    def __init__(self, stays: Callable[[str, str], bool], fallen: set[str]) -> None:
        self._stays = stays
        self._already_fallen = fallen
        self.fallen: set[str] = set()

    def prune_resource(self, resource: Resource) -> Resource | _Gone:
        return cast("Resource | _Gone", self._object(resource, str(resource.get("resourceType", ""))))

    def _prune(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return self._object(cast("Resource", value), path)
        if isinstance(value, list):
            return self._array(cast("list[Any]", value), path)
        return value

    def _object(self, element: Resource, path: str) -> Any:
        text = element.get("reference")
        if isinstance(text, str) and not self._may_stay(path, text):
            return _GONE
        changed: Resource = {}
        for name, child in element.items():
            if not isinstance(child, dict | list):
                continue
            pruned = self._prune_child(name, child, path)
            if pruned is _GONE and is_needed_element(path, name):
                return _GONE
            if pruned is not child:
                changed[name] = pruned
        return _rebuilt(element, changed, path) if changed else element

    def _prune_child(self, name: str, child: Any, path: str) -> Any:
        if name == "contained" and isinstance(child, list):
            return self._contained(cast("list[Any]", child), path)
        return self._prune(child, f"{path}.{name}")

    def _may_stay(self, path: str, text: str) -> bool:
        if text.startswith("#"):
            return text[1:] not in self._already_fallen
        return self._stays(path, text)

    def _array(self, elements: list[Any], path: str) -> Any:
        pruned = [self._prune(element, path) for element in elements]
        if all(new is old for new, old in zip(pruned, elements, strict=True)):
            return elements
        if _must_be_whole(path):
            return _GONE
        if path.rpartition(".")[2].startswith("_"):
            # The extensions of primitives stand at the same index as the primitives: gaps are kept as null.
            gaps = [None if element is _GONE else element for element in pruned]
            return gaps if any(gap is not None for gap in gaps) else _GONE
        return [element for element in pruned if element is not _GONE] or _GONE

    def _contained(self, resources: list[Any], path: str) -> Any:
        kept: list[Any] = []
        for resource in resources:
            pruned = self._prune(resource, f"{path}.contained({_type_of(resource)})")
            if pruned is _GONE:
                self.fallen.add(_id_of(resource))
            else:
                kept.append(pruned)
        unchanged = len(kept) == len(resources) and all(
            new is old for new, old in zip(kept, resources, strict=True)
        )
        if unchanged:
            return resources
        return kept or _GONE


def _must_be_whole(path: str) -> bool:
    """A modifier extension changes what its element means, so its element falls when any of it is cut."""
    return path.endswith(".modifierExtension") or ".modifierExtension." in path


def _rebuilt(element: Resource, changed: Resource, path: str) -> Any:
    if _must_be_whole(path):
        return _GONE
    rebuilt: Resource = {}
    for name, child in element.items():
        new = changed.get(name, child)
        if new is _GONE or changed.get(name.removeprefix("_")) is _GONE:
            continue
        rebuilt[name] = new
    hollow = _HOLLOW_EXTENSION if path.endswith(".extension") else _HOLLOW
    return rebuilt if rebuilt.keys() - hollow else _GONE


def without_narrative(resource: Resource) -> Resource:
    """The resource without any Narrative, at whatever depth it stands."""
    return cast("Resource", _without_narrative(resource))


def _without_narrative(value: Any) -> Any:
    if isinstance(value, dict):
        element = cast("Resource", value)
        return {
            name: _without_narrative(child) if isinstance(child, dict | list) else child
            for name, child in element.items()
            if not _is_narrative(child)
        }
    if isinstance(value, list):
        return [_without_narrative(child) for child in cast("list[Any]", value)]
    return value


def _is_narrative(value: Any) -> bool:
    return isinstance(value, dict) and "div" in value


def _without_orphans(resource: Resource) -> Resource:
    """Contained resources that nothing reaches from outside `contained` any more are removed."""
    contained = cast("list[Any]", resource.get("contained") or [])
    if not contained:
        return resource
    outside = {name: child for name, child in resource.items() if name != "contained"}
    reached = set(_local_ids(outside))
    waiting = list(reached)
    by_id = {_id_of(inner): inner for inner in contained}
    while waiting:
        for found in _local_ids(by_id.get(waiting.pop())):
            if found not in reached:
                reached.add(found)
                waiting.append(found)
    kept = [inner for inner in contained if _id_of(inner) in reached or _names_its_container(inner)]
    if len(kept) == len(contained):
        return resource
    return {**resource, "contained": kept} if kept else outside


def _names_its_container(inner: Any) -> bool:
    return "" in _local_ids(inner)


def _local_ids(value: Any) -> Iterator[str]:
    """The ids behind every `#id` string, canonicals too."""
    if isinstance(value, str):
        if value.startswith("#"):
            yield value[1:]
    elif isinstance(value, dict):
        for child in cast("Resource", value).values():
            yield from _local_ids(child)
    elif isinstance(value, list):
        for child in cast("list[Any]", value):
            yield from _local_ids(child)


def _collect(value: Any, path: str, found: list[tuple[str, str]]) -> None:
    if isinstance(value, list):
        for element in cast("list[Any]", value):
            _collect(element, path, found)
        return
    for name, child in cast("Resource", value).items():
        if name == "reference" and isinstance(child, str):
            found.append((path, child))
        elif name == "contained" and isinstance(child, list):
            for inner in cast("list[Any]", child):
                _collect(inner, f"{path}.contained({_type_of(inner)})", found)
        elif isinstance(child, dict):
            _collect(child, f"{path}.{name}", found)
        elif isinstance(child, list):
            _collect_array(cast("list[Any]", child), f"{path}.{name}", found)


def _collect_array(elements: list[Any], path: str, found: list[tuple[str, str]]) -> None:
    for element in elements:
        if isinstance(element, dict | list):
            _collect(element, path, found)


def _needed_paths(resource: Resource, paths: list[str]) -> set[str]:
    """The paths whose references the resource needs.

    A reference in a contained resource or a modifier extension may bring down what others would not, so each
    of them counts alone and is needed unless the resource stands without all of them: rather too little is
    shown than something that cannot stand.
    """
    candidates = {path for path in paths if _could_be_needed(path)}
    alone = {path for path in candidates if _counts_alone(path)}
    needed = {path for path in candidates - alone if _falls_without(resource, {path})}
    if not alone:
        return needed
    is_one_of_several = any(paths.count(path) > 1 for path in needed)
    if is_one_of_several or _falls_without(resource, candidates - needed):
        return needed | alone
    return needed


def _falls_without(resource: Resource, gone: set[str]) -> bool:
    """Whether the resource falls when every reference at these paths has been cut.

    Found by cutting them where the rest of the resource matters: another agent of a Provenance that is named
    by display alone keeps it standing.
    """
    if any(isinstance(resource.get(path.partition(".")[2]), dict) for path in gone):
        return True
    return not _cut_where(resource, lambda at, _text: at not in gone).is_valid


def _could_be_needed(path: str) -> bool:
    parent, _, name = path.rpartition(".")
    return is_needed_element(parent, name) or ".modifierExtension" in path


def _counts_alone(path: str) -> bool:
    return ".contained(" in path or ".modifierExtension" in path


def _rewritten(value: Any, new: Callable[[str], str | None]) -> Any:
    if isinstance(value, dict):
        element = {name: _rewritten(child, new) for name, child in cast("Resource", value).items()}
        text = element.get("reference")
        if isinstance(text, str) and (replacement := new(text)) is not None:
            element["reference"] = replacement
        return element
    if isinstance(value, list):
        return [_rewritten(child, new) for child in cast("list[Any]", value)]
    return value


def _without_displays(value: Any, tells: Callable[[str], bool]) -> Any:
    if isinstance(value, list):
        return [_without_displays(child, tells) for child in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    element = {name: _without_displays(child, tells) for name, child in cast("Resource", value).items()}
    text = element.get("reference")
    if isinstance(text, str) and tells(text):
        return {name: child for name, child in element.items() if name not in {"display", "_display"}}
    return element


def _type_of(value: Any) -> str:
    return str(cast("Resource", value).get("resourceType", "")) if isinstance(value, dict) else ""


def _id_of(value: Any) -> str:
    return str(cast("Resource", value).get("id", "")) if isinstance(value, dict) else ""
