"""Record keys kept for a minute at most, so that an erased record's key dies with it (THREATS section 4)."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from uuid import UUID

from server.storage.sealing import Sealer

KEYS_KEPT_MAX = 1_000
KEY_SECONDS_MAX = 60.0


class KeyCache:
    """The sealers used last, each for at most a minute since its key was unwrapped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[UUID, tuple[float, Sealer]] = OrderedDict()

    def get(self, record_id: UUID) -> Sealer | None:
        """The record's sealer, when it is kept and young enough."""
        with self._lock:
            kept = self._kept.get(record_id)
            if kept is None:
                return None
            if self._clock() >= kept[0]:
                del self._kept[record_id]
                return None
            self._kept.move_to_end(record_id)
            return kept[1]

    def put(self, record_id: UUID, sealer: Sealer) -> None:
        """Keeps a sealer, and lets the one used longest ago go when there are too many."""
        with self._lock:
            self._kept[record_id] = (self._clock() + KEY_SECONDS_MAX, sealer)
            self._kept.move_to_end(record_id)
            while len(self._kept) > KEYS_KEPT_MAX:
                self._kept.popitem(last=False)

    def drop(self, record_id: UUID) -> None:
        """Forgets one record's key."""
        with self._lock:
            self._kept.pop(record_id, None)
