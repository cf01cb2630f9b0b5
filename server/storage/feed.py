"""The feed: every item of a record is one row, numbered densely in commit order (DESIGN wall 2).

Only this module and feed_staging.py write items, their versions, hidden items and staged items. Heads and
bodies are sealed under their item key and version, so that a version moves to the history as it stands.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlmodel import col

from fhir_profiles.heads import Head
from server.storage.feed_digest import (
    Leaf,
    Standing,
    bucket_leaves,
    counted,
    digest_key,
    digest_state,
    ensure_digest,
    entry_columns,
    keep_digest,
    rebuild_digest,
    standing,
)
from server.storage.feed_hidden import drop_hidden, hidden, hidden_names, put_hidden
from server.storage.feed_rows import (
    ERASED,
    GONE,
    KEPT_AS,
    LIVE,
    WITHHELD,
    Body,
    FeedItem,
    ItemErased,
    Render,
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
from server.storage.hot import SEQ_MAX, FeedRow
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import ItemVersionRow

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
    "Leaf",
    "Published",
    "Render",
    "StagedItem",
    "Stale",
    "Standing",
    "Stored",
    "bodies",
    "body",
    "bucket_leaves",
    "changes",
    "current",
    "current_head",
    "currents",
    "digest_key",
    "digest_state",
    "discard_staged",
    "drop_hidden",
    "ensure_digest",
    "heads",
    "hidden",
    "hidden_names",
    "publish_staged",
    "put",
    "put_hidden",
    "rebuild_digest",
    "stage",
    "standing",
    "version_body",
    "versions",
]

_MAY_BE_READ = (LIVE, GONE)


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
    digest = ensure_digest(session)
    replaced = {row.item_key: row for row in session.hot.items(keys)}
    if any(row.state == ERASED for row in replaced.values()):
        raise ItemErased
    rows: list[dict[str, Any]] = []
    stored: list[Stored] = []
    for seq, (item, key) in enumerate(zip(items, keys, strict=True), start=state.seq + 1):
        row = _next_row(session, item, key, replaced.get(key))
        rows.append(row | {"seq": seq})
        stored.append(Stored(row["version"], seq))
    keep_versions(session, replaced.values())
    write_rows(session, rows, set(replaced))
    added = counted((row["bucket"], row["entry"]) for row in rows)
    removed = counted((row.bucket, row.entry) for row in replaced.values())
    digest.change(added, removed)
    keep_digest(session, digest)
    session.hot.move_seq(state.seq + len(rows))
    return stored


def heads(session: ReadSession, after_seq: int, limit: int) -> list[FeedHead]:
    """The heads of the next `limit` live items, in order of `seq`; empty at the end."""
    sealer = session.sealer
    return [
        FeedHead(row.seq, row.item_key, open_head(sealer, row))
        for row in session.hot.heads_page(after_seq, limit)
    ]


def changes(session: ReadSession, after_seq: int, limit: int, *, upto: int = SEQ_MAX) -> list[FeedChange]:
    """The next rows up to `upto` in whatever state, opened: what a phone pulls."""
    return [_change(session.sealer, row) for row in session.hot.feed_page(after_seq, limit, upto)]


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


def _next_row(
    session: WriteSession, item: FeedItem, item_key: bytes, standing: FeedRow | None
) -> dict[str, Any]:
    version = 1 if standing is None else standing.version + 1
    rendered = item.render(version, session.now)
    name = (item.resource_type, item.logical_id)
    return {
        "record_id": session.record_id,
        "item_key": item_key,
        "version": version,
        "state": item.state,
        "batch": None,
        **seal_version(session.sealer, item_key, version, rendered, kept_as=KEPT_AS[item.state]),
        **entry_columns(session.sealer, name, version, rendered[1], state=item.state),
    }


def _older(session: ReadSession, item_key: bytes, condition: sa.ColumnElement[bool]) -> list[FeedRow]:
    """Rows of the item's history, oldest first, in the shape of the feed's."""
    table = ItemVersionRow
    rows = session.execute(
        sa.select(col(table.version), col(table.state), col(table.head), col(table.body))
        .where(col(table.record_id) == session.record_id, col(table.item_key) == item_key, condition)
        .order_by(col(table.version))
    )
    return [FeedRow(0, item_key, version, state, None, head, body) for version, state, head, body in rows]


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
