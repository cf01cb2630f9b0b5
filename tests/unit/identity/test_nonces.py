from datetime import UTC, datetime, timedelta

import pytest

from server.identity.nonces import AHEAD_SECONDS_MAX, NONCE_SECONDS_MAX, Nonces

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST = timedelta(seconds=NONCE_SECONDS_MAX)
AHEAD = timedelta(seconds=AHEAD_SECONDS_MAX)


@pytest.mark.parametrize(
    ("later", "is_fresh"),
    [
        (-AHEAD - MILLISECOND, False),
        (-AHEAD, True),
        (timedelta(0), True),
        (LAST, True),
        (LAST + MILLISECOND, False),
    ],
)
def test_a_nonce_is_fresh_for_five_minutes_and_not_before_it_was_made(
    later: timedelta, is_fresh: bool
) -> None:
    nonces = Nonces(b"k" * 32)
    assert nonces.is_fresh(nonces.issue(NOW), NOW + later) is is_fresh


@pytest.mark.parametrize("nonce", ["", "x", "not base64!", "AAAA", "A" * 32])
def test_what_we_did_not_make_is_not_fresh(nonce: str) -> None:
    assert not Nonces(b"k" * 32).is_fresh(nonce, NOW)


def test_a_nonce_of_another_start_is_not_fresh() -> None:
    assert not Nonces(b"k" * 32).is_fresh(Nonces(b"l" * 32).issue(NOW), NOW)
