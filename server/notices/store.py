"""The rows of notices, each sealed under its id."""

from collections.abc import Iterable
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.notices.notice import Notice
from server.notices.tables import NoticeRow
from server.storage.session import ReadSession, WriteSession

_PURPOSE = "notice"


def put(session: WriteSession, notice: Notice) -> None:
    """Enters a notice, or puts it in place of what it was."""
    statement = insert(NoticeRow).values(
        record_id=session.record_id,
        notice_id=notice.notice_id,
        sealed=session.sealer.seal_struct(_PURPOSE, notice.notice_id.bytes, 0, notice),
    )
    key = ["record_id", "notice_id"]
    changed = {"sealed": statement.excluded["sealed"]}
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


def notices(session: ReadSession, notice_ids: Iterable[UUID] | None = None) -> list[Notice]:
    """These notices, or every notice of the record; newest first."""
    statement = sa.select(col(NoticeRow.notice_id), col(NoticeRow.sealed)).where(
        col(NoticeRow.record_id) == session.record_id
    )
    if notice_ids is not None:
        statement = statement.where(col(NoticeRow.notice_id).in_(list(notice_ids)))
    found = [
        session.sealer.open_struct(_PURPOSE, notice_id.bytes, 0, sealed, Notice)
        for notice_id, sealed in session.execute(statement)
    ]
    return sorted(found, key=lambda each: (each.created_at, each.notice_id), reverse=True)
