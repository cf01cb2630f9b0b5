"""What a simulated phone is made of: storage that can stop at a commit, a wrong clock, and ids by lot."""

import random
from datetime import UTC, datetime, timedelta
from typing import Literal

from sync.identifiers import RANDOM_BYTES, uuid4, uuid7
from sync.memory import MemoryStorage, MemoryTransaction
from sync.ports import SHELVES


class PhoneStopped(BaseException):
    """The phone's process ended here."""


class FrailMemory(MemoryStorage):
    """A phone's storage that can be told to stop the phone at one of its next commits."""

    def __init__(self) -> None:
        super().__init__()
        self._commits_left = 0
        self._when: Literal["before", "after"] = "before"

    def doom(self, commits: int, when: Literal["before", "after"]) -> None:
        """The phone stops before or after the commit with this number, counted from now on, from 1."""
        self._commits_left, self._when = commits, when

    def commit(self, written: MemoryTransaction) -> None:
        """As memory does, unless the phone stops here."""
        if not written.changed:
            return
        is_last = self._commits_left == 1
        self._commits_left = max(0, self._commits_left - 1)
        if is_last and self._when == "before":
            raise PhoneStopped
        super().commit(written)
        if is_last:
            raise PhoneStopped

    def copy(self) -> "FrailMemory":
        """A backup."""
        backup = FrailMemory()
        backup._kept = super().copy()._kept
        return backup

    def dump(self) -> bytes:
        """Everything that is kept, to be searched for words."""
        with self.transaction() as tx:
            return b"\n".join(value for shelf in SHELVES for _, value in tx.scan(shelf))


class SimulatedClock:
    """A clock that is wrong by whatever it was set to, and never waits."""

    def __init__(self, skew: timedelta) -> None:
        self._now = datetime(2026, 11, 1, 9, tzinfo=UTC) + skew

    def now(self) -> datetime:
        """A little later each time."""
        self._now += timedelta(milliseconds=40)
        return self._now

    async def pause(self, seconds: float) -> None:
        """Time goes by at once."""
        self._now += timedelta(seconds=seconds)


class SimulatedIds:
    """Ids as a phone makes them, from its clock and its own dice."""

    def __init__(self, clock: SimulatedClock, dice: random.Random) -> None:
        self._clock = clock
        self._dice = dice

    def mutation_id(self) -> str:
        """A UUID of version 7."""
        return uuid7(int(self._clock.now().timestamp() * 1000), self._dice.randbytes(RANDOM_BYTES))

    def resource_id(self) -> str:
        """A random UUID."""
        return uuid4(self._dice.randbytes(RANDOM_BYTES))
