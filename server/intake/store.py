"""Rows of one record's extracts and links, sealed with the record's key."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlmodel import col, select

from server.intake.facts import Identifier
from server.intake.tables import (
    ExtractPartRow,
    ExtractRow,
    ExtractVerdictsRow,
    OrganisationLinkRow,
    SourceNameRow,
)
from server.intake.wire import Counts, ItemVerdict, State
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import RecordOwned

PART_BYTES = 256 * 1024


class KeptExtractState(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one extract but its bytes and the verdicts on its entries.

    `held_because` is for us; the sender's report says the same for every reason.
    """

    organisation: str
    organisation_name: str
    state: State
    extent: str
    received_at: str
    fingerprint: bytes
    parts: int
    seen: int
    done: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)
    detail: str | None = None
    held_because: str | None = None


class KeptLink(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation the citizen lets push, and the identifiers it may use for the person."""

    organisation: str
    name: str
    state: Literal["accepted", "ended"]
    changed_at: str
    last_extract_at: str | None = None
    aliases: tuple[Identifier, ...] = ()


class _VerdictRun(msgspec.Struct, frozen=True):
    items: list[ItemVerdict]


class _SourceName(msgspec.Struct, frozen=True):
    resource_type: str
    logical_id: str


def extract(session: ReadSession, extract_id: UUID) -> KeptExtractState | None:
    """The extract's state, or None when it was never acknowledged."""
    sealed = _sealed(session, ExtractRow, col(ExtractRow.extract_id) == extract_id)
    if sealed is None:
        return None
    return session.sealer.open_struct("extract", extract_id.bytes, 0, sealed, KeptExtractState)


def put_extract(session: WriteSession, extract_id: UUID, state: KeptExtractState) -> None:
    """Writes the extract's state."""
    sealed = session.sealer.seal_struct("extract", extract_id.bytes, 0, state)
    _put(session, ExtractRow, {"extract_id": extract_id}, sealed)


def put_part(session: WriteSession, extract_id: UUID, part: int, plain: bytes) -> None:
    """Keeps one run of the bytes as they came."""
    assert len(plain) <= PART_BYTES
    sealed = session.sealer.seal("extract-part", extract_id.bytes, part, plain)
    _put(session, ExtractPartRow, {"extract_id": extract_id, "part": part}, sealed)


def part_bytes(session: ReadSession, extract_id: UUID, part: int) -> bytes:
    """One run of the bytes as they came; "" beyond the last."""
    condition = (col(ExtractPartRow.extract_id) == extract_id, col(ExtractPartRow.part) == part)
    sealed = _sealed(session, ExtractPartRow, *condition)
    return session.sealer.open("extract-part", extract_id.bytes, part, sealed) if sealed is not None else b""


def forget_parts(session: WriteSession, extract_id: UUID) -> None:
    """Drops the bytes of an extract that was never acknowledged."""
    statement = sa.delete(ExtractPartRow).where(
        col(ExtractPartRow.record_id) == session.record_id, col(ExtractPartRow.extract_id) == extract_id
    )
    session.execute(statement)


def put_verdicts(session: WriteSession, extract_id: UUID, run: int, verdicts: Sequence[ItemVerdict]) -> None:
    """Keeps what became of one run of entries."""
    sealed = session.sealer.seal_struct(
        "extract-verdicts", extract_id.bytes, run, _VerdictRun(list(verdicts))
    )
    _put(session, ExtractVerdictsRow, {"extract_id": extract_id, "run": run}, sealed)


def verdict_runs(session: ReadSession, extract_id: UUID, first: int, limit: int) -> list[list[ItemVerdict]]:
    """What became of the entries, run by run."""
    statement = (
        select(col(ExtractVerdictsRow.run), col(ExtractVerdictsRow.sealed))
        .where(
            col(ExtractVerdictsRow.record_id) == session.record_id,
            col(ExtractVerdictsRow.extract_id) == extract_id,
            col(ExtractVerdictsRow.run) >= first,
        )
        .order_by(col(ExtractVerdictsRow.run))
        .limit(limit)
    )
    return [
        session.sealer.open_struct("extract-verdicts", extract_id.bytes, run, sealed, _VerdictRun).items
        for run, sealed in session.execute(statement)
    ]


def forget_verdicts(session: WriteSession, extract_id: UUID) -> None:
    """Drops the verdicts, which are about to be made again."""
    statement = sa.delete(ExtractVerdictsRow).where(
        col(ExtractVerdictsRow.record_id) == session.record_id,
        col(ExtractVerdictsRow.extract_id) == extract_id,
    )
    session.execute(statement)


def link(session: ReadSession, organisation: str) -> KeptLink | None:
    """The citizen's link with an organisation, accepted or ended."""
    key = _organisation_key(session, organisation)
    sealed = _sealed(session, OrganisationLinkRow, col(OrganisationLinkRow.organisation_key) == key)
    return session.sealer.open_struct("link", key, 0, sealed, KeptLink) if sealed is not None else None


def links(session: ReadSession) -> list[KeptLink]:
    """All the citizen's links."""
    statement = select(col(OrganisationLinkRow.organisation_key), col(OrganisationLinkRow.sealed)).where(
        col(OrganisationLinkRow.record_id) == session.record_id
    )
    rows = session.execute(statement)
    return [session.sealer.open_struct("link", key, 0, sealed, KeptLink) for key, sealed in rows]


def put_link(session: WriteSession, kept: KeptLink) -> None:
    """Writes a link."""
    key = _organisation_key(session, kept.organisation)
    _put(
        session,
        OrganisationLinkRow,
        {"organisation_key": key},
        session.sealer.seal_struct("link", key, 0, kept),
    )


def is_link_accepted(session: ReadSession, organisation: str) -> bool:
    """Whether the citizen lets the organisation push now."""
    kept = link(session, organisation)
    return kept is not None and kept.state == "accepted"


def source_name(session: ReadSession, organisation: str, reference: str) -> tuple[str, str] | None:
    """The item an organisation calls `Type/id` though it is named by an identifier."""
    key = _source_name_key(session, organisation, reference)
    sealed = _sealed(session, SourceNameRow, col(SourceNameRow.name_key) == key)
    if sealed is None:
        return None
    opened = session.sealer.open_struct("source-name", key, 0, sealed, _SourceName)
    return opened.resource_type, opened.logical_id


def put_source_name(session: WriteSession, organisation: str, reference: str, name: tuple[str, str]) -> None:
    """Remembers the item an organisation calls `Type/id`."""
    key = _source_name_key(session, organisation, reference)
    _put(
        session,
        SourceNameRow,
        {"name_key": key},
        session.sealer.seal_struct("source-name", key, 0, _SourceName(*name)),
    )


def _organisation_key(session: ReadSession, organisation: str) -> bytes:
    return session.sealer.mac("link-organisation", organisation)


def _source_name_key(session: ReadSession, organisation: str, reference: str) -> bytes:
    return session.sealer.mac("source-name", organisation, reference)


def _sealed(
    session: ReadSession, table: type[RecordOwned], *condition: sa.ColumnElement[bool]
) -> bytes | None:
    columns = sa.inspect(table).columns
    statement = sa.select(columns["sealed"]).where(columns["record_id"] == session.record_id, *condition)
    return session.execute(statement).scalar()


def _put(session: WriteSession, table: type[RecordOwned], key: Mapping[str, Any], sealed: bytes) -> None:
    """Writes the row at this key, new or again."""
    columns = sa.inspect(table).columns
    whole_key = {"record_id": session.record_id, **key}
    condition = (columns[name] == value for name, value in whole_key.items())
    if session.execute(sa.update(table).where(*condition).values(sealed=sealed)).rowcount == 0:
        session.execute(sa.insert(table).values(**whole_key, sealed=sealed))
