"""The statements of the access log. Entries are added and read, never edited."""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from server.audit.entry import grant_key
from server.audit.tables import LogEntryRow, LogHeadRow
from server.storage.session import ReadSession, WriteSession


class StoredEntry(NamedTuple):
    """One entry as it stands in the table."""

    n: int
    sealed: bytes
    leaf: bytes
    root: bytes
    grant_key: bytes | None


class StoredHead(NamedTuple):
    """Where a log stands, and the newest checkpoint that was signed of it."""

    log_id: bytes
    size: int
    root: bytes
    note: str | None


_ENTRY_COLUMNS = (
    col(LogEntryRow.n),
    col(LogEntryRow.sealed),
    col(LogEntryRow.leaf),
    col(LogEntryRow.root),
    col(LogEntryRow.grant_key),
)
_HEAD_COLUMNS = (
    col(LogHeadRow.log_id),
    col(LogHeadRow.size),
    col(LogHeadRow.root),
    col(LogHeadRow.note),
)

# Asked on every call of a phone, so that it is put together once.
_ONE_HEAD = sa.select(*_HEAD_COLUMNS).where(col(LogHeadRow.record_id) == sa.bindparam("record_id"))


def read_head(session: ReadSession) -> StoredHead | None:
    """The head of the record's log."""
    row = session.execute(_ONE_HEAD, {"record_id": session.record_id}).first()
    return StoredHead(*row) if row else None


def read_sizes(session: ReadSession, after: int, limit: int) -> list[tuple[int, int]]:
    """The number and the sealed bytes of the entries numbered after `after`, in order."""
    statement = (
        sa.select(col(LogEntryRow.n), sa.func.length(col(LogEntryRow.sealed)))
        .where(col(LogEntryRow.record_id) == session.record_id, col(LogEntryRow.n) > after)
        .order_by(col(LogEntryRow.n))
        .limit(limit)
    )
    return [(n, size) for n, size in session.execute(statement)]


def read_entry(session: ReadSession, n: int) -> StoredEntry | None:
    """One entry by its number."""
    statement = sa.select(*_ENTRY_COLUMNS).where(
        col(LogEntryRow.record_id) == session.record_id, col(LogEntryRow.n) == n
    )
    row = session.execute(statement).first()
    return StoredEntry(*row) if row else None


def read_entries(session: ReadSession, after: int, limit: int) -> list[StoredEntry]:
    """The entries numbered after `after`, in order."""
    statement = (
        sa.select(*_ENTRY_COLUMNS)
        .where(col(LogEntryRow.record_id) == session.record_id, col(LogEntryRow.n) > after)
        .order_by(col(LogEntryRow.n))
        .limit(limit)
    )
    return [StoredEntry(*row) for row in session.execute(statement)]


def read_entries_of_grant(
    session: ReadSession, grant_id: UUID, after: int, limit: int | None
) -> list[StoredEntry]:
    """The entries about one grant numbered after `after`, in order; all of them when `limit` is None."""
    statement = (
        sa.select(*_ENTRY_COLUMNS)
        .where(
            col(LogEntryRow.record_id) == session.record_id,
            col(LogEntryRow.grant_key) == grant_key(session.sealer, grant_id),
            col(LogEntryRow.n) > after,
        )
        .order_by(col(LogEntryRow.n))
        .limit(limit)
    )
    return [StoredEntry(*row) for row in session.execute(statement)]


def keep_note(session: WriteSession, note: str) -> None:
    """Stores the newest signed checkpoint. The caller holds the log's lock."""
    statement = sa.update(LogHeadRow).where(col(LogHeadRow.record_id) == session.record_id)
    session.execute(statement.values(note=note))
