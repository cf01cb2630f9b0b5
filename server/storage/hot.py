"""The few hot statements: fixed SQL text run on the driver's own connection, the same on both databases.

Everything else goes through SQLModel and Core. Each statement here is measured against doing so, names
`record_id` first, and is covered by the contract suite on SQLite and PostgreSQL.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy.util import await_only

KEYS_PER_STATEMENT_MAX = 500


class Statement:
    """One statement in both dialects, written with PostgreSQL's numbered parameters."""

    __slots__ = ("postgresql", "sqlite")

    def __init__(self, text: str, *, lock: str = "") -> None:
        self.postgresql = f"{text} {lock}".strip()
        self.sqlite = text.replace("$", "?")


class LogValues(NamedTuple):
    """The parameters of a log append, in order."""

    record_key: Any
    n: int
    sealed: bytes
    leaf: bytes
    root: bytes
    grant_key: bytes | None


class Driver(Protocol):
    """A driver's connection with one record's transaction open on it."""

    def rows(self, statement: Statement, *values: Any) -> Sequence[Sequence[Any]]:
        """Every row."""
        ...

    def rows_by_key(
        self, statement: Statement, record_key: Any, keys: Sequence[bytes]
    ) -> list[Sequence[Any]]:
        """The row of each key that has one; the statement takes the key as its second parameter."""
        ...

    def run(self, statement: Statement, *values: Any) -> int:
        """How many rows the statement changed."""
        ...

    def append_log(self, values: LogValues) -> bool:
        """Moves the head and adds the entry; False when the head is not at the entry before."""
        ...

    def record_key(self, record_id: UUID) -> Any:
        """The record id as this driver takes it."""
        ...


class AsyncpgConnection(Protocol):
    """What we use of an asyncpg connection; its own types are incomplete."""

    async def fetch(self, query: str, *args: Any) -> list[Sequence[Any]]:
        """Every row."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Sequence[Any] | None:
        """The first row."""
        ...

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 - theirs
        """The status the server ends with."""
        ...

    def is_closed(self) -> bool:
        """Whether the server or we have ended it."""
        ...

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def terminate(self) -> None:
        """Ends it at once."""
        ...


class SqliteDriver:
    """Hot statements on a sqlite3 connection, run where they are called."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, statement: Statement, *values: Any) -> Sequence[Sequence[Any]]:
        """Every row."""
        return self._connection.execute(statement.sqlite, values).fetchall()

    def rows_by_key(
        self, statement: Statement, record_key: Any, keys: Sequence[bytes]
    ) -> list[Sequence[Any]]:
        """The row of each key that has one."""
        found: list[Sequence[Any]] = []
        for start in range(0, len(keys), KEYS_PER_STATEMENT_MAX):
            some = keys[start : start + KEYS_PER_STATEMENT_MAX]
            places = ",".join(f"?{place}" for place in range(2, len(some) + 2))
            text = statement.sqlite.replace("item_key = ?2", f"item_key IN ({places})")
            found += self._connection.execute(text, (record_key, *some)).fetchall()
        return found

    def run(self, statement: Statement, *values: Any) -> int:
        """How many rows the statement changed."""
        return self._connection.execute(statement.sqlite, values).rowcount

    def append_log(self, values: LogValues) -> bool:
        """Moves the head and adds the entry, in two statements."""
        if self.run(_MOVE_LOG, values.record_key, values.n, values.root) != 1:
            return False
        return self.run(_ADD_LOG, *values) == 1

    def record_key(self, record_id: UUID) -> Any:
        """SQLite keeps a UUID as 32 hexadecimal digits."""
        return record_id.hex


class PostgresDriver:
    """Hot statements on an asyncpg connection, which keeps them prepared, in SQLAlchemy's greenlet."""

    __slots__ = ("_connection",)

    def __init__(self, connection: AsyncpgConnection) -> None:
        self._connection = connection

    def rows(self, statement: Statement, *values: Any) -> Sequence[Sequence[Any]]:
        """Every row."""
        return await_only(self._connection.fetch(statement.postgresql, *values))

    def rows_by_key(
        self, statement: Statement, record_key: Any, keys: Sequence[bytes]
    ) -> list[Sequence[Any]]:
        """The row of each key that has one, in one round trip."""
        text = statement.postgresql.replace("item_key = $2", "item_key = ANY($2)")
        found: list[Sequence[Any]] = []
        for start in range(0, len(keys), KEYS_PER_STATEMENT_MAX):
            some = keys[start : start + KEYS_PER_STATEMENT_MAX]
            found += await_only(self._connection.fetch(text, record_key, some))
        return found

    def run(self, statement: Statement, *values: Any) -> int:
        """How many rows the statement changed."""
        status: str = await_only(self._connection.execute(statement.postgresql, *values))
        return int(status.rpartition(" ")[2])

    def append_log(self, values: LogValues) -> bool:
        """Moves the head and adds the entry, in one round trip."""
        return self.run(_MOVE_AND_ADD_LOG, *values) == 1

    def record_key(self, record_id: UUID) -> Any:
        """PostgreSQL has UUIDs of its own."""
        return record_id


class FeedRow(NamedTuple):
    """One row of the feed, sealed."""

    seq: int
    item_key: bytes
    version: int
    state: int
    batch: int | None
    head: bytes
    body: bytes


class HeadRow(NamedTuple):
    """One row of the feed without its body."""

    seq: int
    item_key: bytes
    version: int
    state: int
    head: bytes


class LogHead(NamedTuple):
    """Where a record's log stands."""

    log_id: bytes
    size: int
    root: bytes


_FEED_COLUMNS = "seq, item_key, version, state, batch, head, body"
_FEED_PAGE = Statement(
    f"SELECT {_FEED_COLUMNS} FROM item WHERE record_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"  # noqa: S608
)
_HEADS_PAGE = Statement(
    "SELECT seq, item_key, version, state, head FROM item"
    " WHERE record_id = $1 AND seq > $2 AND state = 0 ORDER BY seq LIMIT $3"
)
_ITEM = Statement(f"SELECT {_FEED_COLUMNS} FROM item WHERE record_id = $1 AND item_key = $2")  # noqa: S608
_RECORD_STATE = "SELECT seq, epoch FROM record WHERE record_id = $1"
_READ_RECORD = Statement(_RECORD_STATE)
_LOCK_RECORD = Statement(_RECORD_STATE, lock="FOR UPDATE")
_LOG_HEAD = "SELECT log_id, size, root FROM log_head WHERE record_id = $1"
_READ_LOG = Statement(_LOG_HEAD)
_LOCK_LOG = Statement(_LOG_HEAD, lock="FOR UPDATE")
_OPEN_LOG = Statement("INSERT INTO log_head (record_id, log_id, size, root) VALUES ($1, $2, 0, $3)")
_MOVE_LOG = Statement("UPDATE log_head SET size = $2, root = $3 WHERE record_id = $1 AND size = $2 - 1")
_ADD_LOG = Statement(
    "INSERT INTO log_entry (record_id, n, sealed, leaf, root, grant_key) VALUES ($1, $2, $3, $4, $5, $6)"
)
# Read on every request of a recipient, and again before each disclosure (THREATS rule 7).
_ACCESS_GRANT = Statement("SELECT version, sealed FROM access_grant WHERE record_id = $1 AND grant_id = $2")
_MOVE_AND_ADD_LOG = Statement(
    "WITH moved AS (UPDATE log_head SET size = $2, root = $5 WHERE record_id = $1 AND size = $2 - 1"
    " RETURNING record_id) INSERT INTO log_entry (record_id, n, sealed, leaf, root, grant_key)"
    " SELECT record_id, $2, $3::bytea, $4::bytea, $5, $6::bytea FROM moved"
)
_MOVE_SEQ = Statement("UPDATE record SET seq = $2 WHERE record_id = $1")


class LogMoved(Exception):
    """The log's head was not where the new entry expected it; the head must be locked before numbering."""


class HotReads:
    """The hot reads of one record."""

    __slots__ = ("_driver", "_record_key")

    def __init__(self, driver: Driver, record_id: UUID) -> None:
        self._driver = driver
        self._record_key = driver.record_key(record_id)

    def record_state(self) -> tuple[int, int] | None:
        """(seq, epoch) of the record, or None when there is none."""
        rows = self._driver.rows(_READ_RECORD, self._record_key)
        return (rows[0][0], rows[0][1]) if rows else None

    def feed_page(self, after: int, limit: int) -> list[FeedRow]:
        """The rows numbered after `after`, in order, whatever their state."""
        return [FeedRow._make(row) for row in self._driver.rows(_FEED_PAGE, self._record_key, after, limit)]

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

    def lock_record(self) -> tuple[int, int] | None:
        """(seq, epoch), held until the commit. On SQLite the one writer's transaction is the lock."""
        rows = self._driver.rows(_LOCK_RECORD, self._record_key)
        return (rows[0][0], rows[0][1]) if rows else None

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
