"""The pace of pushes."""

import pytest

from server.devices_sync.limits import Pace
from server.errors import PushedTooOften


def test_a_minute_holds_so_many_calls_and_the_next_one_as_many_again() -> None:
    now = [30.0]
    pace = Pace(3, lambda: now[0])
    for _ in range(3):
        pace.step("phone")
    with pytest.raises(PushedTooOften) as refused:
        pace.step("phone")
    assert refused.value.retry_after_seconds == 30
    pace.step("another phone")
    now[0] = 60.0
    for _ in range(3):
        pace.step("phone")
    with pytest.raises(PushedTooOften):
        pace.step("phone")
