"""A log as a keeper would write it, and the ways to tamper with one, without any database."""

import hashlib
import hmac
from dataclasses import dataclass, field, replace

from sync.log_verifier import Claim, Mark, first_root, leaf_of, next_root, opens_as

LOG_ID = b"the random id of one log, 32 b.."
_KEY = b"the record's key, which a thief of the database lacks"


@dataclass(frozen=True)
class Row:
    """One stored entry."""

    n: int
    sealed: bytes
    leaf: bytes
    root: bytes


@dataclass
class Log:
    """Rows and the head beside them."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0
    root: bytes = first_root(LOG_ID)

    def append(self, text: bytes) -> None:
        n = self.size + 1
        sealed = seal(n, text)
        leaf = leaf_of(sealed)
        self.root = next_root(self.root, leaf)
        self.rows.append(Row(n, sealed, leaf, self.root))
        self.size = n

    def copy(self) -> "Log":
        return replace(self, rows=list(self.rows))

    def head(self) -> Claim:
        return Claim(self.size, self.root, "head")

    def checkpoint(self, size: int | None = None) -> Claim:
        """What was signed when the log had this size."""
        size = self.size if size is None else size
        return Claim(size, self.rows[size - 1].root if size else first_root(LOG_ID), "checkpoint")

    def marks(self, *, with_key: bool, after: int = 0) -> list[Mark]:
        return [mark_of(row, with_key=with_key) for row in self.rows if row.n > after]


def honest_log(size: int, salt: bytes = b"") -> Log:
    log = Log()
    for number in range(size):
        log.append(salt + b"entry %d" % number)
    return log


def seal(n: int, text: bytes) -> bytes:
    """Stands for authenticated encryption bound to the entry's place: only the key's holder can make it."""
    return hmac.digest(_KEY, b"%d " % n + text, hashlib.sha256) + text


def can_open(n: int, sealed: bytes) -> bool:
    return hmac.compare_digest(seal(n, sealed[32:])[:32], sealed[:32])


def mark_of(row: Row, *, with_key: bool) -> Mark:
    leaf = leaf_of(row.sealed)
    if not with_key:
        return Mark(row.n, leaf, row.leaf, row.root)
    number = opens_as(row.n, lambda n: can_open(n, row.sealed))
    return Mark(row.n, leaf, row.leaf, row.root, opens_as=number, was_tried=True)


def renumber(log: Log) -> None:
    log.rows = [replace(row, n=position) for position, row in enumerate(log.rows, start=1)]


def recompute_leaf(log: Log, position: int) -> None:
    row = log.rows[position]
    log.rows[position] = replace(row, leaf=leaf_of(row.sealed))


def recompute_row(log: Log, position: int) -> None:
    """Makes the row fit the one before it."""
    before = log.rows[position - 1].root if position else first_root(LOG_ID)
    leaf = leaf_of(log.rows[position].sealed)
    log.rows[position] = replace(log.rows[position], leaf=leaf, root=next_root(before, leaf))


def recompute_from(log: Log, position: int) -> None:
    """Makes every row from here on fit."""
    for later in range(position, len(log.rows)):
        recompute_row(log, later)


def move_head(log: Log) -> None:
    log.size = len(log.rows)
    log.root = log.rows[-1].root if log.rows else first_root(LOG_ID)
