"""The few hot statements: fixed SQL text run on the driver's own connection, the same on both databases.

Everything else goes through SQLModel and Core. Each statement here is measured against doing so, names
`record_id` first, and is covered by the contract suite on SQLite and PostgreSQL.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from server.storage.drivers import Driver, LogValues, SeenValues, Statement

SEQ_MAX = 2**63 - 1


class FeedRow(NamedTuple):
    """One row of the feed, sealed."""

    seq: int
    item_key: bytes
    version: int
    state: int
    batch: int | None
    head: bytes
    body: bytes
    bucket: int | None = None
    entry: bytes | None = None


class HeadRow(NamedTuple):
    """One row of the feed without its body."""

    seq: int
    item_key: bytes
    version: int
    state: int
    head: bytes


class StagedRow(NamedTuple):
    """One staged item and the row it is to replace, whose columns are None when there is none."""

    position: int
    base_version: int
    bucket: int | None
    entry: bytes | None
    standing_version: int | None
    standing_bucket: int | None
    standing_entry: bytes | None


class LogHead(NamedTuple):
    """Where a record's log stands."""

    log_id: bytes
    size: int
    root: bytes


_FEED_COLUMNS = "seq, item_key, version, state, batch, head, body, bucket, entry"
_FEED_PAGE = Statement(
    f"SELECT {_FEED_COLUMNS} FROM item"  # noqa: S608
    " WHERE record_id = $1 AND seq > $2 AND seq <= $4 ORDER BY seq LIMIT $3"
)
_BUCKET = Statement(
    "SELECT seq, item_key, version, state, head, entry FROM item WHERE record_id = $1 AND bucket = $2"
)
_HEADS_PAGE = Statement(
    "SELECT seq, item_key, version, state, head FROM item"
    " WHERE record_id = $1 AND seq > $2 AND state = 0 ORDER BY seq LIMIT $3"
)
_ITEM = Statement(f"SELECT {_FEED_COLUMNS} FROM item WHERE record_id = $1 AND item_key = $2")  # noqa: S608
_RECORD_STATE = "SELECT seq, epoch, floor FROM record WHERE record_id = $1"
_READ_RECORD = Statement(_RECORD_STATE)
_LOCK_RECORD = Statement(_RECORD_STATE, lock="FOR UPDATE")
# Read on every pull of a phone, in one round trip.
_STANDING = Statement(
    "SELECT seq, epoch, floor, (SELECT root FROM record_digest WHERE record_id = $1)"
    " FROM record WHERE record_id = $1"
)
_DIGEST = Statement("SELECT sums FROM record_digest WHERE record_id = $1")
_KEEP_DIGEST = Statement(
    "INSERT INTO record_digest (record_id, sums, root) VALUES ($1, $2, $3)"
    " ON CONFLICT (record_id) DO UPDATE SET sums = excluded.sums, root = excluded.root"
)
# What an extract brings, beside what it replaces: told apart and added up outside the database.
_STAGED = Statement(
    "SELECT staged.position, staged.base_version, staged.bucket, staged.entry,"
    " standing.version, standing.bucket, standing.entry"
    " FROM staged_item AS staged LEFT JOIN item AS standing"
    " ON standing.record_id = staged.record_id AND standing.item_key = staged.item_key"
    " WHERE staged.record_id = $1 AND staged.extract_id = $2 ORDER BY staged.position"
)
_LOG_HEAD = "SELECT log_id, size, root FROM log_head WHERE record_id = $1"
_READ_LOG = Statement(_LOG_HEAD)
_LOCK_LOG = Statement(_LOG_HEAD, lock="FOR UPDATE")
_OPEN_LOG = Statement("INSERT INTO log_head (record_id, log_id, size, root) VALUES ($1, $2, 0, $3)")
# Read on every request of a recipient, and again before each disclosure (THREATS rule 7).
_ACCESS_GRANT = Statement("SELECT version, sealed FROM access_grant WHERE record_id = $1 AND grant_id = $2")
_MOVE_SEQ = Statement("UPDATE record SET seq = $2 WHERE record_id = $1")


class LogMoved(Exception):
    """The log's head was not where the new entry expected it; the head must be locked before numbering."""


class HotReads:
    """The hot reads of one record."""

    __slots__ = ("_driver", "_record_key")

    def __init__(self, driver: Driver, record_id: UUID) -> None:
        self._driver = driver
        self._record_key = driver.record_key(record_id)

    def record_state(self) -> tuple[int, int, int] | None:
        """(seq, epoch, floor) of the record, or None when there is none."""
        rows = self._driver.rows(_READ_RECORD, self._record_key)
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def standing(self) -> tuple[int, int, int, bytes | None] | None:
        """(seq, epoch, floor, root of the digest) of the record, or None when there is none."""
        rows = self._driver.rows(_STANDING, self._record_key)
        return (rows[0][0], rows[0][1], rows[0][2], rows[0][3]) if rows else None

    def digest_state(self) -> bytes | None:
        """The state of the record's digest; None when it was never counted."""
        rows = self._driver.rows(_DIGEST, self._record_key)
        return rows[0][0] if rows else None

    def bucket(self, bucket: int) -> list[tuple[HeadRow, bytes]]:
        """The live items counted in one bucket of the digest, each with its entry hash, in no order."""
        rows = self._driver.rows(_BUCKET, self._record_key, bucket)
        return [(HeadRow._make(row[:5]), row[5]) for row in rows]

    def feed_page(self, after: int, limit: int, upto: int = SEQ_MAX) -> list[FeedRow]:
        """The rows numbered after `after` and up to `upto`, in order, whatever their state."""
        rows = self._driver.rows(_FEED_PAGE, self._record_key, after, limit, upto)
        return [FeedRow._make(row) for row in rows]

    def heads_page(self, after: int, limit: int) -> list[HeadRow]:
        """The heads of the live items numbered after `after`, in order."""
        return [HeadRow._make(row) for row in self._driver.rows(_HEADS_PAGE, self._record_key, after, limit)]

    def item(self, item_key: bytes) -> FeedRow | None:
        """The row of one item."""
        rows = self._driver.rows(_ITEM, self._record_key, item_key)
        return FeedRow._make(rows[0]) if rows else None

    def items(self, item_keys: Sequence[bytes]) -> list[FeedRow]:
        """The rows of these items, in no order; those that are not there are left out."""
        return [FeedRow._make(row) for row in self._driver.rows_by_key(_ITEM, self._record_key, item_keys)]

    def access_grant(self, grant_id: UUID) -> tuple[int, bytes] | None:
        """(version, sealed) of one grant, or None when the record has no such grant."""
        rows = self._driver.rows(_ACCESS_GRANT, self._record_key, self._driver.record_key(grant_id))
        return (rows[0][0], rows[0][1]) if rows else None

    def log_head(self) -> LogHead | None:
        """Where the record's log stands."""
        rows = self._driver.rows(_READ_LOG, self._record_key)
        return LogHead._make(rows[0]) if rows else None


class HotWrites(HotReads):
    """The hot writes of one record."""

    __slots__ = ()

    def lock_record(self) -> tuple[int, int, int] | None:
        """(seq, epoch, floor), held until the commit. On SQLite the one writer's transaction is the lock."""
        rows = self._driver.rows(_LOCK_RECORD, self._record_key)
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def keep_digest(self, state: bytes, root: bytes) -> None:
        """Writes the record's digest; the caller holds its lock."""
        self._driver.run(_KEEP_DIGEST, self._record_key, state, root)

    def staged(self, extract_id: UUID) -> list[StagedRow]:
        """What is staged for an extract beside what stands, in order of position."""
        rows = self._driver.rows(_STAGED, self._record_key, self._driver.record_key(extract_id))
        return [StagedRow._make(row) for row in rows]

    def lock_log(self) -> LogHead | None:
        """The head of the log, held until the commit."""
        rows = self._driver.rows(_LOCK_LOG, self._record_key)
        return LogHead._make(rows[0]) if rows else None

    def move_seq(self, seq: int) -> None:
        """Writes the record's new seq; the caller holds its lock."""
        self._driver.run(_MOVE_SEQ, self._record_key, seq)

    def open_log(self, log_id: bytes, root: bytes) -> None:
        """Begins the record's log."""
        self._driver.run(_OPEN_LOG, self._record_key, log_id, root)

    def append_log(
        self, n: int, sealed: bytes, leaf: bytes, *, root: bytes, grant_key: bytes | None = None
    ) -> None:
        """Adds entry `n` and moves the head to it; LogMoved when the head is not at `n - 1`."""
        if not self._driver.append_log(LogValues(self._record_key, n, sealed, leaf, root, grant_key)):
            raise LogMoved(LogMoved.__doc__)

    def keep_seen(
        self, item_keys: Sequence[bytes], versions: Sequence[int], *, recipient_key: bytes, n: int
    ) -> None:
        """Notes that entry `n` says one recipient was shown these versions of items, each named once."""
        if item_keys:
            self._driver.keep_seen(SeenValues(self._record_key, item_keys, versions, recipient_key, n))
