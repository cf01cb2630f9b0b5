"""The access log: entries are written before what they tell of is answered (DESIGN wall 4)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from server.audit import seen_index, store
from server.audit.entry import DISCLOSING, LOG_PURPOSE, LogEntry, grant_key, open_entry, seal_entry
from server.audit.signer import LogSigner, signed_at
from server.errors import AccessEnded
from server.storage.engine import Storage
from server.storage.hot import LogHead
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, RecordUnknown, WriteSession
from sync.log_verifier import first_root, leaf_of, next_root
from sync.signed_note import Checkpoint, NoteRefused

PAGE_ENTRIES_DEFAULT = 50
PAGE_ENTRIES_MAX = 200
# One entry can name thousands of items; a page ends early rather than grow past what a phone takes at once.
PAGE_SEALED_BYTES_MAX = 1024 * 1024
CHECKPOINT_SECONDS_MIN = 60
# A phone warns when a checkpoint is a day old, so that an idle log is signed anew well before.
CHECKPOINT_RENEWED_AFTER = timedelta(hours=12)
# Opening this much takes about two milliseconds, after which others get the loop.
OPENED_BYTES_PER_TURN = 64 * 1024


class OpenedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for the record's owner: what it says, and what its place in the chain is proved with."""

    n: int
    entry: LogEntry
    sealed: bytes
    leaf: bytes
    previous_root: bytes
    root: bytes


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of a log. `key` opens the sealed entries; `more` says that further entries follow."""

    entries: tuple[OpenedEntry, ...]
    key: bytes
    more: bool


class SignedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint and the note that proves it."""

    checkpoint: Checkpoint
    note: str
    at: datetime


class SeenItem(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one item whose content left the server, and when it first did."""

    type: str
    id: str
    version: str
    first_at: datetime


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was disclosed under one grant, as the log told up to entry `n`."""

    n: int = 0
    last_read_at: datetime | None = None
    items: tuple[SeenItem, ...] = ()

    @property
    def items_seen(self) -> int:
        """How many different items, whatever their versions."""
        return len({(item.type, item.id) for item in self.items})


NOTHING_SEEN = Seen()


def add(session: WriteSession, entry: LogEntry) -> int:
    """Adds an entry to the record's log as part of the session's command; its number.

    Locks the log's head, so the record is locked before this when both are needed.
    """
    return _add_after(session.lock_log(), session, entry)


async def append(
    storage: Storage,
    record_id: UUID,
    entry: LogEntry,
    still_live: Callable[[WriteSession], bool] | None = None,
) -> int:
    """Commits an entry and answers its number; AccessEnded, and no entry, when `still_live` says no.

    `still_live` is asked with the log's head locked: whoever ends the access takes the same lock, so that an
    entry is committed before the ending or not at all.
    """

    def command(session: WriteSession) -> int:
        head = session.lock_log()
        if still_live is not None and not still_live(session):
            raise AccessEnded
        return _add_after(head, session, entry)

    return await storage.append(record_id, command)


def _add_after(head: LogHead, session: WriteSession, entry: LogEntry) -> int:
    n = head.size + 1
    sealed = seal_entry(session.sealer, n, msgspec.structs.replace(entry, at=session.now))
    leaf = leaf_of(sealed)
    found_by = grant_key(session.sealer, entry.grant_id) if entry.grant_id else None
    session.hot.append_log(n, sealed, leaf, root=next_root(head.root, leaf), grant_key=found_by)
    seen_index.note(session, n, entry)
    return n


def entry_time(session: ReadSession, n: int) -> datetime | None:
    """When entry `n` was written; None when there is none."""
    row = store.read_entry(session, n)
    return None if row is None else open_entry(session.sealer, n, row.sealed).at


async def entries(storage: Storage, record_id: UUID, after: int, limit: int) -> LogPage:
    """The owner's entries after number `after`, at most `limit` of them and about 1 MB."""

    def query(session: ReadSession) -> tuple[Sealer, bytes, list[store.StoredEntry], bool]:
        head = session.hot.log_head()
        if head is None:
            raise RecordUnknown
        last = _page_end(after, store.read_sizes(session, after, min(limit, PAGE_ENTRIES_MAX)))
        before = store.read_entry(session, after)
        root = before.root if before else first_root(head.log_id)
        return session.sealer, root, store.read_entries(session, after, last - after), last < head.size

    sealer, root, page, more = await storage.read(record_id, query)
    opened: list[OpenedEntry] = []
    async for row, entry in _opened(sealer, page):
        opened.append(_proved(row, entry, previous_root=root))
        root = row.root
    return LogPage(entries=tuple(opened), key=sealer.subkey(LOG_PURPOSE), more=bool(opened) and more)


def _proved(row: store.StoredEntry, entry: LogEntry, previous_root: bytes) -> OpenedEntry:
    return OpenedEntry(
        n=row.n, entry=entry, sealed=row.sealed, leaf=row.leaf, previous_root=previous_root, root=row.root
    )


def _page_end(after: int, sizes: Sequence[tuple[int, int]]) -> int:
    """The number of the last entry that stays within the page's bytes, or of the first if none does."""
    total, last = 0, after
    for n, sealed_bytes in sizes:
        total += sealed_bytes
        if last > after and total > PAGE_SEALED_BYTES_MAX:
            break
        last = n
    return last


async def _opened(
    sealer: Sealer, rows: Sequence[store.StoredEntry]
) -> AsyncIterator[tuple[store.StoredEntry, LogEntry]]:
    """Each entry opened, letting the loop go now and then."""
    since_turn = 0
    for row in rows:
        since_turn += len(row.sealed)
        if since_turn > OPENED_BYTES_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)
        yield row, open_entry(sealer, row.n, row.sealed)


async def checkpoint(storage: Storage, record_id: UUID, signer: LogSigner) -> SignedCheckpoint:
    """The checkpoint of the log as it stands now, for someone who asked for it."""
    return await _checkpoint(storage, record_id, signer, _is_of_now)


async def recent_checkpoint(storage: Storage, record_id: UUID, signer: LogSigner) -> SignedCheckpoint:
    """A checkpoint to send along with other answers: signed anew once a minute at most."""
    return await _checkpoint(storage, record_id, signer, _is_recent)


async def _checkpoint(
    storage: Storage,
    record_id: UUID,
    signer: LogSigner,
    is_good: Callable[[SignedCheckpoint, int, datetime], bool],
) -> SignedCheckpoint:
    def kept(session: ReadSession) -> SignedCheckpoint | None:
        head = store.read_head(session)
        if head is None:
            raise RecordUnknown
        signed = _recognised(signer, head)
        return signed if signed and is_good(signed, head.size, session.now) else None

    def renewed(session: WriteSession) -> SignedCheckpoint:
        head = session.lock_log()
        note = signer.sign(head.log_id, head.size, head.root, at=session.now)
        store.keep_note(session, note)
        return _signed(signer, note)

    return await storage.read(record_id, kept) or await storage.write(record_id, renewed)


def _is_of_now(signed: SignedCheckpoint, size: int, now: datetime) -> bool:
    return signed.checkpoint.size == size and now - signed.at < CHECKPOINT_RENEWED_AFTER


def _is_recent(signed: SignedCheckpoint, size: int, now: datetime) -> bool:
    is_young = now - signed.at < timedelta(seconds=CHECKPOINT_SECONDS_MIN)
    return is_young or _is_of_now(signed, size, now)


def _recognised(signer: LogSigner, head: store.StoredHead) -> SignedCheckpoint | None:
    """The checkpoint kept with the head; None when there is none that is ours under today's name."""
    if head.note is None:
        return None
    try:
        signed = _signed(signer, head.note)
    except NoteRefused:
        return None
    return signed if signed.checkpoint.origin == signer.origin(head.log_id) else None


def _signed(signer: LogSigner, note: str) -> SignedCheckpoint:
    opened = signer.recognise(note)
    return SignedCheckpoint(checkpoint=opened, note=note, at=signed_at(opened))


def seen(session: ReadSession, grant_id: UUID, known: Seen = NOTHING_SEEN) -> Seen:
    """Everything disclosed under the grant up to this session. `known` spares reading its entries again."""
    rows = store.read_entries_of_grant(session, grant_id, known.n, limit=None)
    return _seen_with(known, ((row, open_entry(session.sealer, row.n, row.sealed)) for row in rows))


async def read_seen(storage: Storage, record_id: UUID, grant_id: UUID) -> Seen:
    """As `seen`, page by page, so that a long log stops nobody else."""

    def query(session: ReadSession) -> tuple[Sealer, list[store.StoredEntry]]:
        rows = store.read_entries_of_grant(session, grant_id, known.n, limit=PAGE_ENTRIES_MAX)
        return session.sealer, rows

    known = NOTHING_SEEN
    while True:
        sealer, rows = await storage.read(record_id, query)
        known = _seen_with(known, [pair async for pair in _opened(sealer, rows)])
        if len(rows) < PAGE_ENTRIES_MAX:
            return known


def _seen_with(known: Seen, opened: Iterable[tuple[store.StoredEntry, LogEntry]]) -> Seen:
    items = {(item.type, item.id, item.version): item for item in known.items}
    n, last_read_at = known.n, known.last_read_at
    for row, entry in opened:
        n = row.n
        if entry.kind not in DISCLOSING or entry.at is None:
            continue
        last_read_at = entry.at
        for resource_type, logical_id, version in entry.items:
            item = SeenItem(type=resource_type, id=logical_id, version=version, first_at=entry.at)
            items.setdefault((resource_type, logical_id, version), item)
    return Seen(n=n, last_read_at=last_read_at, items=tuple(items.values()))
