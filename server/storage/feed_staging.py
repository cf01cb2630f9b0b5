"""Extracts are staged parsed and sealed, then published by one statement whose rows share a batch."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from fhir_profiles.heads import Head
from server.storage.feed_digest import counted, ensure_digest, entry_columns, keep_digest
from server.storage.feed_rows import KEPT_AS, LIVE, replace_on_conflict, seal_version
from server.storage.hot import StagedRow
from server.storage.session import WriteSession
from server.storage.tables import ItemRow, ItemVersionRow, StagedItemRow

_STAGED_KEY = ("record_id", "extract_id", "position")
_PUBLISHED_COLUMNS = (
    "record_id",
    "item_key",
    "version",
    "seq",
    "state",
    "batch",
    "head",
    "body",
    "bucket",
    "entry",
)
_STAGED_ANEW = ("item_key", "base_version", "head", "body", "bucket", "entry")
_KEPT_COLUMNS = ("record_id", "item_key", "version", "state", "head", "body")


class StagedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of an extract: what becomes version `base_version + 1` (1 when the base is 0, a new item)."""

    position: int
    resource_type: str
    logical_id: str
    base_version: int
    head: Head
    body: bytes


class Published(msgspec.Struct, frozen=True):
    """The extract is in the feed: `count` rows from `first_seq` on, in order of position."""

    first_seq: int
    count: int


class Stale(msgspec.Struct, frozen=True):
    """Nothing was published: the items at these positions moved on. Stage them again on their new base."""

    positions: tuple[int, ...]


def stage(session: WriteSession, extract_id: UUID, items: Sequence[StagedItem]) -> None:
    """Keeps items ready to be published. An item staged at the same position before is replaced."""
    rows = [_staged_row(session, extract_id, item) for item in items]
    if not rows:
        return
    statement = insert(StagedItemRow)
    changed = {name: statement.excluded[name] for name in _STAGED_ANEW}
    statement = statement.on_conflict_do_update(index_elements=_STAGED_KEY, set_=changed)
    session.execute(statement, rows)


def publish_staged(session: WriteSession, extract_id: UUID) -> Published | Stale:
    """Puts all that is staged for the extract into the feed at once, or nothing when an item moved on.

    What was staged stays until `discard_staged`, which need not hold the record: to take it away costs about
    as much as to publish it. Published again it is stale.
    """
    state = session.lock_record()
    digest = ensure_digest(session)
    rows = session.hot.staged(extract_id)
    if stale := tuple(row.position for row in rows if _is_stale(row)):
        return Stale(stale)
    if not rows:
        return Published(state.seq + 1, 0)
    _publish(session, extract_id, rows, state.seq + 1)
    added = counted((row.bucket, row.entry) for row in rows)
    digest.change(added, counted((row.standing_bucket, row.standing_entry) for row in rows))
    keep_digest(session, digest)
    session.hot.move_seq(state.seq + len(rows))
    return Published(state.seq + 1, len(rows))


def discard_staged(session: WriteSession, extract_id: UUID, *, at_most: int | None = None) -> int:
    """Forgets what is staged for the extract, or as many items of it. Answers how many items that was."""
    condition = _of(session, extract_id)
    if at_most is not None:
        position = col(StagedItemRow.position)
        first = sa.select(position).where(*condition).order_by(position).limit(at_most)
        condition = (*condition, position.in_(first))
    return session.execute(sa.delete(StagedItemRow).where(*condition)).rowcount


def _staged_row(session: WriteSession, extract_id: UUID, item: StagedItem) -> dict[str, Any]:
    item_key = session.sealer.item_key(item.resource_type, item.logical_id)
    version = item.base_version + 1
    sealed = seal_version(session.sealer, item_key, version, (item.head, item.body), kept_as=KEPT_AS[LIVE])
    name = (item.resource_type, item.logical_id)
    entry = entry_columns(session.sealer, name, version, item.body)
    return {
        **sealed,
        **entry,
        "record_id": session.record_id,
        "extract_id": extract_id,
        "position": item.position,
        "item_key": item_key,
        "base_version": item.base_version,
    }


def _of(session: WriteSession, extract_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        col(StagedItemRow.record_id) == session.record_id,
        col(StagedItemRow.extract_id) == extract_id,
    )


def _standing_item() -> sa.ColumnElement[bool]:
    return sa.and_(
        col(ItemRow.record_id) == col(StagedItemRow.record_id),
        col(ItemRow.item_key) == col(StagedItemRow.item_key),
    )


def _is_stale(row: StagedRow) -> bool:
    """Whether the item moved on, or was staged by a version of Held that kept no digest."""
    return (row.standing_version or 0) != row.base_version or row.entry is None


def _publish(session: WriteSession, extract_id: UUID, rows: Sequence[StagedRow], first_seq: int) -> None:
    source = _numbered(session, extract_id, first_seq)
    if all(row.standing_version is None for row in rows):
        session.execute(sa.insert(ItemRow).from_select(_PUBLISHED_COLUMNS, source))
        return
    _keep_replaced_versions(session, extract_id)
    session.execute(replace_on_conflict(source, _PUBLISHED_COLUMNS))


def _keep_replaced_versions(session: WriteSession, extract_id: UUID) -> None:
    columns = [col(getattr(ItemRow, name)) for name in _KEPT_COLUMNS]
    replaced = sa.select(*columns).join(StagedItemRow, _standing_item()).where(*_of(session, extract_id))
    session.execute(sa.insert(ItemVersionRow).from_select(_KEPT_COLUMNS, replaced))


def _numbered(session: WriteSession, extract_id: UUID, first_seq: int) -> sa.Select[*tuple[Any, ...]]:
    """What is staged, as rows of the feed numbered from `first_seq` in order of position."""
    place = sa.func.row_number().over(order_by=col(StagedItemRow.position))
    return sa.select(
        col(StagedItemRow.record_id),
        col(StagedItemRow.item_key),
        col(StagedItemRow.base_version) + 1,
        sa.cast(first_seq - 1 + place, sa.BigInteger),
        sa.literal(LIVE),
        sa.literal(first_seq, sa.BigInteger),
        col(StagedItemRow.head),
        col(StagedItemRow.body),
        col(StagedItemRow.bucket),
        col(StagedItemRow.entry),
    ).where(*_of(session, extract_id))
