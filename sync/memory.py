"""A phone's storage in memory, with transactions that commit or leave nothing, and copies like a backup's."""

from collections.abc import Generator
from contextlib import contextmanager

from sync.ports import SHELVES, Shelf, Transaction

_Shelves = dict[Shelf, dict[str, bytes]]


class MemoryStorage:
    """Keeps what committed transactions wrote."""

    def __init__(self) -> None:
        self._kept: _Shelves = {shelf: {} for shelf in SHELVES}
        self._is_open = False

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        """One transaction. There is only one at a time."""
        assert not self._is_open, "A transaction is open already."
        self._is_open = True
        written = MemoryTransaction(self._kept)
        try:
            yield written
            self.commit(written)
        finally:
            self._is_open = False

    def commit(self, written: "MemoryTransaction") -> None:
        """Keeps what was written. A simulator that overrides this crashes before or after it."""
        self._kept = self._kept | written.changed

    def copy(self) -> "MemoryStorage":
        """A backup: another storage with what is kept now."""
        backup = MemoryStorage()
        backup._kept = {shelf: dict(entries) for shelf, entries in self._kept.items()}
        return backup


class MemoryTransaction:
    """What one transaction sees. A shelf is copied when it is first written to."""

    def __init__(self, kept: _Shelves) -> None:
        self._kept = kept
        self.changed: _Shelves = {}

    def get(self, shelf: Shelf, key: str) -> bytes | None:
        """What lies there."""
        return self._seen(shelf).get(key)

    def put(self, shelf: Shelf, key: str, value: bytes) -> None:
        """Lays it there."""
        self._own(shelf)[key] = value

    def delete(self, shelf: Shelf, key: str) -> None:
        """Takes it away."""
        self._own(shelf).pop(key, None)

    def scan(self, shelf: Shelf, prefix: str = "") -> list[tuple[str, bytes]]:
        """Every entry whose key begins so, in order."""
        return sorted(entry for entry in self._seen(shelf).items() if entry[0].startswith(prefix))

    def clear(self, shelf: Shelf) -> None:
        """Empties a shelf."""
        self.changed[shelf] = {}

    def _seen(self, shelf: Shelf) -> dict[str, bytes]:
        return self.changed.get(shelf, self._kept[shelf])

    def _own(self, shelf: Shelf) -> dict[str, bytes]:
        if shelf not in self.changed:
            self.changed[shelf] = dict(self._kept[shelf])
        return self.changed[shelf]
