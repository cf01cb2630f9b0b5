"""Decides which items of a record an authority may see, from heads alone, giving way to other requests."""

import asyncio
from datetime import date
from typing import cast

from fhir_profiles import closure, served
from fhir_profiles.heads import Head
from server.records.marks import questioned_keys
from server.records.view import ItemName, VisibleItem, VisibleItems
from server.sharing.authority import Authority
from server.storage import feed
from server.storage.engine import Snapshot

HEADS_PER_SLICE = 500
NOTHING_CUT: frozenset[ItemName] = frozenset()


async def decide(snapshot: Snapshot, authority: Authority, today: date) -> VisibleItems:
    """The items of the snapshot inside the authority's View, each with the references to cut from it."""
    keys, heads = await _all_heads(snapshot)
    questioned = await snapshot.run(questioned_keys)
    if authority.slice is None:
        return VisibleItems(
            VisibleItem(keys[name], head, head.version, NOTHING_CUT, keys[name] in questioned)
            for name, head in heads.items()
        )
    steps = closure.closing(heads, authority.slice, today)
    visible = None
    while visible is None:
        try:
            next(steps)
        except StopIteration as finished:
            visible = cast("closure.Visible", finished.value)
        await asyncio.sleep(0)
    return VisibleItems(
        _as_seen(
            keys[name],
            heads[name],
            visible.cut.get(name, NOTHING_CUT),
            is_questioned=keys[name] in questioned,
        )
        for name in visible.kept
    )


def _as_seen(key: bytes, head: Head, cut: frozenset[ItemName], *, is_questioned: bool) -> VisibleItem:
    return VisibleItem(key, served.head_for_reader(head, cut), head.version, cut, is_questioned)


async def _all_heads(snapshot: Snapshot) -> tuple[dict[ItemName, bytes], dict[ItemName, Head]]:
    keys: dict[ItemName, bytes] = {}
    heads: dict[ItemName, Head] = {}
    after_seq = 0
    while page := await snapshot.run(
        lambda session, after=after_seq: feed.heads(session, after, HEADS_PER_SLICE)
    ):
        for row in page:
            name = (row.head.resource_type, row.head.logical_id)
            keys[name], heads[name] = row.item_key, row.head
        after_seq = page[-1].seq
        await asyncio.sleep(0)
    return keys, heads
