"""Sessions: what one unit of work can reach, and nothing beyond it.

A query or command is a plain function of a session. There is no session without a record but the directory's,
and a read session has no way to write.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa

from server.errors import NotFound
from server.storage.hot import HotReads, HotWrites, LogHead
from server.storage.sealing import Sealer

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class RecordUnknown(NotFound):
    """There is nothing here that you can see."""


class RecordState(NamedTuple):
    """Where a record's feed stands. The tombstones up to `floor` were dropped."""

    seq: int
    epoch: int
    floor: int


class LockOrderBroken(Exception):
    """The record must be locked before its log."""


class _Session:
    """What every session has: statements, the database's clock and a sealer."""

    def __init__(self, connection: sa.Connection, sealer: Sealer, now: datetime) -> None:
        self._connection = connection
        self.sealer = sealer
        self.now = now

    def execute(
        self, statement: sa.Executable, parameters: Parameters | None = None
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """The result of a SQLModel or Core statement; a list of parameters runs it once for each."""
        return self._connection.execute(statement, parameters)

    @contextmanager
    def _savepoint(self) -> Generator[None]:
        self._connection.exec_driver_sql("SAVEPOINT inner_savepoint")
        try:
            yield
        except BaseException:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT inner_savepoint")
            raise
        finally:
            self._connection.exec_driver_sql("RELEASE SAVEPOINT inner_savepoint")


class ReadSession(_Session):
    """One record, as it was at one instant."""

    def __init__(
        self, connection: sa.Connection, sealer: Sealer, now: datetime, *, record_id: UUID, hot: HotReads
    ) -> None:
        super().__init__(connection, sealer, now)
        self.record_id = record_id
        self.hot = hot


class WriteSession(ReadSession):
    """One record, in a transaction that commits when the command returns and is undone when it raises."""

    hot: HotWrites

    def __init__(
        self, connection: sa.Connection, sealer: Sealer, now: datetime, *, record_id: UUID, hot: HotWrites
    ) -> None:
        super().__init__(connection, sealer, now, record_id=record_id, hot=hot)
        self._record_is_locked = False
        self._log_is_locked = False

    def lock_record(self) -> RecordState:
        """Waits for the record's row and holds it until the commit; RecordUnknown when there is none."""
        if self._log_is_locked and not self._record_is_locked:
            raise LockOrderBroken(LockOrderBroken.__doc__)
        state = self.hot.lock_record()
        if state is None:
            raise RecordUnknown
        self._record_is_locked = True
        return RecordState(*state)

    def lock_log(self) -> LogHead:
        """Waits for the head of the record's log and holds it until the commit."""
        head = self.hot.lock_log()
        if head is None:
            raise RecordUnknown
        self._log_is_locked = True
        return head

    def savepoint(self) -> Any:
        """A part of the command that can fail and be undone alone: `with session.savepoint(): ...`."""
        return self._savepoint()


class DirectoryReads(_Session):
    """The directory tables, to read."""


class DirectorySession(DirectoryReads):
    """The directory tables, in a transaction that commits when the command returns."""

    def savepoint(self) -> Any:
        """A part of the command that can fail and be undone alone: `with session.savepoint(): ...`."""
        return self._savepoint()
