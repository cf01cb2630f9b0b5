"""How the hot statements reach each database: on its driver's own connection, in its open transaction."""

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


_MOVE_LOG = Statement("UPDATE log_head SET size = $2, root = $3 WHERE record_id = $1 AND size = $2 - 1")
_ADD_LOG = Statement(
    "INSERT INTO log_entry (record_id, n, sealed, leaf, root, grant_key) VALUES ($1, $2, $3, $4, $5, $6)"
)
_MOVE_AND_ADD_LOG = Statement(
    "WITH moved AS (UPDATE log_head SET size = $2, root = $5 WHERE record_id = $1 AND size = $2 - 1"
    " RETURNING record_id) INSERT INTO log_entry (record_id, n, sealed, leaf, root, grant_key)"
    " SELECT record_id, $2, $3::bytea, $4::bytea, $5, $6::bytea FROM moved"
)


class LogValues(NamedTuple):
    """The parameters of a log append, in order."""

    record_key: Any
    n: int
    sealed: bytes
    leaf: bytes
    root: bytes
    grant_key: bytes | None


class SeenValues(NamedTuple):
    """What one entry of the log says a recipient was shown; no version of an item stands there twice."""

    record_key: Any
    item_keys: Sequence[bytes]
    versions: Sequence[int]
    recipient_key: bytes
    n: int


# Beside each entry of a look: one round trip on PostgreSQL, one prepared statement on SQLite.
_SEEN_ONCE = (
    "INSERT INTO seen_item (record_id, item_key, version, recipient_key, first_n, last_n)"
    " VALUES ($1, $2, $3, $4, $5, $5)"
    " ON CONFLICT (record_id, item_key, version, recipient_key) DO UPDATE SET last_n = excluded.last_n"
)
_SEEN = Statement(_SEEN_ONCE)
_SEEN_AT_ONCE = _SEEN_ONCE.replace(
    "VALUES ($1, $2, $3, $4, $5, $5)",
    "SELECT $1, item_key, version, $4, $5, $5"
    " FROM unnest($2::bytea[], $3::int[]) AS seen (item_key, version)",
)


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

    def keep_seen(self, values: SeenValues) -> None:
        """Notes that one recipient was shown these versions of items."""
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

    def keep_seen(self, values: SeenValues) -> None:
        """Notes that one recipient was shown these versions of items."""
        shown = zip(values.item_keys, values.versions, strict=True)
        rows = [(values.record_key, key, version, values.recipient_key, values.n) for key, version in shown]
        self._connection.executemany(_SEEN.sqlite, rows)

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

    def keep_seen(self, values: SeenValues) -> None:
        """Notes that one recipient was shown these versions of items, in one round trip."""
        await_only(self._connection.execute(_SEEN_AT_ONCE, *values))

    def record_key(self, record_id: UUID) -> Any:
        """PostgreSQL has UUIDs of its own."""
        return record_id
