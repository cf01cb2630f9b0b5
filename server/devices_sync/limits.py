"""What a phone may send at once and how often (THREATS section 4)."""

import time
from collections.abc import Callable

import msgspec

from server.errors import HeldError, OverSyncLimits, PushedTooOften
from server.identity.bounded_cache import BoundedCache
from sync.messages import Limits

LIMITS = Limits()
PUSHES_PER_MINUTE = 60
SENDERS_MAX = 50_000


def over_limits() -> HeldError:
    """The refusal of what is more than we take, which says how much that is."""
    return OverSyncLimits().with_members(limits=msgspec.to_builtins(LIMITS))


class Pace:
    """Counts calls by sender and minute, in this process alone: a limit on load, not on rights."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._counts: BoundedCache[str, tuple[int, int]] = BoundedCache(SENDERS_MAX)

    def step(self, sender: str) -> None:
        """Counts one call. PushedTooOften when it is one too many for this minute."""
        now = self._clock()
        minute = int(now // 60)
        kept_minute, count = self._counts.get(sender) or (minute, 0)
        if kept_minute != minute:
            count = 0
        if count >= self._per_minute:
            raise PushedTooOften(retry_after_seconds=60 - int(now % 60))
        self._counts.put(sender, (minute, count + 1))
