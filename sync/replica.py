"""The rows of one record on a phone: what came is applied in order, kept with its cursor, and counted.

The cursor, the rows it stands for, the digest over them and the acts they confirm are written in one
transaction, so that a phone that stops anywhere goes on from a state it was truly in.
"""

from collections.abc import Iterable, Sequence

import msgspec

from sync import outbox
from sync.digest import Digest, bucket_of, entry_hash
from sync.kept import (
    Load,
    Row,
    digest_key,
    identity_of,
    keep,
    keep_text,
    place_key,
    put_row,
    row_of,
    rows,
    text_of,
)
from sync.messages import Change, Page, Pushed, Snapshot
from sync.ports import Transaction


class _Writer:
    """Writes rows and keeps the digest with them."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._key = digest_key(tx)
        self._digest = Digest.decode(tx.get("value", "digest") or b"")

    def put(self, row: Row) -> bool:
        """Puts a row in place of what stood there; false when it was there already."""
        old = row_of(self._tx, row.type, row.id)
        if old == row:
            return False
        if old is not None and not old.gone:
            self._digest.remove(*_counted(self._key, old))
        if not row.gone:
            self._digest.add(*_counted(self._key, row))
        put_row(self._tx, row)
        return True

    def close(self) -> None:
        """Keeps the digest."""
        self._tx.put("value", "digest", self._digest.encode())


def pulled_cursor(tx: Transaction) -> str | None:
    """Where the next pull begins: None before the first."""
    return text_of(tx, "pulled")


def root(tx: Transaction) -> str | None:
    """The digest's root at the cursor, hexadecimal; None while rows of a batch are held back."""
    if text_of(tx, "held-batch") is not None or identity_of(tx) is None:
        return None
    return Digest.decode(tx.get("value", "digest") or b"").root(digest_key(tx)).hex()


def apply_page(tx: Transaction, since: str | None, page: Page | Pushed) -> int | None:
    """Applies what the server sent after `since`; how many rows changed. None when it is not what comes next.

    The rows of an unfinished batch are held back, and shown only when all of it is here.
    """
    if pulled_cursor(tx) != since or page.cursor is None:
        return None
    ready, held, batch = _split_batch(tx, page)
    writer = _Writer(tx)
    changed = sum([writer.put(row) for row in ready])
    writer.close()
    _hold(tx, held, batch)
    keep_text(tx, "pulled", page.cursor)
    _settle(tx, page.acked, is_held=batch is not None, is_complete=not page.more)
    return changed


def confirm_place(tx: Transaction) -> None:
    """The server has nothing newer: the rows hold the effect of everything it answered."""
    _settle(tx, (), is_held=False, is_complete=True)


def replace_rows(tx: Transaction, asked: Iterable[tuple[str, str]], changes: Iterable[Change]) -> None:
    """Takes these items as they were sent again; one that was asked for and not sent is there no more."""
    sent = {(change.type, change.id): Row.of(change) for change in changes}
    writer = _Writer(tx)
    for resource_type, logical_id in asked:
        if (resource_type, logical_id) not in sent:
            old = row_of(tx, resource_type, logical_id)
            version = old.version if old is not None else 0
            writer.put(Row(type=resource_type, id=logical_id, version=version, gone=True))
    for row in sent.values():
        writer.put(row)
    writer.close()


def recount(tx: Transaction) -> None:
    """Counts the digest from the rows."""
    key, digest = digest_key(tx), Digest()
    live = (_counted(key, row) for row in rows(tx) if not row.gone)
    digest.change(live, ())
    tx.put("value", "digest", digest.encode())


def forget_place(tx: Transaction) -> None:
    """The server said `reset`: all rows are to be loaded again. What the person did stays, and is sent again.

    The old rows are shown until the new ones are all here.
    """
    for name in ("pulled", "held-batch", "held-acked", "load"):
        keep_text(tx, name, None)
    tx.clear("held")
    tx.clear("loading")
    outbox.send_all_again(tx)


def begin_load(tx: Transaction, snapshot: Snapshot) -> Load:
    """Begins a first load. One that was cut off goes on from `load_of`, under the cursor it began with.

    Changes after that cursor say what became of rows that moved or went since. Those after a later one would
    not.
    """
    hashes = tuple(segment.hash for segment in snapshot.segments)
    if text_of(tx, "server-epoch") != snapshot.epoch:
        # The server was restored since it answered: what it said then may be forgotten.
        outbox.send_all_again(tx)
    keep_text(tx, "server-epoch", snapshot.epoch)
    holds = tuple(entry.mid for entry in outbox.entries(tx).values() if entry.result is not None)
    load = Load(cursor=snapshot.cursor, epoch=snapshot.epoch, hashes=hashes, holds=holds)
    tx.clear("loading")
    keep(tx, "load", load)
    return load


def add_segment(tx: Transaction, load: Load, changes: Iterable[Change]) -> Load:
    """Lays one part beside the rows; later rows win."""
    for change in changes:
        put_row(tx, Row.of(change), shelf="loading")
    further = msgspec.structs.replace(load, done=load.done + 1)
    keep(tx, "load", further)
    return further


def finish_load(tx: Transaction, load: Load, at: str) -> int:
    """Puts what was loaded in place of all rows, in one step; how many there are."""
    assert load.done == len(load.hashes), "A part of the first load is missing."
    tx.clear("row")
    count = 0
    for key, kept in tx.scan("loading"):
        tx.put("row", key, kept)
        count += 1
    tx.clear("loading")
    tx.clear("held")
    recount(tx)
    for name in ("load", "held-batch"):
        keep_text(tx, name, None)
    # These acts go when the server has confirmed the cursor: it may have been restored since.
    tx.put("value", "held-acked", msgspec.json.encode(load.holds))
    if text_of(tx, "epoch") not in (None, load.epoch):
        outbox.move_to_rows(tx, at)
    keep_text(tx, "epoch", load.epoch)
    keep_text(tx, "pulled", load.cursor)
    return count


def _split_batch(tx: Transaction, page: Page | Pushed) -> tuple[list[Row], list[tuple[str, Row]], str | None]:
    """The rows that can be shown, and those of a batch that may go on in the next page."""
    batch = text_of(tx, "held-batch")
    ready: list[Row] = []
    held = [msgspec.msgpack.decode(kept, type=Row) for _, kept in tx.scan("held")]
    for change in page.changes:
        if change.batch is None or change.batch != batch:
            ready += held
            held, batch = [], change.batch
        if change.batch is None:
            ready.append(Row.of(change))
        else:
            held.append(Row.of(change))
    if not page.more:
        ready, held, batch = ready + held, [], None
    return ready, [(place_key(place), row) for place, row in enumerate(held)], batch


def _hold(tx: Transaction, held: Sequence[tuple[str, Row]], batch: str | None) -> None:
    tx.clear("held")
    for key, row in held:
        tx.put("held", key, msgspec.msgpack.encode(row))
    keep_text(tx, "held-batch", batch)


def _settle(tx: Transaction, acked: Sequence[str], *, is_held: bool, is_complete: bool) -> None:
    """Acts are confirmed when the rows that hold their effect are shown, not before."""
    known = msgspec.json.decode(tx.get("value", "held-acked") or b"[]", type=list[str])
    known += acked
    if is_held:
        tx.put("value", "held-acked", msgspec.json.encode(known))
        return
    keep_text(tx, "held-acked", None)
    outbox.settle(tx, known, is_complete=is_complete)


def _counted(key: bytes, row: Row) -> tuple[int, bytes]:
    entry = entry_hash(key, row.type, row.id, version=row.version, body=row.body)
    return bucket_of(key, row.type, row.id), entry


def differing(tx: Transaction, bucket: int, theirs: dict[tuple[str, str], str]) -> list[tuple[str, str]]:
    """The items of one bucket that stand differently here and there, `theirs` as hash by (type, id)."""
    key = digest_key(tx)
    ours: dict[tuple[str, str], str] = {}
    for row in rows(tx):
        if not row.gone and bucket_of(key, row.type, row.id) == bucket:
            ours[row.type, row.id] = _counted(key, row)[1].hex()
    return sorted(
        item for item in ours.keys() | theirs.keys() if not _matches(ours.get(item), theirs.get(item))
    )


def _matches(ours: str | None, theirs: str | None) -> bool:
    return ours is not None and theirs is not None and bool(theirs) and ours.startswith(theirs)


def live_count(tx: Transaction) -> int:
    """How many items there are."""
    return Digest.decode(tx.get("value", "digest") or b"").count()
