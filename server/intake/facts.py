"""What an extract says of itself: its entries' names, its Patients, and whom each item claims to be about.

Pure. Read once over the whole extract before anything is decided, keeping only small values.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec

NHS_NUMBER_SYSTEM: Final = "https://fhir.nhs.uk/Id/nhs-number"
# The elements by which FHIR R4 types say whose they are, whether we hold the type or not.
SUBJECT_ELEMENTS: Final = ("subject", "patient", "for", "beneficiary")

Identifier = tuple[str, str]
"""(system, value), both stated."""
Resource = Mapping[str, Any]


class EntryFacts(msgspec.Struct, frozen=True, gc=False):
    """How one entry can be named and referred to."""

    index: int
    resource_type: str
    source_id: str
    full_url: str
    identifiers: tuple[Identifier, ...]
    method: str = ""


class PatientFacts(msgspec.Struct, frozen=True):
    """A Patient as the extract describes them."""

    names: tuple[str, ...]
    nhs_numbers: tuple[str, ...]
    identifiers: tuple[Identifier, ...]
    birth_date: str


class SubjectClaim(msgspec.Struct, frozen=True):
    """One distinct way in which items say whose they are.

    `contained` is set when the reference is to a Patient inside the item. `is_person` is False when the
    reference names something that cannot be a person, such as a Device.
    """

    reference: str
    nhs_numbers: tuple[str, ...] = ()
    contained: PatientFacts | None = None
    is_person: bool = True


class PersonClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an extract says about whose it is."""

    patients: tuple[PatientFacts, ...]
    subjects: frozenset[SubjectClaim]


def entry_facts(index: int, resource: Resource, full_url: str, method: str = "") -> EntryFacts:
    """The names of one entry."""
    return EntryFacts(
        index=index,
        resource_type=text_of(resource.get("resourceType")),
        source_id=text_of(resource.get("id")),
        full_url=full_url,
        identifiers=identifiers_of(resource),
        method=method,
    )


def identifiers_of(resource: Resource) -> tuple[Identifier, ...]:
    """The identifiers that have a system and a value, in the order sent."""
    stated = (
        (text_of(identifier.get("system")), text_of(identifier.get("value")))
        for identifier in objects_of(resource.get("identifier"))
    )
    return tuple((system, value) for system, value in stated if system and value)


def patient_facts(patient: Resource, full_url: str = "") -> PatientFacts:
    """What a Patient resource says of the person, and the references that name it."""
    identifiers = identifiers_of(patient)
    source_id = text_of(patient.get("id"))
    names = [name for name in (full_url, f"Patient/{source_id}" if source_id else "") if name]
    return PatientFacts(
        names=tuple(names),
        nhs_numbers=tuple(value for system, value in identifiers if system == NHS_NUMBER_SYSTEM),
        identifiers=identifiers,
        birth_date=text_of(patient.get("birthDate")),
    )


def subject_claims(resource: Resource) -> Iterator[SubjectClaim]:
    """Whom the item, and each item contained in it, says it is about.

    A Patient inside is a claim whatever refers to it: it is served as the record's person.
    """
    inside = objects_of(resource.get("contained"))
    contained = {text_of(inner.get("id")): inner for inner in inside}
    # Not by id: of two that share one, neither may go unasked.
    for holder in (resource, *inside):
        if holder.get("resourceType") == "Patient":
            if holder is not resource:
                yield SubjectClaim(reference="#", contained=patient_facts(holder))
            continue
        for element in SUBJECT_ELEMENTS:
            for reference in objects_of(holder.get(element)):
                yield _claim(reference, contained)


def is_about_another_thing(resource: Resource, types: Mapping[str, str]) -> bool:
    """Whether the item's subject is not a person at all. `types` maps references of the extract to types."""
    return any(
        not claim.is_person or types.get(claim.reference, "Patient") != "Patient"
        for claim in subject_claims(resource)
    )


def objects_of(value: Any) -> list[Resource]:
    """The JSON objects of a value that may be absent, one or many."""
    many = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [cast("Resource", one) for one in many if isinstance(one, dict)]


def text_of(value: Any) -> str:
    """The string, or "" for anything else."""
    return value if isinstance(value, str) else ""


def _claim(reference: Resource, contained: Mapping[str, Resource]) -> SubjectClaim:
    text = unversioned(text_of(reference.get("reference")))
    numbers = tuple(value for system, value in identifiers_of(reference) if system == NHS_NUMBER_SYSTEM)
    if text.startswith("#"):
        inner = contained.get(text[1:])
        if inner is not None and inner.get("resourceType") == "Patient":
            return SubjectClaim(reference="#", nhs_numbers=numbers, contained=patient_facts(inner))
        return SubjectClaim(reference=text, nhs_numbers=numbers, is_person=inner is None)
    stated_type = reference_type(text) or text_of(reference.get("type"))
    return SubjectClaim(reference=text, nhs_numbers=numbers, is_person=stated_type in {"", "Patient"})


def unversioned(reference: str) -> str:
    """The reference without `/_history/n`."""
    return reference.split("/_history/", 1)[0]


def reference_type(reference: str) -> str:
    """The type a literal reference names, or "" when it does not say (`urn:uuid:`, nothing)."""
    if reference.startswith(("urn:", "#")):
        return ""
    if "?" in reference:
        return reference.split("?", 1)[0].rsplit("/", 1)[-1]
    segments = reference.rsplit("/", 2)
    return segments[-2] if len(segments) > 1 and segments[-2][:1].isupper() else ""
