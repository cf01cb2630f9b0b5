"""What lies on a phone's shelves, and how it is written there."""

import base64
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from sync.messages import NO_JSON, Change, Limits, Mutation, Result
from sync.ports import Shelf, Transaction

PLACE_DIGITS = 12
Kept = TypeVar("Kept")


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item as the server last sent it, byte for byte. A `gone` one has no body; its version is kept."""

    type: str
    id: str
    version: int
    by: str = ""
    body: bytes = b""
    gone: bool = False

    @classmethod
    def of(cls, change: Change) -> "Row":
        """The row a change leaves. What we cannot read is treated as gone: it is not shown as what it was."""
        if change.op != "put":
            return cls(type=change.type, id=change.id, version=change.version, gone=True)
        body = bytes(change.body)
        return cls(type=change.type, id=change.id, version=change.version, by=change.by, body=body)


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One act of the person that is not yet in what the server sent.

    `before` is the resource as the person saw it. `result` is set once the server has answered. `in_feed`
    says that the rows hold its effect already, though no answer to it has come.
    """

    mutation: Mutation
    before: msgspec.Raw = NO_JSON
    result: Result | None = None
    in_feed: bool = False

    @property
    def mid(self) -> str:
        """The id of the mutation."""
        return self.mutation.mid

    @property
    def item(self) -> tuple[str, str]:
        """What it is about."""
        return self.mutation.type, self.mutation.id


class Concern(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An act that was refused or clashed, kept whole until the person decides."""

    mutation: Mutation
    result: Result
    before: msgspec.Raw = NO_JSON
    at: str = ""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who this phone is to the server."""

    device_id: str
    digest_key: str
    limits: Limits


class LogPin(msgspec.Struct, frozen=True, kw_only=True):
    """The newest checkpoint of the access log that was verified, and the key that signed it.

    `opens_with` is the record's own key to the sealed entries, as the server first said it (base64url).
    """

    key: str
    log_id: str
    size: int
    root: str
    note: str
    opens_with: str = ""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """When the replica was last proved equal to the record. `is_current` until the next attempt begins."""

    at: str
    is_current: bool = True


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A first load that has begun: where it ends, the parts to fetch, and how many are here.

    `holds` are the acts that had been answered before, so that their effect is in what is loaded.
    """

    cursor: str
    epoch: str
    hashes: tuple[str, ...]
    done: int = 0
    holds: tuple[str, ...] = ()


ValueName = Literal[
    "identity", "epoch", "server-epoch", "pulled", "digest", "held-batch", "held-acked", "load", "pin",
    "alarm", "proof", "ended", "next-place",
]  # fmt: skip


def item_key(resource_type: str, logical_id: str) -> str:
    """The key of an item's row."""
    return f"{resource_type}/{logical_id}"


def row_of(tx: Transaction, resource_type: str, logical_id: str, *, shelf: Shelf = "row") -> Row | None:
    """The item's row, gone ones included."""
    kept = tx.get(shelf, item_key(resource_type, logical_id))
    return None if kept is None else msgspec.msgpack.decode(kept, type=Row)


def put_row(tx: Transaction, row: Row, *, shelf: Shelf = "row") -> None:
    """Keeps a row."""
    tx.put(shelf, item_key(row.type, row.id), msgspec.msgpack.encode(row))


def rows(tx: Transaction, resource_type: str | None = None, *, shelf: Shelf = "row") -> Iterator[Row]:
    """Every row, or those of one type."""
    decoder = msgspec.msgpack.Decoder(Row)
    for _, kept in tx.scan(shelf, "" if resource_type is None else f"{resource_type}/"):
        yield decoder.decode(kept)


def text_of(tx: Transaction, name: ValueName) -> str | None:
    """A value that is text."""
    kept = tx.get("value", name)
    return None if kept is None else kept.decode()


def keep_text(tx: Transaction, name: ValueName, text: str | None) -> None:
    """Keeps a text, or forgets it."""
    if text is None:
        tx.delete("value", name)
    else:
        tx.put("value", name, text.encode())


def keep(tx: Transaction, name: ValueName, value: msgspec.Struct) -> None:
    """Keeps a struct."""
    tx.put("value", name, msgspec.json.encode(value))


def identity_of(tx: Transaction) -> Identity | None:
    """Who the phone is, None before it registered."""
    return _read(tx.get("value", "identity"), Identity)


def digest_key(tx: Transaction) -> bytes:
    """The key of the record's digest."""
    identity = identity_of(tx)
    assert identity is not None, "Rows come after the registration."
    return base64.urlsafe_b64decode(identity.digest_key + "==")


def pin_of(tx: Transaction) -> LogPin | None:
    """The pinned checkpoint."""
    return _read(tx.get("value", "pin"), LogPin)


def proof_of(tx: Transaction) -> Proof | None:
    """The last proof."""
    return _read(tx.get("value", "proof"), Proof)


def load_of(tx: Transaction) -> Load | None:
    """The first load under way."""
    return _read(tx.get("value", "load"), Load)


def place_key(place: int) -> str:
    """A key that sorts by number."""
    return f"{place:0{PLACE_DIGITS}d}"


def _read(kept: bytes | None, kind: type[Kept]) -> Kept | None:
    return None if kept is None else msgspec.json.decode(kept, type=kind)


def read_entry(kept: bytes) -> Entry:
    """An entry of the outbox."""
    return msgspec.json.decode(kept, type=Entry)


def read_concern(kept: bytes) -> Concern:
    """An entry of the attention list."""
    return msgspec.json.decode(kept, type=Concern)


def as_raw(value: Any) -> msgspec.Raw:
    """A JSON value as raw bytes."""
    return msgspec.Raw(msgspec.json.encode(value))
