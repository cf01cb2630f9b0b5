"""The R4 definitions in the shape validation walks along (r4.json, made by definitions/generate.py)."""

from functools import cache
from typing import Any

from fhir_profiles.definitions import read_json
from fhir_profiles.primitives import CHECKS, Check


class Field:
    """One element of a type. A choice element `value[x]` is one Field per type it can have.

    `check` is set for primitives. `codes` and `concepts` are what a required binding allows: the codes of a
    `code` element, and the (system, code) pairs.
    """

    __slots__ = ("check", "codes", "concepts", "group", "is_summary", "many", "name", "targets", "type_name")

    def __init__(self, name: str, kind: str, group: str, element: dict[str, Any]) -> None:
        self.name = name
        self.group = group
        self.type_name = kind
        self.check: Check | None = CHECKS.get(kind)
        self.many: bool = element.get("many", False)
        self.is_summary: bool = element.get("summary", False)
        self.targets: frozenset[str] = frozenset(element.get("targets", ()))
        self.codes: frozenset[str] | None = None
        self.concepts: frozenset[tuple[str, str]] | None = None
        if "codes" in element:
            self.concepts = _concepts(element["codes"])
            if kind == "code":
                self.codes = frozenset(code for _, code in self.concepts)


class TypeSpec:
    """A resource type, data type or backbone element: its fields by JSON name, and what must be there.

    `required` holds (element name, the JSON names any of which satisfies it).
    """

    __slots__ = ("fields", "name", "required")

    def __init__(self, name: str, elements: dict[str, dict[str, Any]]) -> None:
        self.name = name
        self.fields: dict[str, Field] = {}
        required: list[tuple[str, tuple[str, ...]]] = []
        for element_name, element in elements.items():
            fields = _fields(element_name, element)
            self.fields.update((field.name, field) for field in fields)
            if element.get("min"):
                required.append((element_name, tuple(field.name for field in fields)))
        if name in resource_types() and "id" in self.fields:
            self.fields["id"].check = CHECKS["id"]
        self.required = tuple(required)


def _fields(name: str, element: dict[str, Any]) -> list[Field]:
    if not name.endswith("[x]"):
        return [Field(name, element["kinds"][0], "", element)]
    stem = name.removesuffix("[x]")
    return [Field(stem + kind[0].upper() + kind[1:], kind, stem, element) for kind in element["kinds"]]


@cache
def _definitions() -> dict[str, Any]:
    return read_json("r4.json")


@cache
def _concepts(value_set: str) -> frozenset[tuple[str, str]]:
    systems = _definitions()["codes"][value_set]
    return frozenset((system, code) for system, codes in systems.items() for code in codes)


@cache
def resource_types() -> frozenset[str]:
    """The resource types whose definition we hold."""
    return frozenset(_definitions()["resources"])


@cache
def known_types() -> frozenset[str]:
    """Every resource type of R4."""
    return frozenset(code for _, code in _concepts("resource-types"))


@cache
def type_spec(name: str) -> TypeSpec | None:
    """The definition of a type, or None when we hold none of that name."""
    elements = _definitions()["types"].get(name)
    return TypeSpec(name, elements) if elements is not None else None
