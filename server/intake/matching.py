"""Finds the record an extract is for: by the person it names, their link with the sender, and agreement."""

from typing import NamedTuple
from uuid import UUID

from server.intake import store
from server.intake.facts import PersonClaims
from server.intake.identify import (
    Disagreement,
    KnownPerson,
    NamedByAlias,
    NamedByNumber,
    disagreement,
    named_person,
)
from server.intake.organisations import Organisation
from server.intake.process import Whose
from server.records.service import Records
from server.storage import directory, directory_intake
from server.storage.engine import Storage
from server.storage.session import DirectoryReads, RecordUnknown


class Match(NamedTuple):
    """Whose extract it is, or why that could not be told."""

    whose: Whose | None
    because: Disagreement | None = None


async def match(storage: Storage, records: Records, sender: Organisation, claims: PersonClaims) -> Match:
    """The record this sender's extract is for, when everything in it agrees."""
    named = named_person(claims)
    if named is None:
        return Match(None, Disagreement.NO_ONE_NAMED)
    record_id = await storage.look_up(lambda session: _linked_record(session, sender.organisation, named))
    if record_id is None:
        return Match(None, Disagreement.NO_LINK)
    try:
        profile = await records.profile(record_id)
        link = await storage.read(record_id, lambda session: store.link(session, sender.organisation))
    except RecordUnknown:
        return Match(None, Disagreement.NO_LINK)
    if link is None or link.state != "accepted":
        return Match(None, Disagreement.NO_LINK)
    person = KnownPerson(
        patient_id=profile.patient_id,
        nhs_number=profile.nhs_number,
        birth_date=profile.birth_date,
        aliases=link.aliases,
    )
    because = disagreement(claims, person)
    if because is not None:
        return Match(None, because)
    return Match(whose(record_id, profile.patient_id, sender))


def whose(record_id: UUID, patient_id: str, sender: Organisation) -> Whose:
    """A sender's extract for a record."""
    return Whose(
        record_id=record_id,
        patient_id=patient_id,
        organisation=sender.organisation,
        organisation_name=sender.name,
    )


def _linked_record(
    session: DirectoryReads, organisation: str, named: NamedByNumber | NamedByAlias
) -> UUID | None:
    match named:
        case NamedByNumber(nhs_number):
            record_id = directory.record_of_nhs_number(session, nhs_number)
        case NamedByAlias(identifiers):
            found = directory_intake.records_of_aliases(session, organisation, identifiers)
            record_id = next(iter(found)) if len(found) == 1 else None
    if record_id is None or not directory_intake.is_linked(session, organisation, record_id):
        return None
    return record_id
