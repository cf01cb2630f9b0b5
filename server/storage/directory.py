"""Who has which record, who people are, and which clients and organisations are registered.

The shared directory tables are reached through these functions alone, by exact key, in a transaction of their
own (DESIGN wall 1). A feature's own directory tables have a module named for the feature.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import SQLModel, col

from server.storage.directory_tables import (
    ClientRow,
    NhsNumberRecordRow,
    OrganisationRow,
    PersonRow,
    SubjectRecordRow,
)
from server.storage.session import DirectoryReads, DirectorySession

MAC_BYTES = 16
# The operator's list of organisations is offered to citizens whole.
ORGANISATIONS_MAX = 20_000


# Asked on every request of an owner, so that they are put together once.
_PERSON = sa.select(col(PersonRow.sealed)).where(col(PersonRow.subject_mac) == sa.bindparam("subject_mac"))
_RECORD_OF_SUBJECT = sa.select(col(SubjectRecordRow.record_id)).where(
    col(SubjectRecordRow.subject_mac) == sa.bindparam("subject_mac")
)


def record_of_subject(session: DirectoryReads, subject: str) -> UUID | None:
    """The record of whoever signs in as this subject."""
    key = {"subject_mac": _mac(session, "subject", subject)}
    return session.execute(_RECORD_OF_SUBJECT, key).scalar_one_or_none()


def claim_subject(session: DirectorySession, subject: str, record_id: UUID) -> UUID:
    """The record this subject has from now on: `record_id`, or the one they had already."""
    key = {"subject_mac": _mac(session, "subject", subject)}
    _insert_if_absent(session, SubjectRecordRow, key, {"record_id": record_id})
    claimed = record_of_subject(session, subject)
    assert claimed is not None
    return claimed


def record_of_nhs_number(session: DirectoryReads, nhs_number: str) -> UUID | None:
    """The record of the person with this NHS number."""
    statement = sa.select(col(NhsNumberRecordRow.record_id)).where(
        col(NhsNumberRecordRow.nhs_number_mac) == _mac(session, "nhs-number", nhs_number)
    )
    return session.execute(statement).scalar_one_or_none()


def claim_nhs_number(session: DirectorySession, nhs_number: str, record_id: UUID) -> UUID:
    """The record this NHS number has from now on: `record_id`, or the one it had already."""
    key = {"nhs_number_mac": _mac(session, "nhs-number", nhs_number)}
    _insert_if_absent(session, NhsNumberRecordRow, key, {"record_id": record_id})
    claimed = record_of_nhs_number(session, nhs_number)
    assert claimed is not None
    return claimed


def count_people(session: DirectoryReads) -> int:
    """How many people have a record here."""
    return session.execute(sa.select(sa.func.count()).select_from(NhsNumberRecordRow)).scalar_one()


def person(session: DirectoryReads, subject: str) -> bytes | None:
    """What a sign-in provider last said of this subject."""
    mac = _mac(session, "person", subject)
    sealed = session.execute(_PERSON, {"subject_mac": mac}).scalar_one_or_none()
    return None if sealed is None else session.sealer.open("person", mac, 0, sealed)


def put_person(session: DirectorySession, subject: str, plain: bytes) -> None:
    """Keeps what a sign-in provider now says of this subject, sealed."""
    mac = _mac(session, "person", subject)
    _put(session, PersonRow, {"subject_mac": mac}, {"sealed": session.sealer.seal("person", mac, 0, plain)})


def client(session: DirectoryReads, client_id: str) -> bytes | None:
    """The registration of a client or integrator."""
    mac = _mac(session, "client", client_id)
    sealed = session.execute(
        sa.select(col(ClientRow.sealed)).where(col(ClientRow.client_mac) == mac)
    ).scalar()
    return None if sealed is None else session.sealer.open("client", mac, 0, sealed)


def put_client(session: DirectorySession, client_id: str, plain: bytes) -> None:
    """Registers a client or integrator, or replaces its registration."""
    mac = _mac(session, "client", client_id)
    _put(session, ClientRow, {"client_mac": mac}, {"sealed": session.sealer.seal("client", mac, 0, plain)})


def organisation(session: DirectoryReads, organisation_id: str) -> bytes | None:
    """What the operator registered of an organisation."""
    mac = _mac(session, "organisation", organisation_id)
    statement = sa.select(col(OrganisationRow.sealed)).where(col(OrganisationRow.organisation_mac) == mac)
    sealed = session.execute(statement).scalar()
    return None if sealed is None else session.sealer.open("organisation", mac, 0, sealed)


def put_organisation(session: DirectorySession, organisation_id: str, plain: bytes) -> None:
    """Registers an organisation a citizen may link, or replaces what was registered."""
    mac = _mac(session, "organisation", organisation_id)
    sealed = session.sealer.seal("organisation", mac, 0, plain)
    _put(session, OrganisationRow, {"organisation_mac": mac}, {"sealed": sealed})


def organisations(session: DirectoryReads) -> list[bytes]:
    """Every organisation the operator registered, in no order: the list a citizen picks from."""
    columns = (col(OrganisationRow.organisation_mac), col(OrganisationRow.sealed))
    rows = session.execute(sa.select(*columns).limit(ORGANISATIONS_MAX))
    return [session.sealer.open("organisation", mac, 0, sealed) for mac, sealed in rows]


def _mac(session: DirectoryReads, purpose: str, value: str) -> bytes:
    return session.sealer.mac(purpose, value, size=MAC_BYTES)


def _insert_if_absent(
    session: DirectorySession, row: type[SQLModel], key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """One statement, so that of two claims at once exactly one is kept."""
    statement = insert(row).values(**key, **values)
    session.execute(statement.on_conflict_do_nothing(index_elements=list(key)))


def _put(
    session: DirectorySession, row: type[SQLModel], key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    statement = insert(row).values(**key, **values)
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=dict(values)))
