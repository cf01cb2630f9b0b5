"""The way a record's content reaches its owner's own phones: whole rows of the feed, in order (walls 2 to 4).

As with a View, nothing is answered before the log has its line: one for each phone and day. Whether the
phone may still have anything is asked in the snapshot that is read, and again after it, as the last thing
before the answer: what a phone gets was read and judged before its access was ended, or not at all.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from msgspec import Raw

from server.audit import service as audit
from server.audit.entry import LogEntry
from server.sharing.authority import Authority
from server.storage import feed
from server.storage.engine import Snapshot, Storage
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, WriteSession
from sync.messages import Change

T = TypeVar("T")

ROWS_PER_SLICE = 100
BY_THE_PERSON = "self"
BY_US = "held"
# What a phone may have written: an item of these types that came from no source is the person's own.
SELF_RECORDED_TYPES = frozenset({"Observation", "DocumentReference"})


class Visitor(Protocol):
    """The phone that pulls, as devices_sync knows it."""

    def judge(self, session: ReadSession) -> bool:
        """Whether today's line is in the log. Raises when the phone may have nothing."""
        ...

    def enter(self, session: WriteSession) -> LogEntry:
        """Notes that the phone was here today; the line for the log. Raises as `judge` does."""
        ...


class Rows(NamedTuple):
    """Rows of the feed as they travel. `reached` is the place of the last; `more` says that others follow."""

    changes: tuple[Change, ...]
    reached: int
    more: bool


class Span(NamedTuple):
    """Which rows: after one place and up to another, at most so many and so many bytes, though always one."""

    after: int
    upto: int
    rows_max: int
    bytes_max: int


async def pull(
    storage: Storage, authority: Authority, visitor: Visitor, read: Callable[[Snapshot], Awaitable[T]]
) -> T:
    """What `read` found in one snapshot of the owner's record, after the log has taken it."""
    assert authority.relation == "owner"
    async with storage.snapshot(authority.record_id) as snapshot:
        await snapshot.run(visitor.judge)
        found = await read(snapshot)
    await _log(storage, authority, visitor)
    return found


async def rows(snapshot: Snapshot, span: Span) -> Rows:
    """The next rows, in slices that let other requests on."""
    changes: list[Change] = []
    size, reached = 0, span.after
    while len(changes) < span.rows_max:
        wanted = min(ROWS_PER_SLICE, span.rows_max - len(changes))
        page = await snapshot.run(lambda s, at=reached, n=wanted: feed.changes(s, at, n, upto=span.upto))
        for row in page:
            size += len(row.body)
            if changes and size > span.bytes_max:
                return Rows(tuple(changes), reached, more=True)
            changes.append(_as_sent(snapshot.sealer, row))
            reached = row.seq
        if len(page) < wanted:
            return Rows(tuple(changes), span.upto, more=False)
        await asyncio.sleep(0)
    return Rows(tuple(changes), reached, more=reached < span.upto)


async def items(snapshot: Snapshot, names: Iterable[tuple[str, str]]) -> tuple[Change, ...]:
    """These items as they stand; one that is not there, or not live, is gone."""
    wanted = list(dict.fromkeys(names))
    found: list[Change] = []
    for start in range(0, len(wanted), ROWS_PER_SLICE):
        some = wanted[start : start + ROWS_PER_SLICE]
        found += await snapshot.run(lambda session, some=some: _items(session, some))
        await asyncio.sleep(0)
    return tuple(found)


def _items(session: ReadSession, names: Sequence[tuple[str, str]]) -> list[Change]:
    sealer = session.sealer
    keys = [sealer.item_key(*name) for name in names]
    currents, bodies = feed.currents(session, keys), feed.bodies(session, keys)
    found: list[Change] = []
    for name, key in zip(names, keys, strict=True):
        current, body = currents.get(key), bodies.get(key)
        if current is None or body is None:
            version = current.version if current is not None else 0
            found.append(Change(op="gone", type=name[0], id=name[1], version=version))
        else:
            found.append(_live(current.head, current.version, body.body))
    return found


def _as_sent(sealer: Sealer, row: feed.FeedChange) -> Change:
    resource_type, logical_id = row.head.resource_type, row.head.logical_id
    batch = None if row.batch is None else sealer.mac("batch", row.batch.to_bytes(8, "big"), size=6).hex()
    if row.state != feed.LIVE:
        return Change(op="gone", type=resource_type, id=logical_id, version=row.version, batch=batch)
    return _live(row.head, row.version, row.body, batch)


def _live(head: feed.Head, version: int, body: bytes, batch: str | None = None) -> Change:
    return Change(
        op="put",
        type=head.resource_type,
        id=head.logical_id,
        version=version,
        by=said_by(head),
        batch=batch,
        body=Raw(body),
    )


def said_by(head: feed.Head) -> str:
    """The organisation a version came from, or "self" or "held"."""
    if head.organisation:
        return head.organisation
    is_own = head.source is None and head.resource_type in SELF_RECORDED_TYPES
    return BY_THE_PERSON if is_own else BY_US


async def _log(storage: Storage, authority: Authority, visitor: Visitor) -> None:
    def enter(session: WriteSession) -> None:
        session.lock_record()
        audit.add(session, visitor.enter(session))

    if not await storage.read(authority.record_id, visitor.judge):
        await storage.write(authority.record_id, enter)
