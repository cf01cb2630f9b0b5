"""The resource types this service serves, and what it knows of each.

A further type is one more entry of `_TYPES` and its lines in definitions/search.csv.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, cast

import msgspec

from fhir_profiles.definitions import read_lines
from fhir_profiles.schema import Field, TypeSpec, type_spec

Kind = Literal["clinical", "supporting", "authored"]
SearchKind = Literal["token", "date", "reference", "string"]

SEARCH_PARAMETER = "http://hl7.org/fhir/SearchParameter/"


class SearchParam(msgspec.Struct, frozen=True):
    """A search parameter: what kind of value it has and the JSON paths (`a.b`) these come from.

    `targets` are the resource types a reference parameter may name, empty when any; `definition` is R4's URL.
    """

    kind: SearchKind
    paths: tuple[str, ...]
    targets: frozenset[str] = frozenset()
    definition: str = ""


class TypeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A resource type we serve.

    `kind`: clinical items carry a category (`None`: it depends on the content); supporting ones are visible
    when a visible item refers to them; authored ones are about the record itself.
    `dated_paths` are tried in order for the clinical date. `subject_path` names whose item it is, None when
    nobody's. `mandatory_references` are paths (`a.b`, choice elements with their type) at which an element
    that loses its reference is no longer valid.
    """

    name: str
    kind: Kind
    category: str | None
    search: Mapping[str, SearchParam]
    dated_paths: tuple[str, ...]
    subject_path: str | None
    mandatory_references: frozenset[str]


class _Known(msgspec.Struct, frozen=True):
    kind: Kind
    category: str | None
    subject_path: str | None
    dated: str = ""


_TYPES: dict[str, _Known] = {
    "Patient": _Known("supporting", None, None),
    "Practitioner": _Known("supporting", None, None),
    "PractitionerRole": _Known("supporting", None, None),
    "Organization": _Known("supporting", None, None),
    "Location": _Known("supporting", None, None),
    "Medication": _Known("supporting", None, None),
    "AllergyIntolerance": _Known(
        "clinical", "allergies", "patient", "onsetDateTime onsetPeriod recordedDate lastOccurrence"
    ),
    "Condition": _Known("clinical", "problems", "subject", "onsetDateTime onsetPeriod recordedDate"),
    "Observation": _Known(
        "clinical",
        "results",
        "subject",
        "effectiveDateTime effectivePeriod effectiveInstant effectiveTiming issued",
    ),
    "MedicationRequest": _Known("clinical", "medicines", "subject", "authoredOn"),
    "MedicationStatement": _Known(
        "clinical", "medicines", "subject", "effectiveDateTime effectivePeriod dateAsserted"
    ),
    "Immunization": _Known("clinical", "immunisations", "patient", "occurrenceDateTime recorded"),
    "Encounter": _Known("clinical", "consultations", "subject", "period"),
    "Procedure": _Known("clinical", "procedures", "subject", "performedDateTime performedPeriod"),
    "DiagnosticReport": _Known("clinical", "results", "subject", "effectiveDateTime effectivePeriod issued"),
    "DocumentReference": _Known("clinical", "documents", "subject", "date context.period"),
    "List": _Known("clinical", None, "subject", "date"),
    "Consent": _Known("authored", None, "patient", "dateTime"),
    "Provenance": _Known("authored", None, None, "occurredDateTime occurredPeriod recorded"),
    "Task": _Known("authored", None, "for", "authoredOn"),
    "Communication": _Known("authored", None, "subject", "sent received"),
}


def _catalogue() -> dict[str, TypeEntry]:
    search: dict[str, dict[str, SearchParam]] = {name: {} for name in _TYPES}
    for line in read_lines("search.csv"):
        resource_type, name, kind, paths, definition = line.split(",")
        param = _search_param(resource_type, name, kind, tuple(paths.split()))
        search[resource_type][name] = msgspec.structs.replace(param, definition=SEARCH_PARAMETER + definition)
    return {name: _entry(name, known, search[name]) for name, known in _TYPES.items()}


def _entry(name: str, known: _Known, search: dict[str, SearchParam]) -> TypeEntry:
    spec = type_spec(name)
    assert spec is not None
    return TypeEntry(
        name=name,
        kind=known.kind,
        category=known.category,
        search=MappingProxyType(search),
        dated_paths=tuple(known.dated.split()),
        subject_path=known.subject_path,
        mandatory_references=frozenset(_mandatory_references(spec, "")),
    )


def _search_param(resource_type: str, name: str, kind: str, paths: tuple[str, ...]) -> SearchParam:
    targets: frozenset[str] = frozenset()
    if name == "patient":
        targets = frozenset({"Patient"})
    elif kind == "reference":
        allowed = [field_at(resource_type, path).targets for path in paths]
        targets = frozenset[str]().union(*allowed) if all(allowed) else targets
    return SearchParam(cast("SearchKind", kind), paths, targets)


def field_at(resource_type: str, path: str) -> Field:
    """The definition of the element at a JSON path of a type; KeyError when there is none."""
    spec, field = type_spec(resource_type), None
    for step in path.split("."):
        if spec is None:
            raise KeyError(path)
        field = spec.fields[step]
        spec = type_spec(field.type_name)
    assert field is not None
    return field


def _mandatory_references(spec: TypeSpec, prefix: str) -> Iterator[str]:
    """References that their element cannot do without, of the type and of the backbone elements within it."""
    needed = {name for _, alternatives in spec.required for name in alternatives}
    for name, field in spec.fields.items():
        if field.type_name == "Reference" and name in needed:
            yield prefix + name
        if field.type_name.startswith(f"{spec.name}.") and (inner := type_spec(field.type_name)):
            yield from _mandatory_references(inner, f"{prefix}{name}.")


CATALOGUE: Mapping[str, TypeEntry] = MappingProxyType(_catalogue())
