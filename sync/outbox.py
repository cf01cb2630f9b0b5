"""What the person did and the server has not yet shown back: waiting, answered, or in need of attention.

Nothing leaves without a trace: an act goes when the rows hold its effect, or moves to the attention list.
"""

from collections.abc import Collection, Sequence

import msgspec

from sync.kept import (
    Concern,
    Entry,
    as_raw,
    keep_text,
    place_key,
    read_entry,
    row_of,
    text_of,
)
from sync.merge import merge
from sync.messages import DONE, Base, Clash, Mutation, Result
from sync.overlay import intended
from sync.ports import Transaction
from sync.values import JsonObject, is_object, make_patch, read_json

NEEDS_BASE = frozenset({"patch", "replace", "delete"})
"""These name the version they change, so that two of them on one item go one after the other."""

ANSWER = "answer/"
"""Values under this key are what commands answered, until the person has seen them."""

Placed = tuple[str, Entry]
"""An act and its key."""

Lines = dict[tuple[str, str], list[str]]
"""The keys of the acts on each item, in order."""


def append(tx: Transaction, entry: Entry) -> None:
    """Puts an act at the end."""
    place = int(text_of(tx, "next-place") or "1")
    keep_text(tx, "next-place", str(place + 1))
    tx.put("outbox", place_key(place), msgspec.json.encode(entry))


def entries(tx: Transaction) -> dict[str, Entry]:
    """Every act by its key, in the order they were done."""
    return {key: read_entry(kept) for key, kept in tx.scan("outbox")}


def waiting(tx: Transaction) -> list[Entry]:
    """Those the server has not answered."""
    return [entry for entry in entries(tx).values() if entry.result is None]


def has_in_group(tx: Transaction, mutation: Mutation) -> bool:
    """True when the group of this act changes its item already."""
    item = mutation.type, mutation.id
    return any(entry.item == item and entry.mutation.txn == mutation.txn for entry in waiting(tx))


def sendable(tx: Transaction) -> list[Entry]:
    """Those that can be sent now, in order. A group waits until all of it can."""
    ready: list[Entry] = []
    busy: set[tuple[str, str]] = set()
    held: set[str | None] = set()
    for entry in waiting(tx):
        if entry.mutation.op in NEEDS_BASE and entry.item in busy:
            held.add(entry.mutation.txn)
        else:
            ready.append(entry)
        busy.add(entry.item)
    return [entry for entry in ready if entry.mutation.txn is None or entry.mutation.txn not in held]


def take_results(tx: Transaction, results: Sequence[Result], at: str) -> int:
    """Notes what the server answered; how many acts that moved on."""
    known = entries(tx)
    keys = {entry.mid: key for key, entry in known.items()}
    lines = _lines(known)
    taken = 0
    for result in results:
        key = keys.get(result.mid, "")
        entry = _entry_at(tx, key)
        # A second answer to the same act says the same and changes nothing.
        if entry is None or entry.result is not None or result.outcome == "retry":
            continue
        taken += 1
        if result.outcome in DONE:
            _note_done(tx, (key, entry), result, lines=lines, at=at)
        else:
            _raise_concern(tx, (key, entry), result, lines=lines, at=at)
    return taken


def settle(tx: Transaction, acked: Collection[str], *, is_complete: bool) -> None:
    """Lets go of the acts whose effect the rows now hold. Called in the transaction that wrote the rows."""
    for key, entry in entries(tx).items():
        if entry.result is None:
            if entry.mid in acked and not entry.in_feed:
                _put(tx, key, msgspec.structs.replace(entry, in_feed=True))
        elif entry.mid in acked or _is_reached(tx, entry, entry.result, is_complete=is_complete):
            tx.delete("outbox", key)


def send_all_again(tx: Transaction) -> None:
    """After a reset the server may have forgotten what it answered: all of it waits, under its own id."""
    for key, entry in entries(tx).items():
        if entry.result is not None or entry.in_feed:
            _put(tx, key, msgspec.structs.replace(entry, result=None, in_feed=False))


def move_to_rows(tx: Transaction, at: str) -> None:
    """The server was restored and counts versions anew: what waits is moved to the rows as they now are."""
    lines = _lines(entries(tx))
    for keys in lines.values():
        for key in keys:
            entry = _entry_at(tx, key)
            row = None if entry is None else row_of(tx, *entry.item)
            if entry is None or entry.mutation.op not in NEEDS_BASE or row is None or row.gone:
                continue
            left = _resource(msgspec.Raw(row.body))
            _rebase(tx, (key, entry), left, version=row.version, at=at)
            if _entry_at(tx, key) is not None:
                # Those behind it are moved when it has been answered.
                break


def refuse(tx: Transaction, result: Result, at: str) -> None:
    """Moves an act that cannot be sent to the attention list, with its group and those that wait for it."""
    known = entries(tx)
    found = [(key, entry) for key, entry in known.items() if entry.mid == result.mid]
    if not found or found[0][1].result is not None:
        return
    refused = found[0][1].mutation
    _raise_concern(tx, found[0], result, lines=_lines(known), at=at)
    for entry in known.values():
        is_of_group = refused.txn is not None and entry.mutation.txn == refused.txn
        if is_of_group or entry.mutation.after == refused.mid:
            code = "txn" if is_of_group else "after"
            blocked = Result(
                mid=entry.mid, outcome="blocked", code=code, detail="It belongs to one that was refused."
            )
            refuse(tx, blocked, at)


def _lines(known: dict[str, Entry]) -> Lines:
    lines: Lines = {}
    for key, entry in known.items():
        lines.setdefault(entry.item, []).append(key)
    return lines


def _entry_at(tx: Transaction, key: str) -> Entry | None:
    kept = tx.get("outbox", key)
    return None if kept is None else read_entry(kept)


def _note_done(tx: Transaction, placed: Placed, result: Result, *, lines: Lines, at: str) -> None:
    key, entry = placed
    if result.answer:
        tx.put("value", f"{ANSWER}{entry.mid}", msgspec.json.encode(result))
    if entry.in_feed or _is_reached(tx, entry, result, is_complete=False):
        tx.delete("outbox", key)
    else:
        _put(tx, key, msgspec.structs.replace(entry, result=result))
    follower = _next_of(tx, placed, lines)
    if follower is not None and result.version is not None:
        _rebase(tx, follower, _left_by(entry, result), version=result.version, at=at)


def _raise_concern(tx: Transaction, placed: Placed, result: Result, *, lines: Lines, at: str) -> None:
    key, entry = placed
    concern = Concern(mutation=entry.mutation, result=result, before=entry.before, at=at)
    tx.put("attention", entry.mid, msgspec.json.encode(concern))
    tx.delete("outbox", key)
    follower = _next_of(tx, placed, lines)
    if follower is not None and entry.mutation.base is not None:
        next_key, following = follower
        _put(tx, next_key, _on_base(following, following.mutation, entry.mutation.base.version))


def _is_reached(tx: Transaction, entry: Entry, result: Result, *, is_complete: bool) -> bool:
    """True when the rows are as new as the effect.

    An effect without a version, and one that a later phone learns of by repeating itself, have no row to wait
    for: a pull that reached the end after the answer holds them.
    """
    row = row_of(tx, *entry.item)
    if row is not None and result.version is not None and row.version >= result.version:
        return True
    return is_complete and (result.version is None or result.repeat)


def _next_of(tx: Transaction, placed: Placed, lines: Lines) -> Placed | None:
    """The next waiting act on the same item that names a version."""
    key, entry = placed
    for later in lines[entry.item]:
        other = _entry_at(tx, later) if later > key else None
        if other is not None and other.result is None and other.mutation.op in NEEDS_BASE:
            return later, other
    return None


def _left_by(entry: Entry, result: Result) -> JsonObject | None:
    """The resource as the act left it on the server."""
    body = read_json(bytes(result.body)) if result.body else None
    return body if is_object(body) else intended(entry)


def _rebase(
    tx: Transaction,
    follower: Placed,
    left: JsonObject | None,
    *,
    version: int,
    at: str,
) -> None:
    """Moves an act made on top of another to what that one left behind, so that it undoes nobody's change."""
    key, entry = follower
    before, mine = _resource(entry.before), intended(entry)
    if left is None or before is None or mine is None:
        _put(tx, key, _on_base(entry, entry.mutation, version))
        return
    merged = merge(before, mine, left)
    if merged.clashes:
        refuse(tx, _clashed(entry, merged.clashes), at)
        return
    edited = msgspec.structs.replace(entry, before=as_raw(left))
    _put(tx, key, _on_base(edited, _rewritten(entry.mutation, left, merged.resource), version))


def _rewritten(mutation: Mutation, left: JsonObject, wanted: JsonObject) -> Mutation:
    if mutation.op == "replace":
        return msgspec.structs.replace(mutation, body=as_raw(wanted))
    return msgspec.structs.replace(mutation, patch=as_raw(make_patch(left, wanted)))


def _clashed(entry: Entry, clashes: tuple[Clash, ...]) -> Result:
    return Result(mid=entry.mid, outcome="conflict", version=None, conflicts=clashes)


def _on_base(entry: Entry, mutation: Mutation, version: int) -> Entry:
    based = msgspec.structs.replace(mutation, base=Base(version=version))
    return msgspec.structs.replace(entry, mutation=based)


def _put(tx: Transaction, key: str, entry: Entry) -> None:
    tx.put("outbox", key, msgspec.json.encode(entry))


def _resource(raw: msgspec.Raw) -> JsonObject | None:
    value = read_json(bytes(raw)) if raw else None
    return value if is_object(value) else None
