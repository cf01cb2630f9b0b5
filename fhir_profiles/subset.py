"""The parts of a resource that `_elements` and `_summary` leave (https://hl7.org/fhir/R4/search.html#summary)."""

from functools import cache
from typing import Any, cast

from fhir_profiles.schema import type_spec
from fhir_profiles.search_query import SearchQuery

SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_ALWAYS = frozenset({"resourceType", "id", "meta"})


def is_subset(query: SearchQuery) -> bool:
    """Whether the answers to this query are to be cut down."""
    return bool(query.elements) or query.summary != "false"


def subset(resource: dict[str, Any], query: SearchQuery) -> dict[str, Any]:
    """The resource cut down as the query asks and tagged SUBSETTED; the resource itself when it asks nothing.

    Elements that must be there stay, so that the answer is still a resource of its type.
    """
    if not is_subset(query):
        return resource
    kept = _kept(resource["resourceType"], query.elements, query.summary)
    left = {name: value for name, value in resource.items() if name.removeprefix("_") in kept}
    meta = dict(cast("dict[str, Any]", left.get("meta", {})))
    meta["tag"] = [*meta.get("tag", []), SUBSETTED]
    return {**left, "meta": meta}


@cache
def _kept(resource_type: str, elements: tuple[str, ...], summary: str) -> frozenset[str]:
    spec = type_spec(resource_type)
    assert spec is not None
    required = {name for _, alternatives in spec.required for name in alternatives}
    if elements:
        return _ALWAYS | required | set(elements)
    if summary == "data":
        return frozenset(spec.fields.keys() - {"text"}) | _ALWAYS
    if summary == "text":
        return _ALWAYS | required | {"text"}
    return _ALWAYS | required | {name for name, field in spec.fields.items() if field.is_summary}
