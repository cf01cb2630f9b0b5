"""Packs what the person did into pushes, within the server's limits."""

from collections.abc import Sequence
from typing import Any

import msgspec

from sync.kept import Entry
from sync.messages import Limits, Mutation, Push

FRAME_BYTES = 1_024
"""What a push holds beside its mutations."""

SAID_ONCE = ("op", "type", "base")


def next_groups(ready: Sequence[Entry], limits: Limits) -> list[list[Entry]]:
    """What goes into the next push, in order: single acts, and groups that must not be torn.

    The first goes whatever its size: the server says when it is too large.
    """
    chosen: list[list[Entry]] = []
    count, size = 0, FRAME_BYTES
    for group in _groups(ready):
        count += len(group)
        size += sum(len(msgspec.json.encode(entry.mutation)) + 1 for entry in group)
        if chosen and (size > limits.push_bytes or count > limits.mutations_per_push):
            break
        chosen.append(group)
    return chosen


def packed(mutations: Sequence[Mutation], device_id: str, since: str | None, now: str) -> Push:
    """The push, with what all its mutations have said once."""
    raw: list[dict[str, Any]] = [msgspec.to_builtins(one, builtin_types=(msgspec.Raw,)) for one in mutations]
    defaults: dict[str, Any] = {}
    for name in SAID_ONCE:
        if len(raw) > 1 and all(one.get(name) == raw[0].get(name) is not None for one in raw):
            defaults[name] = raw[0][name]
    said = tuple(
        msgspec.Raw(msgspec.json.encode({name: value for name, value in one.items() if name not in defaults}))
        for one in raw
    )
    return Push(device_id=device_id, since=since, sent_at=now, mutations=said, defaults=defaults)


def _groups(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Acts that stand or fall together, kept together; the others alone, in their order."""
    groups: list[list[Entry]] = []
    by_txn: dict[str, list[Entry]] = {}
    for entry in entries:
        txn = entry.mutation.txn
        if txn is not None and txn in by_txn:
            by_txn[txn].append(entry)
            continue
        groups.append([entry])
        if txn is not None:
            by_txn[txn] = groups[-1]
    return groups
