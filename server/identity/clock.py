"""The database's time, kept between questions to it by this machine's steady counter (THREATS rule 17).

A token is judged on every request. Asking the database each time would cost a round trip, and the machine's
own wall clock may be minutes off, so the difference between the database's clock and the steady counter is
kept and measured again every few seconds.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from server.storage.engine import Storage

MEASURED_AGAIN_AFTER_SECONDS = 10.0


class DatabaseClock:
    """Answers the database's `now`, with the offset a test has asked of storage."""

    def __init__(self, storage: Storage, counter: Callable[[], float] = time.monotonic) -> None:
        self._storage = storage
        self._counter = counter
        self._zero: datetime | None = None
        self._measured_at = 0.0

    async def now(self) -> datetime:
        count = self._counter()
        zero = self._zero
        if zero is None or count - self._measured_at > MEASURED_AGAIN_AFTER_SECONDS:
            zero = await self._measure(count)
        return zero + timedelta(seconds=self._counter()) + self._storage.clock_offset

    def last_known(self) -> datetime:
        """The time without asking anyone: good enough to date a nonce, for a wrong one is only refused."""
        if self._zero is None:
            return datetime.now(UTC) + self._storage.clock_offset
        return self._zero + timedelta(seconds=self._counter()) + self._storage.clock_offset

    async def _measure(self, asked_at: float) -> datetime:
        said = await self._storage.look_up(lambda session: session.now)
        answered_at = self._counter()
        halfway = (asked_at + answered_at) / 2
        self._zero = said.astimezone(UTC) - self._storage.clock_offset - timedelta(seconds=halfway)
        self._measured_at = answered_at
        return self._zero
