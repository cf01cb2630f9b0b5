"""The digest of a record's live items, kept by every write of the feed (sync/digest.py says what it is).

Whoever changes items opens the digest under the record's lock, moves it and keeps it in the same transaction,
so that its root is that of exactly the rows a snapshot shows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlmodel import col

from server.storage.feed_rows import LIVE, open_body, open_head
from server.storage.hot import FeedRow
from server.storage.sealing import Sealer
from server.storage.session import ReadSession, RecordUnknown, WriteSession
from server.storage.tables import ItemRow
from sync.digest import Digest, bucket_of, digest_of, entry_hash

_ROWS_PER_PAGE = 500


class Standing(NamedTuple):
    """Where a record's feed stands, for a phone. `root` is None while its digest was never counted."""

    seq: int
    epoch: int
    floor: int
    root: bytes | None


class Leaf(NamedTuple):
    """One live item as its bucket of the digest counts it."""

    resource_type: str
    logical_id: str
    version: int
    entry: bytes


def digest_key(sealer: Sealer) -> bytes:
    """The key of the record's digest, which its owner's phones are given."""
    return sealer.secret("digest")


def standing(session: ReadSession) -> Standing:
    """Where the feed stands, in one reading; RecordUnknown when there is no record."""
    found = session.hot.standing()
    if found is None:
        raise RecordUnknown
    return Standing._make(found)


def digest_state(session: ReadSession) -> Digest | None:
    """The digest as it is kept; None when it was never counted."""
    state = session.hot.digest_state()
    return None if state is None else Digest.decode(state)


def bucket_leaves(session: ReadSession, bucket: int) -> list[Leaf]:
    """The live items of one bucket, in order of type and id."""
    sealer = session.sealer
    leaves: list[Leaf] = []
    for row, entry in session.hot.bucket(bucket):
        head = open_head(sealer, row)
        leaves.append(Leaf(head.resource_type, head.logical_id, row.version, entry))
    return sorted(leaves)


def ensure_digest(session: WriteSession) -> Digest:
    """The record's digest, to be changed under its lock; counted now if it never was."""
    state = session.hot.digest_state()
    return rebuild_digest(session) if state is None else Digest.decode(state)


def keep_digest(session: WriteSession, digest: Digest) -> None:
    """Writes the digest; the caller holds the record's lock."""
    session.hot.keep_digest(digest.encode(), digest.root(digest_key(session.sealer)))


def rebuild_digest(session: WriteSession) -> Digest:
    """Counts the digest anew from what the rows hold, and puts right every entry that is not as it should be.

    For a record made before there were digests; a digest that was kept is not changed by this.
    """
    session.lock_record()
    found: list[tuple[int, bytes]] = []
    after = 0
    while page := session.hot.feed_page(after, _ROWS_PER_PAGE):
        after = page[-1].seq
        entries = [_entry_of_row(session.sealer, row) for row in page]
        found += [entry for entry in entries if entry is not None]
        _set_entries(session, page, entries)
    digest = digest_of(found)
    keep_digest(session, digest)
    return digest


def entry_columns(
    sealer: Sealer, name: tuple[str, str], version: int, body: bytes, *, state: int = LIVE
) -> dict[str, Any]:
    """What a new version adds to the digest, as columns of its row."""
    entry = _entry(sealer, name, version, body) if state == LIVE else (None, None)
    return {"bucket": entry[0], "entry": entry[1]}


def counted(entries: Iterable[tuple[int | None, bytes | None]]) -> list[tuple[int, bytes]]:
    """Those of the entries that the digest counts."""
    return [(bucket, entry) for bucket, entry in entries if bucket is not None and entry is not None]


def _entry(sealer: Sealer, name: tuple[str, str], version: int, body: bytes) -> tuple[int, bytes]:
    key = digest_key(sealer)
    return bucket_of(key, *name), entry_hash(key, *name, version=version, body=body)


def _entry_of_row(sealer: Sealer, row: FeedRow) -> tuple[int, bytes] | None:
    if row.state != LIVE:
        return None
    head = open_head(sealer, row)
    return _entry(sealer, (head.resource_type, head.logical_id), row.version, open_body(sealer, row))


def _set_entries(
    session: WriteSession, rows: Sequence[FeedRow], entries: Sequence[tuple[int, bytes] | None]
) -> None:
    wrong: list[dict[str, Any]] = []
    for row, entry in zip(rows, entries, strict=True):
        bucket, hashed = entry or (None, None)
        if (row.bucket, row.entry) != (bucket, hashed):
            wrong.append({"with_key": row.item_key, "new_bucket": bucket, "new_entry": hashed})
    if not wrong:
        return
    statement = (
        sa.update(ItemRow)
        .where(col(ItemRow.record_id) == session.record_id)
        .where(col(ItemRow.item_key) == sa.bindparam("with_key"))
        .values(bucket=sa.bindparam("new_bucket"), entry=sa.bindparam("new_entry"))
    )
    session.execute(statement, wrong)
