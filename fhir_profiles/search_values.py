"""The values by which an item can be found; they are kept in its head.

Index forms: token `system|code`, date `lower/upper` (date_ranges.py), reference `Type/id`, string folded.
https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, cast

from fhir_profiles.catalogue import CATALOGUE, SearchParam, field_at
from fhir_profiles.date_ranges import HIGHEST, LOWEST, Range, range_of
from fhir_profiles.schema import Field
from fhir_profiles.search_match import matches, sorted_heads
from fhir_profiles.search_query import SearchQuery, SearchRefused, fold, parse_query

__all__ = ["SearchQuery", "SearchRefused", "matches", "parse_query", "sorted_heads", "values_of"]

# A head must stay small: an item found by more values than this is found by the first ones.
VALUES_MAX = 200
STRING_CHARACTERS_MAX = 120

Object = dict[str, Any]
Extract = Callable[[Any], Iterator[str]]

_LITERAL = re.compile(
    r"(?P<whole>(?:https?://\S+/)?(?P<name>[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}))(?:/_history/[A-Za-z0-9\-.]+)?\Z"
)
_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")


def values_of(resource: Object) -> dict[str, tuple[str, ...]]:
    """The index values of a valid resource by search parameter; parameters without a value are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for name, places in _places(resource["resourceType"]):
        values: dict[str, None] = {}
        for first, steps, extract in places:
            if (element := resource.get(first)) is not None:
                for each in _elements_at(element, steps):
                    values.update(dict.fromkeys(extract(each)))
        if values:
            found[name] = tuple(values)[:VALUES_MAX]
    return found


Places = tuple[tuple[str, tuple[str, ...], Extract], ...]
"""Where a parameter's values stand: the top element, the steps below it, and how a value is read there."""


@cache
def _places(resource_type: str) -> tuple[tuple[str, Places], ...]:
    """For each search parameter of a type, where its values stand and how they are read there."""
    return tuple(
        (name, _places_of(resource_type, param)) for name, param in CATALOGUE[resource_type].search.items()
    )


def _places_of(resource_type: str, param: SearchParam) -> Places:
    places: list[tuple[str, tuple[str, ...], Extract]] = []
    for path in param.paths:
        first, *steps = path.split(".")
        places.append((first, tuple(steps), _extract_for(param, field_at(resource_type, path))))
    return tuple(places)


def _extract_for(param: SearchParam, field: Field) -> Extract:
    if param.kind == "reference":
        return partial(_references, only="Patient" if param.targets == frozenset({"Patient"}) else "")
    if param.kind == "date":
        return {"Period": _periods, "Timing": _timings}.get(field.type_name, _dates)
    if param.kind == "string":
        return _names if field.type_name == "HumanName" else _strings
    if field.type_name == "code":
        return partial(_codes, systems={code: system for system, code in field.concepts or ()})
    return {"CodeableConcept": _concepts, "Coding": _codings, "Identifier": _identifiers}.get(
        field.type_name, _tokens
    )


def _elements_at(element: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if type(element) is list:
        for each in cast("list[Any]", element):
            yield from _elements_at(each, steps)
    elif not steps:
        yield element
    elif type(element) is dict:
        inner = cast("Object", element).get(steps[0])
        if inner is not None:
            yield from _elements_at(inner, steps[1:])


def _references(reference: Object, only: str) -> Iterator[str]:
    literal = reference.get("reference", "")
    found = _LITERAL.match(literal)
    if found is None:
        return
    if not only or found["name"].partition("/")[0] == only:
        yield found["whole"]


def _codings(coding: Object) -> Iterator[str]:
    if code := coding.get("code"):
        yield f"{coding.get('system', '')}|{code}"


def _concepts(concept: Object) -> Iterator[str]:
    for coding in concept.get("coding", ()):
        yield from _codings(coding)


def _identifiers(identifier: Object) -> Iterator[str]:
    if value := identifier.get("value"):
        yield f"{identifier.get('system', '')}|{value}"


def _codes(code: str, systems: dict[str, str]) -> Iterator[str]:
    yield f"{systems.get(code, '')}|{code}"


def _tokens(value: Any) -> Iterator[str]:
    if type(value) is bool:
        yield "|true" if value else "|false"
    elif type(value) is str:
        yield f"|{value}"


def _strings(text: Any) -> Iterator[str]:
    if type(text) is str and (folded := fold(text[:STRING_CHARACTERS_MAX])):
        yield folded


def _names(name: Object) -> Iterator[str]:
    for part in _NAME_PARTS:
        for text in _elements_at(name.get(part, []), ()):
            yield from _strings(text)


def _dates(text: Any) -> Iterator[str]:
    if type(text) is str and (bounds := range_of(text)):
        yield "/".join(bounds)


def _periods(period: Object) -> Iterator[str]:
    bounds = _period_range(period)
    if bounds != (LOWEST, HIGHEST):
        yield "/".join(bounds)


def _period_range(period: Object) -> Range:
    start, end = range_of(period.get("start", "")), range_of(period.get("end", ""))
    return (start[0] if start else LOWEST, end[1] if end else HIGHEST)


def _timings(timing: Object) -> Iterator[str]:
    """A timing counts as the span from its first event to its last, or as the bounds of its repetition."""
    events = [
        bounds for event in timing.get("event", ()) if type(event) is str and (bounds := range_of(event))
    ]
    if events:
        yield "/".join((min(start for start, _ in events), max(end for _, end in events)))
    elif bounds := timing.get("repeat", {}).get("boundsPeriod"):
        yield from _periods(bounds)
