"""What a person sees: the rows as the server sent them, with what they did since laid over them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from sync.kept import Entry, Row, item_key, read_entry, row_of, rows
from sync.merge import merge, with_mine
from sync.ports import Transaction
from sync.values import JsonObject, apply_patch, is_object, read_json, write_json

SETTLED_TASKS = frozenset({"completed", "cancelled", "rejected", "failed", "entered-in-error"})
"""A correction in one of these states marks its item no more."""

_ENDED = {"status": "inactive"}


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One item as the person sees it.

    `waiting` means that the server has not confirmed all of it yet, `questioned` that the person says it is
    wrong and nobody has settled it. `version` is 0 while the server has never sent it.
    """

    type: str
    id: str
    version: int
    body: bytes
    by: str = ""
    waiting: bool = False
    questioned: bool = False


def shown(tx: Transaction, resource_type: str | None = None) -> Iterator[Shown]:
    """Every item, or those of one type, in order of type and id."""
    entries = _laid_over(tx)
    questioned = questioned_items(tx)
    by_item: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if resource_type in (None, entry.item[0]):
            by_item.setdefault(entry.item, []).append(entry)
    found: list[Shown | None] = []
    for row in rows(tx, resource_type):
        key = (row.type, row.id)
        found.append(_seen(row, key, by_item.pop(key, ()), questioned))
    found += [_seen(None, key, waiting, questioned) for key, waiting in by_item.items()]
    yield from sorted((item for item in found if item is not None), key=lambda item: (item.type, item.id))


def shown_item(tx: Transaction, resource_type: str, logical_id: str) -> Shown | None:
    """One item, None when there is none or the person took it away."""
    key = (resource_type, logical_id)
    entries = [entry for entry in _laid_over(tx) if entry.item == key]
    return _seen(row_of(tx, resource_type, logical_id), key, entries, questioned_items(tx))


def questioned_items(tx: Transaction) -> set[str]:
    """`Type/id` of every item with an open question, asked on this phone or on another."""
    entries = [read_entry(kept) for _, kept in tx.scan("outbox")]
    asked = [(entry.mutation.id, _args(entry)) for entry in entries if entry.mutation.op == "command"]
    withdrawn = {logical_id for logical_id, args in asked if args.get("command") == "withdraw"}
    targets = [
        args.get("target")
        for logical_id, args in asked
        if args.get("command") == "question" and logical_id not in withdrawn
    ]
    for row in rows(tx, "Task"):
        if not row.gone and row.id not in withdrawn:
            targets.append(_focus(read_json(row.body)))
    return {target.partition("/_history/")[0] for target in targets if isinstance(target, str)}


def changed_by(entry: Entry, seen: JsonObject | None) -> JsonObject | None:
    """The resource after this act, where the person now sees `seen`; None when it is not there any more."""
    mutation = entry.mutation
    match mutation.op:
        case "create":
            # After a reset the rows may hold it already, and later changes of it too.
            return _object(mutation.body) if seen is None else seen
        case "delete":
            return None
        case "command":
            is_end = mutation.type == "Consent" and _args(entry).get("command") == "end"
            return seen | _ENDED if is_end and seen is not None else seen
        case _:
            return None if seen is None else _edited(entry, seen)


def intended(entry: Entry) -> JsonObject | None:
    """The whole resource as the person meant it, from what they saw when they did it."""
    mutation = entry.mutation
    if mutation.op in ("create", "replace"):
        return _object(mutation.body)
    before = _object(entry.before)
    if mutation.op != "patch" or before is None or not mutation.patch:
        return None
    return apply_patch(before, read_json(bytes(mutation.patch)))


def _edited(entry: Entry, seen: JsonObject) -> JsonObject:
    before, mine = _object(entry.before), intended(entry)
    if before is None or mine is None:
        return apply_patch(seen, read_json(bytes(entry.mutation.patch) or b"{}"))
    # The person goes on seeing what they wrote until the server has answered.
    return with_mine(merge(before, mine, seen))


def _seen(
    row: Row | None, key: tuple[str, str], entries: Sequence[Entry], questioned: set[str]
) -> Shown | None:
    is_there = row is not None and not row.gone
    body = row.body if row is not None and is_there else None
    if entries:
        seen = None if body is None else _object(msgspec.Raw(body))
        for entry in entries:
            seen = changed_by(entry, seen)
        body = None if seen is None else write_json(seen)
    if body is None:
        return None
    return Shown(
        type=key[0],
        id=key[1],
        version=row.version if row is not None and is_there else 0,
        body=body,
        by=row.by if row is not None and is_there else "self",
        waiting=bool(entries),
        questioned=item_key(*key) in questioned,
    )


def _laid_over(tx: Transaction) -> list[Entry]:
    entries: Iterable[Entry] = (read_entry(kept) for _, kept in tx.scan("outbox"))
    return [entry for entry in entries if not entry.in_feed]


def _args(entry: Entry) -> JsonObject:
    return _object(entry.mutation.args) or {}


def _object(raw: msgspec.Raw) -> JsonObject | None:
    value: Any = read_json(bytes(raw)) if raw else None
    return value if is_object(value) else None


def _focus(task: Any) -> Any:
    """What an open correction is about."""
    if not is_object(task) or task.get("status") in SETTLED_TASKS:
        return None
    focus = task.get("focus")
    return focus.get("reference") if is_object(focus) else None
