"""The feed's rows as they stand in the tables: states, sealing, and the statements that write them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from fhir_profiles.heads import Head, decode_head, encode_head
from server.errors import Conflict
from server.storage.hot import FeedRow
from server.storage.sealing import Sealer
from server.storage.session import WriteSession
from server.storage.tables import ItemRow, ItemVersionRow

LIVE = 0
GONE = 1
WITHHELD = 2
ERASED = 3

KEPT_AS = {LIVE: "live", GONE: "gone", WITHHELD: "withheld", ERASED: "erased"}
"""A row is sealed for its state, so that a withheld row cannot be made a live one in the database."""

_HEAD_PURPOSES = {state: f"head/{kept_as}" for state, kept_as in KEPT_AS.items()}
_BODY_PURPOSES = {state: f"body/{kept_as}" for state, kept_as in KEPT_AS.items()}
_REPLACED = ("version", "seq", "state", "batch", "head", "body", "bucket", "entry")


Render = Callable[[int, datetime], tuple[Head, bytes]]
"""Makes an item's head and body once its version and instant are known."""


class FeedItem(msgspec.Struct, frozen=True):
    """A new version of an item, in the state it is to have."""

    resource_type: str
    logical_id: str
    render: Render
    state: int = LIVE


class Body(msgspec.Struct, frozen=True):
    """The served bytes of one version."""

    version: int
    body: bytes


class SealedRow(Protocol):
    """A row with a sealed head."""

    @property
    def item_key(self) -> bytes: ...
    @property
    def version(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def head(self) -> bytes: ...


class ItemErased(Conflict):
    """This item was erased and cannot come back."""


def seal_version(
    sealer: Sealer, item_key: bytes, version: int, rendered: tuple[Head, bytes], *, kept_as: str
) -> dict[str, Any]:
    """Head and body as columns, sealed for one version of one item, kept as `kept_as` and as nothing else."""
    head, served = rendered
    return {
        "head": sealer.seal(f"head/{kept_as}", item_key, version, encode_head(head)),
        "body": sealer.seal(f"body/{kept_as}", item_key, version, served),
    }


def open_head(sealer: Sealer, row: SealedRow) -> Head:
    """The head of a feed row; SealBroken when it is not this version of this item in this state."""
    return decode_head(sealer.open(_HEAD_PURPOSES[row.state], row.item_key, row.version, row.head))


def open_body(sealer: Sealer, row: FeedRow) -> bytes:
    """The body of a feed row; SealBroken as for `open_head`."""
    return sealer.open(_BODY_PURPOSES[row.state], row.item_key, row.version, row.body)


def keep_versions(session: WriteSession, rows: Iterable[FeedRow]) -> None:
    """Copies rows that are about to be replaced into the history, as they stand."""
    kept = [
        {
            "record_id": session.record_id,
            "item_key": row.item_key,
            "version": row.version,
            "state": row.state,
            "head": row.head,
            "body": row.body,
        }
        for row in rows
    ]
    if kept:
        session.execute(sa.insert(ItemVersionRow), kept)


def write_rows(session: WriteSession, rows: Sequence[dict[str, Any]], current: set[bytes]) -> None:
    """Writes each item's row; those whose key is in `current` replace the row that stands."""
    new = [row for row in rows if row["item_key"] not in current]
    replacing = [row for row in rows if row["item_key"] in current]
    if new:
        session.execute(sa.insert(ItemRow), new)
    if replacing:
        statement = (
            sa.update(ItemRow)
            .where(col(ItemRow.record_id) == sa.bindparam("in_record"))
            .where(col(ItemRow.item_key) == sa.bindparam("with_key"))
            .values({name: sa.bindparam(f"new_{name}") for name in _REPLACED})
        )
        session.execute(statement, [_replacement(row) for row in replacing])


def replace_on_conflict(source: sa.Select[*tuple[Any, ...]], columns: Sequence[str]) -> sa.Executable:
    """Inserts what the source selects; an item that stands already takes the new version's columns."""
    statement = insert(ItemRow).from_select(columns, source)
    changed = {name: statement.excluded[name] for name in _REPLACED}
    return statement.on_conflict_do_update(index_elements=["record_id", "item_key"], set_=changed)


def _replacement(row: dict[str, Any]) -> dict[str, Any]:
    values = {f"new_{name}": row[name] for name in _REPLACED}
    return values | {"in_record": row["record_id"], "with_key": row["item_key"]}
