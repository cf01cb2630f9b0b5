"""The phone's storage in one SQLite file (sync/ports.py): one table of keyed bytes, one transaction per step.

A transaction is on the disk before it counts as done, so that a phone that is cut off loses nothing that it
said was kept. https://www.sqlite.org/wal.html
"""

import os
import sqlite3
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from server.commands.phone_app.refusals import PhoneDamaged
from sync.ports import Shelf, Transaction

SCHEMA_VERSION = 1
BUSY_SECONDS_MAX = 30

_LARGEST = chr(sys.maxunicode)
_BEFORE_SURROGATES, _AFTER_SURROGATES = 0xD7FF, 0xE000


class SqliteStorage:
    """Keeps what committed transactions wrote. Only this user can read the file."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS_MAX)
        self._is_open = False
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as broken:
            self._connection.close()
            raise PhoneDamaged(f"{path} cannot be read: {broken}.") from broken

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """One transaction. There is only one at a time."""
        assert not self._is_open, "A transaction is open already."
        self._is_open = True
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield SqliteTransaction(self._connection)
            self._connection.execute("COMMIT")
        finally:
            self._is_open = False
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Closes the file. What was committed is in it."""
        self._connection.close()

    def _prepare(self, path: Path) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA_VERSION):
            raise PhoneDamaged(f"{path} was written by another version of this phone.")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS kept (shelf TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, "
            "PRIMARY KEY (shelf, key)) WITHOUT ROWID"
        )
        self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


class SqliteTransaction:
    """What one transaction sees and writes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, shelf: Shelf, key: str) -> bytes | None:
        """What lies there."""
        row = self._connection.execute(
            "SELECT value FROM kept WHERE shelf = ? AND key = ?", (shelf, key)
        ).fetchone()
        return None if row is None else row[0]

    def put(self, shelf: Shelf, key: str, value: bytes) -> None:
        """Lays it there."""
        self._connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (shelf, key, value))

    def delete(self, shelf: Shelf, key: str) -> None:
        """Takes it away."""
        self._connection.execute("DELETE FROM kept WHERE shelf = ? AND key = ?", (shelf, key))

    def scan(self, shelf: Shelf, prefix: str = "") -> list[tuple[str, bytes]]:
        """Every entry whose key begins so, in order: UTF-8 compares as its code points do."""
        statement = "SELECT key, value FROM kept WHERE shelf = ? AND key >= ?"
        after = _first_after(prefix)
        bounds = (shelf, prefix) if after is None else (shelf, prefix, after)
        statement += "" if after is None else " AND key < ?"
        return self._connection.execute(f"{statement} ORDER BY key", bounds).fetchall()

    def clear(self, shelf: Shelf) -> None:
        """Empties a shelf."""
        self._connection.execute("DELETE FROM kept WHERE shelf = ?", (shelf,))


def _first_after(prefix: str) -> str | None:
    """The least text greater than every text that begins so; None when there is none."""
    kept = prefix.rstrip(_LARGEST)
    if not kept:
        return None
    last = ord(kept[-1])
    return kept[:-1] + chr(_AFTER_SURROGATES if last == _BEFORE_SURROGATES else last + 1)
