"""Reads JSON values whose shape nobody has promised: what is missing or of another kind counts as empty."""

from typing import Any, cast

Resource = dict[str, Any]


def elements_in(value: Any) -> list[Any]:
    """The elements of an array."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def objects_in(value: Any) -> list[Resource]:
    """The objects of an array."""
    return [cast("Resource", element) for element in elements_in(value) if isinstance(element, dict)]


def value_at(value: Any, *names: str) -> Any:
    """What stands at a path of property names, or None."""
    for name in names:
        value = cast("Resource", value).get(name) if isinstance(value, dict) else None
    return value


def codings_in(value: Any) -> list[tuple[str, str]]:
    """The (system, code) pairs of an array of Coding."""
    return [(str(coding.get("system", "")), str(coding.get("code", ""))) for coding in objects_in(value)]


def codes_of(concept: Any) -> set[str]:
    """The codes of a CodeableConcept, whatever their systems."""
    return {code for _, code in codings_in(value_at(concept, "coding")) if code}
