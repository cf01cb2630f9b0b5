"""The feed: every item of a record is one row, numbered densely in commit order (DESIGN wall 2).

Only this module and feed_staging.py write items, their versions, hidden items and staged items. Heads and
bodies are sealed under their item key and version, so that a version moves to the history as it stands.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from fhir_profiles.heads import Head, decode_head
from server.storage.feed_rows import (
    ERASED,
    GONE,
    KEPT_AS,
    LIVE,
    WITHHELD,
    ItemErased,
    keep_versions,
    open_body,
    open_head,
    seal_version,
    write_rows,
)
from server.storage.feed_staging import (
    Published,
    StagedItem,
    Stale,
    discard_staged,
    publish_staged,
    stage,
)
from server.storage.hot import FeedRow
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import HiddenItemRow, ItemVersionRow

__all__ = [
    "ERASED",
    "GONE",
    "LIVE",
    "WITHHELD",
    "Body",
    "Current",
    "FeedChange",
    "FeedHead",
    "FeedItem",
    "ItemErased",
    "Published",
    "Render",
    "StagedItem",
    "Stale",
    "Stored",
    "bodies",
    "body",
    "changes",
    "current",
    "current_head",
    "currents",
    "discard_staged",
    "drop_hidden",
    "heads",
    "hidden",
    "hidden_names",
    "publish_staged",
    "put",
    "put_hidden",
    "stage",
    "version_body",
    "versions",
]

_MAY_BE_READ = (LIVE, GONE)
# A hidden item is sealed for the hidden table alone: moved into the feed by hand, it does not open.
_HIDDEN = "hidden"


Render = Callable[[int, datetime], tuple[Head, bytes]]
"""Makes an item's head and body once its version and instant are known."""


class FeedItem(msgspec.Struct, frozen=True):
    """A new version of an item, in the state it is to have."""

    resource_type: str
    logical_id: str
    render: Render
    state: int = LIVE


class Stored(msgspec.Struct, frozen=True):
    """What an item's new version was numbered."""

    version: int
    seq: int


class FeedHead(msgspec.Struct, frozen=True):
    """One item that can be read: its place in the feed and what is decided on."""

    seq: int
    item_key: bytes
    head: Head


class FeedChange(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the feed in any state. `batch` is shared by the rows of one extract; no body unless live."""

    seq: int
    item_key: bytes
    version: int
    state: int
    batch: int | None
    head: Head
    body: bytes


class Body(msgspec.Struct, frozen=True):
    """The served bytes of one version."""

    version: int
    body: bytes


class Current(msgspec.Struct, frozen=True):
    """Where an item stands, for a writer: its version, its state and its head."""

    version: int
    state: int
    head: Head


def put(session: WriteSession, items: Sequence[FeedItem]) -> list[Stored]:
    """Writes a new version of each item under the record's lock; ItemErased when one may not come back."""
    state = session.lock_record()
    if not items:
        return []
    keys = [session.sealer.item_key(item.resource_type, item.logical_id) for item in items]
    assert len(set(keys)) == len(keys), "One put holds one version of an item."
    standing = {row.item_key: row for row in session.hot.items(keys)}
    if any(row.state == ERASED for row in standing.values()):
        raise ItemErased
    rows: list[dict[str, Any]] = []
    stored: list[Stored] = []
    for seq, (item, key) in enumerate(zip(items, keys, strict=True), start=state.seq + 1):
        row = _next_row(session, item, key, standing=standing.get(key), kept_as=KEPT_AS[item.state])
        rows.append(row | {"seq": seq, "state": item.state, "batch": None})
        stored.append(Stored(row["version"], seq))
    keep_versions(session, standing.values())
    write_rows(session, rows, set(standing))
    session.hot.move_seq(state.seq + len(rows))
    return stored


def heads(session: ReadSession, after_seq: int, limit: int) -> list[FeedHead]:
    """The heads of the next `limit` live items, in order of `seq`; empty at the end."""
    sealer = session.sealer
    return [
        FeedHead(row.seq, row.item_key, open_head(sealer, row))
        for row in session.hot.heads_page(after_seq, limit)
    ]


def changes(session: ReadSession, after_seq: int, limit: int) -> list[FeedChange]:
    """The next rows in whatever state, opened: what a phone pulls."""
    return [_change(session.sealer, row) for row in session.hot.feed_page(after_seq, limit)]


def body(session: ReadSession, item_key: bytes) -> Body | None:
    """The current served bytes of a live item."""
    row = session.hot.item(item_key)
    return _body(session.sealer, row) if row is not None and row.state == LIVE else None


def bodies(session: ReadSession, item_keys: Sequence[bytes]) -> dict[bytes, Body]:
    """The current served bytes of those of the items that are live."""
    rows = session.hot.items(item_keys)
    return {row.item_key: _body(session.sealer, row) for row in rows if row.state == LIVE}


def current_head(session: ReadSession, item_key: bytes) -> Head | None:
    """The head of a live item."""
    found = current(session, item_key)
    return found.head if found is not None and found.state == LIVE else None


def current(session: ReadSession, item_key: bytes) -> Current | None:
    """Where an item stands in any state, for a writer to decide on."""
    return currents(session, [item_key]).get(item_key)


def currents(session: ReadSession, item_keys: Sequence[bytes]) -> dict[bytes, Current]:
    """Where each of these items stands in any state; those that were never written are left out."""
    sealer = session.sealer
    return {
        row.item_key: Current(row.version, row.state, open_head(sealer, row))
        for row in session.hot.items(item_keys)
    }


def versions(session: ReadSession, item_key: bytes) -> list[Head]:
    """The heads of every readable version, oldest first; empty while the item is withheld or erased."""
    row = session.hot.item(item_key)
    if row is None or row.state not in _MAY_BE_READ:
        return []
    older = _older(session, item_key, col(ItemVersionRow.state).in_(_MAY_BE_READ))
    return [open_head(session.sealer, each) for each in (*older, row)]


def version_body(session: ReadSession, item_key: bytes, version: int) -> bytes | None:
    """The served bytes of one version; None when it is not there or not to be read."""
    row = session.hot.item(item_key)
    if row is None or row.state not in _MAY_BE_READ:
        return None
    asked_for = (
        [row] if row.version == version else _older(session, item_key, col(ItemVersionRow.version) == version)
    )
    live = [each for each in asked_for if each.state == LIVE]
    return open_body(session.sealer, live[0]) if live else None


def put_hidden(session: WriteSession, items: Sequence[FeedItem]) -> list[int]:
    """Keeps items their source hides from the person, outside the feed. Answers each one's version there."""
    session.lock_record()
    numbers: list[int] = []
    for item in items:
        item_key = session.sealer.item_key(item.resource_type, item.logical_id)
        row = _next_row(session, item, item_key, standing=_hidden_row(session, item_key), kept_as=_HIDDEN)
        statement = insert(HiddenItemRow).values(row)
        changed = {name: statement.excluded[name] for name in ("version", "head", "body")}
        session.execute(
            statement.on_conflict_do_update(index_elements=["record_id", "item_key"], set_=changed)
        )
        numbers.append(row["version"])
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


def _next_row(
    session: WriteSession,
    item: FeedItem,
    item_key: bytes,
    *,
    standing: FeedRow | _Hidden | None,
    kept_as: str,
) -> dict[str, Any]:
    version = 1 if standing is None else standing.version + 1
    rendered = item.render(version, session.now)
    key = {"record_id": session.record_id, "item_key": item_key, "version": version}
    return key | seal_version(session.sealer, item_key, version, rendered, kept_as=kept_as)


def _older(session: ReadSession, item_key: bytes, condition: sa.ColumnElement[bool]) -> list[FeedRow]:
    """Rows of the item's history, oldest first, in the shape of the feed's."""
    table = ItemVersionRow
    rows = session.execute(
        sa.select(col(table.version), col(table.state), col(table.head), col(table.body))
        .where(col(table.record_id) == session.record_id, col(table.item_key) == item_key, condition)
        .order_by(col(table.version))
    )
    return [FeedRow(0, item_key, version, state, None, head, body) for version, state, head, body in rows]


def _hidden_row(session: ReadSession, item_key: bytes) -> _Hidden | None:
    table = HiddenItemRow
    row = session.execute(
        sa.select(col(table.version), col(table.head), col(table.body)).where(
            col(table.record_id) == session.record_id, col(table.item_key) == item_key
        )
    ).one_or_none()
    return None if row is None else _Hidden(*row)


def _body(sealer: Sealer, row: FeedRow) -> Body:
    return Body(row.version, open_body(sealer, row))


def _change(sealer: Sealer, row: FeedRow) -> FeedChange:
    return FeedChange(
        seq=row.seq,
        item_key=row.item_key,
        version=row.version,
        state=row.state,
        batch=row.batch,
        head=open_head(sealer, row),
        body=open_body(sealer, row) if row.state == LIVE else b"",
    )
