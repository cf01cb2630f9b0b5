"""Whose extract it is: NHS number (or an alias on the link), birth date and every subject must agree.

Pure (THREATS rule 21, T5). Never decided on a name. One disagreement holds the whole extract.
"""

from enum import Enum
from urllib.parse import unquote

import msgspec

from fhir_profiles.identifiers import is_nhs_number
from server.intake.facts import (
    NHS_NUMBER_SYSTEM,
    Identifier,
    PatientFacts,
    PersonClaims,
    SubjectClaim,
)


class NamedByNumber(msgspec.Struct, frozen=True):
    """The extract gives one valid NHS number."""

    nhs_number: str


class NamedByAlias(msgspec.Struct, frozen=True):
    """The extract gives no NHS number; one of these may be an alias accepted on a link."""

    identifiers: tuple[Identifier, ...]


class KnownPerson(msgspec.Struct, frozen=True, kw_only=True):
    """The record's own person, and the aliases this organisation may use for them."""

    patient_id: str
    nhs_number: str | None
    birth_date: str | None
    aliases: tuple[Identifier, ...] = ()


class Disagreement(Enum):
    """Why an extract is held. Kept for us; the sender sees one face for all of them."""

    NO_ONE_NAMED = "no-one-named"
    NO_LINK = "no-link"
    NUMBER = "number"
    BIRTH_DATE = "birth-date"
    SUBJECT = "subject"


def named_person(claims: PersonClaims) -> NamedByNumber | NamedByAlias | None:
    """How to look the person up, or None when the extract names nobody, several people, or a bad number."""
    numbers = _numbers_stated(claims)
    if not claims.patients or len(numbers) > 1 or not all(is_nhs_number(number) for number in numbers):
        return None
    for number in numbers:
        return NamedByNumber(number)
    identifiers = tuple(dict.fromkeys(name for patient in claims.patients for name in patient.identifiers))
    return NamedByAlias(identifiers) if identifiers else None


def disagreement(claims: PersonClaims, person: KnownPerson) -> Disagreement | None:
    """The first thing in the extract that does not agree with the record's person, or None."""
    if not claims.patients:
        return Disagreement.NO_ONE_NAMED
    for patient in claims.patients:
        if not _identifies(patient, person):
            return Disagreement.NUMBER
        if not person.birth_date or patient.birth_date != person.birth_date:
            return Disagreement.BIRTH_DATE
    names = frozenset(name for patient in claims.patients for name in patient.names)
    if not all(_agrees(subject, names, person) for subject in claims.subjects):
        return Disagreement.SUBJECT
    return None


def _numbers_stated(claims: PersonClaims) -> frozenset[str]:
    inside = [subject.contained for subject in claims.subjects if subject.contained is not None]
    stated = [number for patient in (*claims.patients, *inside) for number in patient.nhs_numbers]
    return frozenset(stated).union(*(subject.nhs_numbers for subject in claims.subjects))


def _identifies(patient: PatientFacts, person: KnownPerson) -> bool:
    if patient.nhs_numbers:
        return all(number == person.nhs_number for number in patient.nhs_numbers)
    return any(identifier in person.aliases for identifier in patient.identifiers)


def _agrees(subject: SubjectClaim, names: frozenset[str], person: KnownPerson) -> bool:
    if not subject.is_person:
        return True
    if any(number != person.nhs_number for number in subject.nhs_numbers):
        return False
    if subject.contained is not None:
        stated = subject.contained
        return _identifies(stated, person) and stated.birth_date in {"", person.birth_date}
    if not subject.reference:
        return bool(subject.nhs_numbers)
    return subject.reference in names or _conditional_identifier(subject.reference) in _identifiers(person)


def _identifiers(person: KnownPerson) -> tuple[Identifier, ...]:
    number = ((NHS_NUMBER_SYSTEM, person.nhs_number),) if person.nhs_number else ()
    return (*number, *person.aliases)


def _conditional_identifier(reference: str) -> Identifier | None:
    """(system, value) of `Patient?identifier=system|value`, the one conditional reference we follow."""
    query = reference.partition("Patient?identifier=")[2]
    system, _, value = unquote(query).partition("|")
    return (system, value) if system and value and "&" not in query else None
