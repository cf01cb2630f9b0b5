"""The database's time between questions to it, whatever this machine's own clock says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from server.identity.bounded_cache import BoundedCache
from server.identity.clock import MEASURED_AGAIN_AFTER_SECONDS, DatabaseClock
from server.storage.engine import Storage

DATABASE_START = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)


class Machine:
    """A steady counter, and a database whose clock runs beside it."""

    def __init__(self) -> None:
        self.seconds = 5000.0
        self.asked = 0
        self.drift = timedelta(0)
        self.clock_offset = timedelta(0)

    @property
    def database_now(self) -> datetime:
        return DATABASE_START + timedelta(seconds=self.seconds - 5000) + self.drift

    async def look_up(self, query: Callable[[Any], datetime]) -> datetime:
        self.asked += 1
        return query(Saying(self.database_now + self.clock_offset))


class Saying:
    def __init__(self, now: datetime) -> None:
        self.now = now


def clock_of(machine: Machine) -> DatabaseClock:
    return DatabaseClock(cast("Storage", machine), lambda: machine.seconds)


async def test_time_is_the_databases_and_it_is_asked_seldom() -> None:
    machine = Machine()
    clock = clock_of(machine)
    for seconds in (0.0, 1.5, 3.0):
        machine.seconds = 5000 + seconds
        assert await clock.now() == machine.database_now
        assert clock.last_known() == machine.database_now
    assert machine.asked == 1


async def test_drift_is_measured_again() -> None:
    machine = Machine()
    clock = clock_of(machine)
    await clock.now()
    machine.drift = timedelta(seconds=2)
    machine.seconds += MEASURED_AGAIN_AFTER_SECONDS + 0.1
    assert await clock.now() == machine.database_now
    assert machine.asked == 2


async def test_offset_of_a_test_holds_at_once() -> None:
    machine = Machine()
    clock = clock_of(machine)
    await clock.now()
    machine.clock_offset = timedelta(days=3)
    assert await clock.now() == machine.database_now + timedelta(days=3)
    assert machine.asked == 1


async def test_nonces_can_be_dated_before_the_database_was_asked() -> None:
    assert abs(clock_of(Machine()).last_known() - datetime.now(UTC)) < timedelta(seconds=5)


def test_cache_forgets_what_was_used_longest_ago() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)
    cache.forget("a")
    cache.forget("never there")
    assert cache.get("a") is None
