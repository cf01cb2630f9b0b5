"""What Storage asks of a database: units of work over one record or over the directory."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import sqlalchemy as sa

from server.storage.drivers import Driver

T = TypeVar("T")

Scope = UUID | None
"""The record a transaction is bound to, or None for the directory."""

LOCK_SECONDS_MAX = 2
STATEMENT_SECONDS_MAX = 5
COMMANDS_PER_COMMIT_MAX = 256


class Unit(NamedTuple):
    """An open transaction: statements by `connection`, hot ones by `driver`; its clock is read once."""

    connection: sa.Connection
    driver: Driver
    now: datetime


class SnapshotUnit(Protocol):
    """A transaction that stays open, so that every reading of it sees one state."""

    async def run(self, work: Callable[[Unit], T]) -> T:
        """What the work answers."""
        ...


class Backend(Protocol):
    """One database. Everything here raises Busy when the database cannot be had in time."""

    async def read(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """Runs the work in one snapshot."""
        ...

    def snapshot(self, scope: Scope) -> AbstractAsyncContextManager[SnapshotUnit]:
        """A snapshot to read from more than once."""
        ...

    async def write(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """Runs the work and commits; what it raises undoes it alone."""
        ...

    async def append(self, scope: Scope, work: Callable[[Unit], T]) -> T:
        """As `write`, in a transaction shared with what else waits for this record."""
        ...

    async def spend_identifier(self, identifier: bytes, seconds: int, ahead: float) -> bool:
        """False when the identifier is still kept from before; `ahead` is the clock offset in seconds."""
        ...

    async def close(self) -> None:
        """Finishes what was accepted and lets the database go."""
        ...


def answerable(error: BaseException) -> BaseException:
    """The error as a future can carry it: with a StopIteration, its neighbours would wait for ever."""
    if not isinstance(error, StopIteration):
        return error
    carried = RuntimeError("A command let a StopIteration out.")
    carried.__cause__ = error
    return carried


class StorageUnsafe(Exception):
    """The database is not set up as it must be."""
