import os
from uuid import uuid4

from server.storage.key_cache import KEY_SECONDS_MAX, KEYS_KEPT_MAX, KeyCache
from server.storage.sealing import KEY_BYTES, Sealer


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_sealer() -> Sealer:
    return Sealer.of_record(uuid4(), os.urandom(KEY_BYTES))


def test_a_key_is_kept_for_a_minute_however_often_it_is_used():
    clock, record_id, sealer = Clock(), uuid4(), a_sealer()
    cache = KeyCache(clock)
    cache.put(record_id, sealer)
    for now in (0.0, 30.0, KEY_SECONDS_MAX - 0.001):
        clock.now = now
        assert cache.get(record_id) is sealer
    clock.now = KEY_SECONDS_MAX
    assert cache.get(record_id) is None


def test_the_key_used_longest_ago_goes_first():
    cache = KeyCache(Clock())
    record_ids = [uuid4() for _ in range(KEYS_KEPT_MAX)]
    for record_id in record_ids:
        cache.put(record_id, a_sealer())
    assert cache.get(record_ids[0]) is not None
    cache.put(uuid4(), a_sealer())
    assert cache.get(record_ids[0]) is not None
    assert cache.get(record_ids[1]) is None


def test_a_forgotten_key_is_gone():
    cache, record_id = KeyCache(Clock()), uuid4()
    cache.put(record_id, a_sealer())
    cache.drop(record_id)
    cache.drop(record_id)
    assert cache.get(record_id) is None
