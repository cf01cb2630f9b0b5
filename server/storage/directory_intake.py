"""The directory's rows for intake: links, the aliases accepted on them, and where extracts are kept.

Names of people and organisations stand here as keyed hashes only.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select, update

from server.storage.directory_tables import ExtractRecordRow, LinkAliasRow, LinkRow, OrganisationRow
from server.storage.session import DirectoryReads, DirectorySession

LINK_CHANGES_PER_PAGE = 200
UNFINISHED_PER_PAGE = 200


class LinkChange(NamedTuple):
    """The newest change of one record's link with an organisation."""

    record_id: UUID
    change: int
    accepted: bool


class KeptExtract(NamedTuple):
    """Where an extract is kept."""

    extract_id: UUID
    record_id: UUID
    is_finished: bool


def organisation_mac(session: DirectoryReads, organisation: str) -> bytes:
    """The key of an organisation by its ODS code."""
    return session.sealer.mac("organisation", organisation)


def extract_id_of_key(session: DirectoryReads, organisation: str, client_key: str) -> UUID:
    """The id of the extract an organisation sends under an Idempotency-Key: the same key, the same id."""
    return UUID(bytes=session.sealer.mac("extract-id", organisation, client_key), version=4)


def keep_extract(
    session: DirectorySession, extract_id: UUID, record_id: UUID, organisation: str, *, lease_seconds: int
) -> bool:
    """Notes where a new extract is kept and who is working on it; False when the id is taken."""
    row = {
        "extract_id": extract_id,
        "record_id": record_id,
        "organisation_mac": organisation_mac(session, organisation),
        "is_finished": False,
        "lease_until": _lease(session, lease_seconds),
    }
    statement = insert(ExtractRecordRow).values(row).on_conflict_do_nothing(index_elements=["extract_id"])
    return session.execute(statement).rowcount == 1


def kept_extract(session: DirectoryReads, extract_id: UUID) -> KeptExtract | None:
    """Where an extract is kept, whoever sent it."""
    return _kept(session, col(ExtractRecordRow.extract_id) == extract_id)


def extract_of_sender(session: DirectoryReads, extract_id: UUID, organisation: str) -> KeptExtract | None:
    """Where an extract is kept, for the organisation that sent it and nobody else."""
    return _kept(
        session,
        col(ExtractRecordRow.extract_id) == extract_id,
        col(ExtractRecordRow.organisation_mac) == organisation_mac(session, organisation),
    )


def unfinished(session: DirectoryReads) -> list[KeptExtract]:
    """Extracts that were accepted and that nobody is working on."""
    statement = (
        select(
            col(ExtractRecordRow.extract_id),
            col(ExtractRecordRow.record_id),
            col(ExtractRecordRow.is_finished),
        )
        .where(col(ExtractRecordRow.is_finished).is_(False), _is_free(session))
        .limit(UNFINISHED_PER_PAGE)
    )
    return [KeptExtract._make(row) for row in session.execute(statement)]


def take_lease(session: DirectorySession, extract_id: UUID, *, seconds: int) -> bool:
    """True to exactly one caller: it may work on the extract until the lease ends."""
    condition = (
        col(ExtractRecordRow.extract_id) == extract_id,
        col(ExtractRecordRow.is_finished).is_(False),
        _is_free(session),
    )
    statement = update(ExtractRecordRow).where(*condition).values(lease_until=_lease(session, seconds))
    return session.execute(statement).rowcount == 1


def renew_lease(session: DirectorySession, extract_id: UUID, *, seconds: int) -> None:
    """Goes on working on an extract; with no seconds, lets it go."""
    condition = col(ExtractRecordRow.extract_id) == extract_id
    session.execute(update(ExtractRecordRow).where(condition).values(lease_until=_lease(session, seconds)))


def free_all_leases(session: DirectorySession) -> None:
    """Lets every extract be taken up: for a start as the only process."""
    condition = col(ExtractRecordRow.is_finished).is_(False)
    session.execute(update(ExtractRecordRow).where(condition).values(lease_until=None))


def finish_extract(session: DirectorySession, extract_id: UUID) -> None:
    """Nothing is left to be done for this extract."""
    condition = col(ExtractRecordRow.extract_id) == extract_id
    session.execute(update(ExtractRecordRow).where(condition).values(is_finished=True, lease_until=None))


def forget_extract(session: DirectorySession, extract_id: UUID) -> None:
    """Drops an extract that was never acknowledged."""
    session.execute(delete(ExtractRecordRow).where(col(ExtractRecordRow.extract_id) == extract_id))


def set_link(session: DirectorySession, organisation: str, record_id: UUID, *, accepted: bool) -> None:
    """Opens or closes an organisation's way to a record, numbered after every earlier change of its links."""
    mac = organisation_mac(session, organisation)
    locked = select(col(OrganisationRow.organisation_mac)).where(col(OrganisationRow.organisation_mac) == mac)
    session.execute(locked.with_for_update())
    newest = select(sa.func.max(col(LinkRow.change))).where(col(LinkRow.organisation_mac) == mac)
    change = (session.execute(newest).scalar() or 0) + 1
    condition = (col(LinkRow.organisation_mac) == mac, col(LinkRow.record_id) == record_id)
    values = {"change": change, "accepted": accepted}
    if session.execute(update(LinkRow).where(*condition).values(values)).rowcount == 0:
        row = {"organisation_mac": mac, "record_id": record_id, **values}
        session.execute(sa.insert(LinkRow).values(row))


def is_linked(session: DirectoryReads, organisation: str, record_id: UUID) -> bool:
    """Whether the organisation may push to the record."""
    statement = select(col(LinkRow.change)).where(
        col(LinkRow.organisation_mac) == organisation_mac(session, organisation),
        col(LinkRow.record_id) == record_id,
        col(LinkRow.accepted).is_(True),
    )
    return session.execute(statement).first() is not None


def link_changes(session: DirectoryReads, organisation: str, after: int) -> list[LinkChange]:
    """The organisation's links that changed since, oldest change first."""
    statement = (
        select(col(LinkRow.record_id), col(LinkRow.change), col(LinkRow.accepted))
        .where(
            col(LinkRow.organisation_mac) == organisation_mac(session, organisation),
            col(LinkRow.change) > after,
        )
        .order_by(col(LinkRow.change))
        .limit(LINK_CHANGES_PER_PAGE)
    )
    return [LinkChange._make(row) for row in session.execute(statement)]


def put_alias(
    session: DirectorySession, organisation: str, system: str, value: str, *, record_id: UUID
) -> None:
    """Lets an identifier of the organisation's find the record."""
    alias_mac = _alias_mac(session, organisation, system, value)
    condition = col(LinkAliasRow.alias_mac) == alias_mac
    if session.execute(update(LinkAliasRow).where(condition).values(record_id=record_id)).rowcount == 0:
        session.execute(sa.insert(LinkAliasRow).values(alias_mac=alias_mac, record_id=record_id))


def records_of_aliases(
    session: DirectoryReads, organisation: str, identifiers: Iterable[tuple[str, str]]
) -> frozenset[UUID]:
    """The records that the organisation's identifiers find; more than one when they disagree."""
    macs = [_alias_mac(session, organisation, system, value) for system, value in identifiers]
    statement = select(col(LinkAliasRow.record_id)).where(col(LinkAliasRow.alias_mac).in_(macs))
    return frozenset(session.execute(statement).scalars())


def _alias_mac(session: DirectoryReads, organisation: str, system: str, value: str) -> bytes:
    return session.sealer.mac("link-alias", organisation, system, value)


def _kept(session: DirectoryReads, *condition: sa.ColumnElement[bool]) -> KeptExtract | None:
    columns = (
        col(ExtractRecordRow.extract_id),
        col(ExtractRecordRow.record_id),
        col(ExtractRecordRow.is_finished),
    )
    row = session.execute(select(*columns).where(*condition)).first()
    return KeptExtract._make(row) if row is not None else None


def _lease(session: DirectoryReads, seconds: int) -> datetime:
    return session.now + timedelta(seconds=seconds)


def _is_free(session: DirectoryReads) -> sa.ColumnElement[bool]:
    lease_until = col(ExtractRecordRow.lease_until)
    return sa.or_(lease_until.is_(None), lease_until <= session.now)
