"""The directory's rows for corrections: the queue of Tasks that each organisation is asked to look at.

It tells where a Task is kept and when it last moved, never what it says.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.storage.directory_intake import organisation_mac
from server.storage.directory_tables import CorrectionTaskRow, OrganisationRow
from server.storage.session import DirectoryReads, DirectorySession

_STEP = timedelta(milliseconds=1)
# A Task that is about to move is set this far ahead until it has: a stop in between leaves it marked.
_AHEAD = timedelta(days=365_000)
MOVING_PER_READ = 200


class QueuedTask(NamedTuple):
    """A Task, the record that keeps it and the instant it moved in the queue."""

    task_id: UUID
    record_id: UUID
    moved_at: datetime


def put_task(
    session: DirectorySession, organisation: str, task_id: UUID, record_id: UUID, *, at: datetime
) -> datetime:
    """Moves a Task to the end of the organisation's queue. Answers its instant there, `at` or a little later.

    No two Tasks of an organisation have one instant, and none is placed before one that was read: whoever
    asks for what moved after the newest they have misses nothing.
    """
    mac = organisation_mac(session, organisation)
    locked = sa.select(col(OrganisationRow.organisation_mac)).where(
        col(OrganisationRow.organisation_mac) == mac
    )
    session.execute(locked.with_for_update())
    newest = sa.select(sa.func.max(col(CorrectionTaskRow.moved_at))).where(
        col(CorrectionTaskRow.organisation_mac) == mac, _has_moved(session)
    )
    last: datetime | None = session.execute(newest).scalar()
    moved_at = at if last is None or at > last else last + _STEP
    values = {"record_id": record_id, "moved_at": moved_at}
    statement = insert(CorrectionTaskRow).values(organisation_mac=mac, task_id=task_id, **values)
    key = ["organisation_mac", "task_id"]
    session.execute(statement.on_conflict_do_update(index_elements=key, set_=dict(values)))
    return moved_at


def tasks_of(
    session: DirectoryReads, organisation: str, since: datetime | None, limit: int
) -> list[QueuedTask]:
    """The organisation's Tasks that moved after `since`, oldest move first."""
    statement = _tasks(session, organisation).where(_has_moved(session))
    if since is not None:
        statement = statement.where(col(CorrectionTaskRow.moved_at) > since)
    rows = session.execute(statement.order_by(col(CorrectionTaskRow.moved_at)).limit(limit))
    return [QueuedTask._make(row) for row in rows]


def task_of(session: DirectoryReads, organisation: str, task_id: UUID) -> QueuedTask | None:
    """One Task of the organisation; None when it is another's."""
    found = _tasks(session, organisation).where(col(CorrectionTaskRow.task_id) == task_id)
    row = session.execute(found).one_or_none()
    return None if row is None else QueuedTask._make(row)


def begin_move(session: DirectorySession, organisation: str, task_id: UUID, record_id: UUID) -> bool:
    """Marks a Task as about to move, before its record is written; False when the id is another record's."""
    statement = insert(CorrectionTaskRow).values(
        organisation_mac=organisation_mac(session, organisation),
        task_id=task_id,
        record_id=record_id,
        moved_at=session.now + _AHEAD,
    )
    changed = statement.on_conflict_do_update(
        index_elements=["organisation_mac", "task_id"],
        set_={"moved_at": statement.excluded["moved_at"]},
        where=col(CorrectionTaskRow.record_id) == record_id,
    )
    return session.execute(changed).rowcount == 1


def moving_tasks(session: DirectoryReads, organisation: str) -> list[QueuedTask]:
    """The organisation's Tasks that are about to move, oldest mark first, each with when it was marked."""
    statement = _tasks(session, organisation).where(sa.not_(_has_moved(session)))
    rows = session.execute(statement.order_by(col(CorrectionTaskRow.moved_at)).limit(MOVING_PER_READ))
    return [QueuedTask(task_id, record_id, at - _AHEAD) for task_id, record_id, at in rows]


def drop_task(session: DirectorySession, organisation: str, task_id: UUID) -> None:
    """Takes a Task that was never made out of the queue; one that was made meanwhile stays."""
    session.execute(
        sa.delete(CorrectionTaskRow).where(
            col(CorrectionTaskRow.organisation_mac) == organisation_mac(session, organisation),
            col(CorrectionTaskRow.task_id) == task_id,
            sa.not_(_has_moved(session)),
        )
    )


def _has_moved(session: DirectoryReads) -> sa.ColumnElement[bool]:
    return col(CorrectionTaskRow.moved_at) < session.now + _AHEAD / 2


def _tasks(session: DirectoryReads, organisation: str) -> sa.Select[UUID, UUID, datetime]:
    return sa.select(
        col(CorrectionTaskRow.task_id), col(CorrectionTaskRow.record_id), col(CorrectionTaskRow.moved_at)
    ).where(col(CorrectionTaskRow.organisation_mac) == organisation_mac(session, organisation))
