"""The directory's rows for notices: which records hold a notice for a person who signs in."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.storage.directory_tables import NoticeForRow
from server.storage.session import DirectoryReads, DirectorySession


class KeptNotice(NamedTuple):
    """A notice, the record that keeps it, and the minute in which it was entered here."""

    notice_id: UUID
    record_id: UUID
    created_at: datetime


def put_notice(session: DirectorySession, recipient: str, notice_id: UUID, record_id: UUID) -> None:
    """Lets the person who signs in as `recipient` find a notice. Doing it again changes nothing."""
    row = {
        "recipient_mac": _mac(session, recipient),
        "notice_id": notice_id,
        "record_id": record_id,
        # The order of pages needs no more than the minute, and the directory keeps no more than it needs.
        "created_at": session.now.replace(second=0, microsecond=0),
    }
    key = ["recipient_mac", "notice_id"]
    session.execute(insert(NoticeForRow).values(row).on_conflict_do_nothing(index_elements=key))


def notices_of(
    session: DirectoryReads, recipient: str, *, after: KeptNotice | None, limit: int
) -> list[KeptNotice]:
    """The notices kept for this person, newest first: a page, which begins behind `after`."""
    created_at, notice_id = col(NoticeForRow.created_at), col(NoticeForRow.notice_id)
    statement = _notices(session, recipient)
    if after is not None:
        is_older = created_at < after.created_at
        statement = statement.where(
            sa.or_(is_older, sa.and_(created_at == after.created_at, notice_id < after.notice_id))
        )
    rows = session.execute(statement.order_by(created_at.desc(), notice_id.desc()).limit(limit))
    return [KeptNotice._make(row) for row in rows]


def notice_of(session: DirectoryReads, recipient: str, notice_id: UUID) -> KeptNotice | None:
    """One notice of this person; None when it is another's."""
    statement = _notices(session, recipient).where(col(NoticeForRow.notice_id) == notice_id)
    row = session.execute(statement).one_or_none()
    return None if row is None else KeptNotice._make(row)


def drop_notice(session: DirectorySession, recipient: str, notice_id: UUID) -> None:
    """Takes a notice away from this person."""
    session.execute(
        sa.delete(NoticeForRow).where(
            col(NoticeForRow.recipient_mac) == _mac(session, recipient),
            col(NoticeForRow.notice_id) == notice_id,
        )
    )


def _notices(session: DirectoryReads, recipient: str) -> sa.Select[UUID, UUID, datetime]:
    return sa.select(
        col(NoticeForRow.notice_id), col(NoticeForRow.record_id), col(NoticeForRow.created_at)
    ).where(col(NoticeForRow.recipient_mac) == _mac(session, recipient))


def _mac(session: DirectoryReads, recipient: str) -> bytes:
    return session.sealer.mac("notice-for", recipient)
