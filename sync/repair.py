"""Finds what differs between a phone and the server by their digests, in two rounds, and fetches it again."""

from collections.abc import Sequence

from sync import replica
from sync.calls import Calls, Refused
from sync.digest import BUCKETS, Digest
from sync.kept import digest_key
from sync.ports import Storage

BUCKETS_MAX = 32
"""With more buckets that differ, loading everything anew costs less."""

HEAD_MOVED = 412
_Items = list[tuple[str, str]]


async def repair(storage: Storage, calls: Calls, items_max: int) -> int | None:
    """How many items were fetched again; None when so many differ that all should be loaded anew.

    When the record changes meanwhile nothing is fetched: the next pull tells whether anything still differs.
    """
    with storage.transaction() as tx:
        replica.recount(tx)
        cursor = replica.pulled_cursor(tx)
        ours = Digest.decode(tx.get("value", "digest") or b"").children(digest_key(tx), "", 2)
    assert cursor is not None, "Only what was pulled can be compared."
    try:
        theirs = (await calls.digest(cursor, "", 2)).children
        places = [f"{bucket:02x}" for bucket in range(BUCKETS)]
        buckets = [place for place in places if ours.get(place) != theirs.get(place)]
        if len(buckets) > BUCKETS_MAX:
            return None
        items = [item for place in buckets for item in await _differing(storage, calls, cursor, place)]
    except Refused as refused:
        if refused.status != HEAD_MOVED:
            raise
        return 0
    return await _fetch(storage, calls, items, items_max)


async def _differing(storage: Storage, calls: Calls, cursor: str, place: str) -> _Items:
    leaves = (await calls.digest(cursor, place, 0)).leaves
    hashes = {(leaf[0], leaf[1]): leaf[3] for leaf in leaves}
    with storage.transaction() as tx:
        return replica.differing(tx, int(place, 16), hashes)


async def _fetch(storage: Storage, calls: Calls, items: Sequence[tuple[str, str]], items_max: int) -> int:
    for start in range(0, len(items), items_max):
        asked = tuple(items[start : start + items_max])
        page = await calls.fetch(asked)
        with storage.transaction() as tx:
            replica.replace_rows(tx, asked, page.changes)
    return len(items)
