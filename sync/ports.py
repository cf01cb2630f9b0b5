"""What a phone needs from outside: somewhere to keep things, a way to call the server, a clock and new ids.

Everything the phone knows lies on a few shelves of keyed bytes. One `with` block is one transaction: all of
it is kept when the block ends, none of it when an exception or the end of the process leaves the block.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Literal, Protocol

import msgspec

Shelf = Literal["row", "loading", "held", "value", "outbox", "attention", "log"]
SHELVES: tuple[Shelf, ...] = ("row", "loading", "held", "value", "outbox", "attention", "log")


class Transaction(Protocol):
    """Reads see what the same transaction wrote. Keys are text without NUL, ordered by code point."""

    def get(self, shelf: Shelf, key: str) -> bytes | None:
        """What lies there, None when nothing does."""
        ...

    def put(self, shelf: Shelf, key: str, value: bytes) -> None:
        """Lays it there, in place of what did."""
        ...

    def delete(self, shelf: Shelf, key: str) -> None:
        """Takes it away, if there is anything."""
        ...

    def scan(self, shelf: Shelf, prefix: str = "") -> Iterable[tuple[str, bytes]]:
        """(key, value) of every key that begins so, in order of key. Writing while reading is allowed."""
        ...

    def clear(self, shelf: Shelf) -> None:
        """Empties a shelf."""
        ...


class Storage(Protocol):
    """Where a phone keeps everything. Transactions never overlap: one waits for the other."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Commits when the block ends, keeps nothing when an exception leaves it."""
        ...


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the server answered. Names of headers are in lower case, the body is already unpacked."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""


class NoAnswer(Exception):
    """The server could not be reached, or its answer was cut off: what was asked may have happened or not."""


class SignInNeeded(Exception):
    """The person has to sign in again before the server answers this phone."""


class Transport(Protocol):
    """Calls the server as the person. Tokens, proofs, compression and addresses are its own affair.

    A token refused because the device was ended is answered as 403 with a problem of code `wipe`.
    """

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The answer, whatever its status; NoAnswer or SignInNeeded when there is none. `path` has its /."""
        ...


class Clock(Protocol):
    """The phone's own clock, which may be wrong: it is shown and never decides."""

    def now(self) -> datetime:
        """The time, aware."""
        ...

    async def pause(self, seconds: float) -> None:
        """Lets this much time go by."""
        ...


class Ids(Protocol):
    """New ids."""

    def mutation_id(self) -> str:
        """A UUID of version 7."""
        ...

    def resource_id(self) -> str:
        """A random UUID."""
        ...
