"""Items their source hides from the person. They are outside the feed and enter it only when released."""

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from fhir_profiles.heads import Head, decode_head
from server.storage.feed_rows import Body, FeedItem, seal_version
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import HiddenItemRow

# A hidden item is sealed for the hidden table alone: moved into the feed by hand, it does not open.
_HIDDEN = "hidden"


def put_hidden(session: WriteSession, items: Sequence[FeedItem]) -> list[int]:
    """Keeps items their source hides from the person, outside the feed. Answers each one's version there."""
    session.lock_record()
    numbers: list[int] = []
    for item in items:
        item_key = session.sealer.item_key(item.resource_type, item.logical_id)
        standing = _hidden_row(session, item_key)
        version = 1 if standing is None else standing.version + 1
        rendered = item.render(version, session.now)
        sealed = seal_version(session.sealer, item_key, version, rendered, kept_as=_HIDDEN)
        row = {"record_id": session.record_id, "item_key": item_key, "version": version, **sealed}
        statement = insert(HiddenItemRow).values(row)
        changed = {name: statement.excluded[name] for name in ("version", "head", "body")}
        session.execute(
            statement.on_conflict_do_update(index_elements=["record_id", "item_key"], set_=changed)
        )
        numbers.append(version)
    return numbers


def hidden(session: ReadSession, item_key: bytes) -> tuple[Head, Body] | None:
    """An item its source hides: for intake and for a release, never for a View."""
    row = _hidden_row(session, item_key)
    if row is None:
        return None
    head = decode_head(session.sealer.open(f"head/{_HIDDEN}", item_key, row.version, row.head))
    return head, Body(row.version, session.sealer.open(f"body/{_HIDDEN}", item_key, row.version, row.body))


def hidden_names(session: ReadSession) -> frozenset[tuple[str, str]]:
    """(resource_type, logical_id) of every item its source hides: for intake, never for a View."""
    rows = session.execute(
        sa.select(col(HiddenItemRow.item_key), col(HiddenItemRow.version), col(HiddenItemRow.head)).where(
            col(HiddenItemRow.record_id) == session.record_id
        )
    )
    purpose = f"head/{_HIDDEN}"
    opened = (
        decode_head(session.sealer.open(purpose, key, version, sealed)) for key, version, sealed in rows
    )
    return frozenset((head.resource_type, head.logical_id) for head in opened)


def drop_hidden(session: WriteSession, item_key: bytes) -> bool:
    """Forgets a hidden item, once it is released into the feed; False when there was none."""
    statement = sa.delete(HiddenItemRow).where(
        col(HiddenItemRow.record_id) == session.record_id, col(HiddenItemRow.item_key) == item_key
    )
    return session.execute(statement).rowcount == 1


class _Hidden(NamedTuple):
    version: int
    head: bytes
    body: bytes


def _hidden_row(session: ReadSession, item_key: bytes) -> _Hidden | None:
    table = HiddenItemRow
    row = session.execute(
        sa.select(col(table.version), col(table.head), col(table.body)).where(
            col(table.record_id) == session.record_id, col(table.item_key) == item_key
        )
    ).one_or_none()
    return None if row is None else _Hidden(*row)
