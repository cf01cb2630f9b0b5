"""What a phone pulls: the changes since its cursor, a first load in segments, and what a repair asks for."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from server.audit import service as audit
from server.audit.service import SignedCheckpoint
from server.audit.signer import LogSigner
from server.devices_sync import store
from server.devices_sync.cursors import (
    SegmentRange,
    name_segment,
    open_cursor,
    read_segment_name,
    seal_cursor,
)
from server.devices_sync.limits import over_limits
from server.devices_sync.visitor import VisitingPhone, phone_of
from server.errors import BadRequest, CursorReset, HeadMoved, NotFound
from server.records import pulling
from server.records.pulling import Span
from server.sharing.authority import Authority
from server.storage import feed_digest
from server.storage.engine import Snapshot, Storage
from server.storage.feed_digest import Standing
from server.storage.feed_ranges import FeedRange, live_ranges
from server.storage.sealing import Sealer
from server.storage.session import ReadSession
from sync.cursor import Cursor
from sync.digest import WIRE_HASH_BYTES, Digest
from sync.messages import (
    FETCH_ITEMS_MAX,
    PAGE_BYTES_MAX,
    PAGE_ROWS_MAX,
    SEGMENT_SEQS,
    Change,
    DigestAnswer,
    Fetch,
    Page,
    Segment,
)
from sync.messages import (
    Snapshot as SnapshotAnswer,
)

BUCKET_DIGITS = 2
# A segment is whole, however large: what it left out would be nowhere.
SEGMENT_BYTES_MAX = 2**63 - 1


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a phone asks for with `changes`.

    `known` is the cursor of If-None-Match, `log_size` that of Sync-Log, `digest` the text of Sync-Digest.
    """

    since: str | None = None
    rows_max: int = PAGE_ROWS_MAX
    bytes_max: int = PAGE_BYTES_MAX
    known: str | None = None
    log_size: int | None = None
    digest: str | None = None


class Unchanged(NamedTuple):
    """Nothing has changed since this cursor."""

    cursor: str


class _Found(NamedTuple):
    """Where the record stands in one snapshot, and what of it the phone gets."""

    sealer: Sealer
    standing: Standing
    rows: pulling.Rows
    acked: tuple[str, ...]


class Pulls:
    """The reading calls of phones."""

    def __init__(self, storage: Storage, log_signer: LogSigner) -> None:
        self._storage = storage
        self._log_signer = log_signer

    async def changes(self, authority: Authority, asked: Asked) -> Page | Unchanged:
        """The rows since the phone's cursor, or that there are none and that it has the newest checkpoint.

        CursorReset when the cursor is not one of this phone's in the record's present epoch.
        """
        phone = phone_of(authority)
        if asked.known is not None and await self._is_idle(authority, phone, asked):
            return Unchanged(asked.known)
        found = await pulling.pull(
            self._storage, authority, phone, lambda snapshot: self._read(snapshot, phone, asked)
        )
        checkpoint = await self._checkpoint(authority)
        return self._page(phone, asked, found, checkpoint)

    async def snapshot(self, authority: Authority) -> SnapshotAnswer:
        """The segments of a first load, and the cursor to go on from."""
        phone = phone_of(authority)

        def list_segments(session: ReadSession) -> SnapshotAnswer:
            standing = feed_digest.standing(session)
            ranges = live_ranges(session, SEGMENT_SEQS)
            segments = [_segment(session.sealer, standing.epoch, part) for part in ranges]
            return SnapshotAnswer(
                epoch=f"{standing.epoch:016x}",
                cursor=_cursor(session.sealer, phone.device_id, standing, standing.seq),
                count=sum(segment.count for segment in segments),
                segments=tuple(segments),
            )

        return await pulling.pull(
            self._storage, authority, phone, lambda snapshot: snapshot.run(list_segments)
        )

    async def segment(self, authority: Authority, name: str) -> tuple[Change, ...]:
        """The live rows of one segment. NotFound for a name that is none, CursorReset for another epoch's."""
        phone = phone_of(authority)

        async def read(snapshot: Snapshot) -> tuple[Change, ...]:
            part = read_segment_name(snapshot.sealer, name)
            if part is None:
                raise NotFound
            standing = await snapshot.run(feed_digest.standing)
            if standing.epoch != part.epoch:
                raise _reset(authority.record_id)
            span = Span(part.first - 1, min(part.last, standing.seq), SEGMENT_SEQS, SEGMENT_BYTES_MAX)
            found = await pulling.rows(snapshot, span)
            return tuple(change for change in found.changes if change.op == "put")

        return await pulling.pull(self._storage, authority, phone, read)

    async def digest(self, authority: Authority, at: str, prefix: str, depth: int | None) -> DigestAnswer:
        """The nodes `depth` digits below a prefix, or the items of a bucket, whose prefix has two digits.

        HeadMoved when the record is not at `at`.
        """
        phone = phone_of(authority)
        if not _is_prefix(prefix):
            raise BadRequest("A prefix is at most two hexadecimal digits.")
        left = BUCKET_DIGITS - len(prefix)
        levels = left if depth is None else depth
        if not min(left, 1) <= levels <= left:
            raise BadRequest("The tree is two digits deep.")

        def answer(session: ReadSession) -> DigestAnswer:
            standing = feed_digest.standing(session)
            cursor = open_cursor(session.sealer, phone.device_id, at)
            if cursor is None or (cursor.epoch, cursor.seq) != (standing.epoch, standing.seq):
                raise HeadMoved
            return _digest_answer(session, at, prefix, levels)

        return await pulling.pull(self._storage, authority, phone, lambda snapshot: snapshot.run(answer))

    async def fetch(self, authority: Authority, fetch: Fetch) -> Page:
        """These items as they stand at the head."""
        phone = phone_of(authority)
        if len(fetch.items) > FETCH_ITEMS_MAX:
            raise over_limits()

        async def read(snapshot: Snapshot) -> Page:
            standing = await snapshot.run(feed_digest.standing)
            changes = await pulling.items(snapshot, fetch.items)
            return Page(
                cursor=_cursor(snapshot.sealer, phone.device_id, standing, standing.seq), changes=changes
            )

        return await pulling.pull(self._storage, authority, phone, read)

    async def head(self, authority: Authority) -> str:
        """The cursor of the record's head."""
        phone = phone_of(authority)

        def read(session: ReadSession) -> str:
            phone.judge(session)
            standing = feed_digest.standing(session)
            return _cursor(session.sealer, phone.device_id, standing, standing.seq)

        return await self._storage.read(authority.record_id, read)

    async def _is_idle(self, authority: Authority, phone: VisitingPhone, asked: Asked) -> bool:
        def stands_there(session: ReadSession) -> bool:
            phone.judge(session)
            standing = feed_digest.standing(session)
            head = _cursor(session.sealer, phone.device_id, standing, standing.seq)
            return asked.known == head and not _needs_repair(session.sealer, phone, asked, standing)

        if not await self._storage.read(authority.record_id, stands_there):
            return False
        if asked.log_size is None:
            return True
        return (await self._checkpoint(authority)).checkpoint.size == asked.log_size

    async def _read(self, snapshot: Snapshot, phone: VisitingPhone, asked: Asked) -> _Found:
        standing = await snapshot.run(feed_digest.standing)
        after = _place(snapshot, phone, asked.since, standing)
        phone.reached = after
        rows = await pulling.rows(snapshot, Span(after, standing.seq, asked.rows_max, asked.bytes_max))
        acked: tuple[str, ...] = ()
        if asked.since is not None and rows.reached > after:
            acked = await snapshot.run(lambda s: store.acked(s, phone.device_id, after, rows.reached))
        return _Found(snapshot.sealer, standing, rows, acked)

    def _page(self, phone: VisitingPhone, asked: Asked, found: _Found, checkpoint: SignedCheckpoint) -> Page:
        rows, root = found.rows, found.standing.root
        return Page(
            cursor=_cursor(found.sealer, phone.device_id, found.standing, rows.reached),
            more=rows.more,
            acked=found.acked,
            changes=rows.changes,
            checkpoint=checkpoint.note,
            digest=root.hex() if root and not rows.more else None,
            repair=_needs_repair(found.sealer, phone, asked, found.standing),
        )

    async def _checkpoint(self, authority: Authority) -> SignedCheckpoint:
        return await audit.recent_checkpoint(self._storage, authority.record_id, self._log_signer)


def _cursor(sealer: Sealer, device_id: UUID, standing: Standing, seq: int) -> str:
    return seal_cursor(sealer, device_id, Cursor(epoch=standing.epoch, seq=seq))


def _place(snapshot: Snapshot, phone: VisitingPhone, since: str | None, standing: Standing) -> int:
    """The place in the feed a cursor stands for; the beginning without one."""
    if since is None:
        return 0
    cursor = open_cursor(snapshot.sealer, phone.device_id, since)
    if cursor is None or cursor.epoch != standing.epoch:
        raise _reset(snapshot.record_id)
    if not standing.floor <= cursor.seq <= standing.seq:
        raise _reset(snapshot.record_id)
    return cursor.seq


def _reset(record_id: UUID) -> CursorReset:
    refused = CursorReset()
    refused.members = {"snapshot": f"/sync/v1/records/{record_id}/snapshot"}
    return refused


def _needs_repair(sealer: Sealer, phone: VisitingPhone, asked: Asked, standing: Standing) -> bool:
    """Whether the phone's own digest is of this very place and not ours."""
    text, _, root = (asked.digest or "").partition(":")
    if not root or standing.root is None:
        return False
    cursor = open_cursor(sealer, phone.device_id, text)
    is_here = cursor is not None and (cursor.epoch, cursor.seq) == (standing.epoch, standing.seq)
    return is_here and root.lower() != standing.root.hex()


def _segment(sealer: Sealer, epoch: int, part: FeedRange) -> Segment:
    return Segment(
        hash=name_segment(sealer, SegmentRange(epoch, part.first, part.last)),
        from_=part.first,
        to=part.last,
        count=part.live,
        bytes=part.sealed_bytes,
    )


def _digest_answer(session: ReadSession, at: str, prefix: str, depth: int) -> DigestAnswer:
    if depth == 0:
        leaves = tuple(
            (leaf.resource_type, leaf.logical_id, leaf.version, leaf.entry[:WIRE_HASH_BYTES].hex())
            for leaf in feed_digest.bucket_leaves(session, int(prefix, 16))
        )
        return DigestAnswer(at=at, prefix=prefix, leaves=leaves)
    digest = feed_digest.digest_state(session) or Digest()
    children = digest.children(feed_digest.digest_key(session.sealer), prefix, depth)
    return DigestAnswer(at=at, prefix=prefix, children=children)


def _is_prefix(prefix: str) -> bool:
    return len(prefix) <= BUCKET_DIGITS and all(digit in "0123456789abcdef" for digit in prefix)
