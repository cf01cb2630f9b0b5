"""The digest of any set of items: it differs when anything differs, and by nothing else (I7)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from sync.digest import BUCKETS, STATE_BYTES, Digest, bucket_of, digest_of, entry_hash, place

KEY = bytes(range(32))
ITEM = st.tuples(
    st.sampled_from(["Observation", "Condition", "Task"]),
    st.text("abc123-", min_size=1, max_size=6),
    st.integers(1, 2**40),
    st.binary(max_size=40),
)
ITEMS = st.lists(ITEM, max_size=12, unique_by=lambda item: item[:2])
Item = tuple[str, str, int, bytes]


def counted(item: Item, key: bytes = KEY) -> tuple[int, bytes]:
    resource_type, logical_id, version, body = item
    return (
        bucket_of(key, resource_type, logical_id),
        entry_hash(key, resource_type, logical_id, version=version, body=body),
    )


def root(items: list[Item], key: bytes = KEY) -> bytes:
    return digest_of(counted(item, key) for item in items).root(key)


@given(items=ITEMS, seed=st.randoms(use_true_random=False))
def test_the_order_of_coming_and_going_leaves_no_trace(items: list[Item], seed: random.Random) -> None:
    digest, kept = Digest(), []
    for item in items:
        digest.add(*counted(item))
    for item in seed.sample(items, len(items)):
        if seed.random() < 0.5:
            digest.remove(*counted(item))
        else:
            kept.append(item)
    assert digest.encode() == digest_of(counted(item) for item in kept).encode()
    assert digest.count() == len(kept)
    many = digest_of(counted(item) for item in items)
    many.change([], [counted(item) for item in items if item not in kept])
    assert many.encode() == digest.encode()
    assert Digest.decode(digest.encode()).root(KEY) == root(kept)


@given(items=ITEMS.filter(bool), data=st.data())
def test_any_one_difference_makes_another_digest(items: list[Item], data: st.DataObject) -> None:
    place_of = data.draw(st.integers(0, len(items) - 1))
    resource_type, logical_id, version, body = items[place_of]
    changes: list[list[Item]] = [
        [],
        [(resource_type, logical_id, version + 1, body)],
        [("Other", logical_id, version, body)],
        [(resource_type, logical_id + "x", version, body)],
        [(resource_type, logical_id, version, body + b"\0")],
        [(resource_type, logical_id, version, body), ("Other", "new", 1, b"")],
    ]
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        bit = 1 << data.draw(st.integers(0, 7))
        altered = body[:at] + bytes([body[at] ^ bit]) + body[at + 1 :]
        changes.append([(resource_type, logical_id, version, altered)])
    rest = items[:place_of] + items[place_of + 1 :]
    roots = {root(items), *(root([*rest, *change]) for change in changes)}
    assert len(roots) == len(changes) + 1


@given(items=ITEMS)
def test_the_nodes_of_the_tree_count_every_item_once(items: list[Item]) -> None:
    digest = digest_of(counted(item) for item in items)
    for depth in (1, 2):
        children = digest.children(KEY, "", depth)
        assert sum(count for _, count in children.values()) == len(items)
    for item in items:
        where = place(KEY, *item[:2])
        assert int(where[:2], 16) == counted(item)[0]
        assert where[:2] in digest.children(KEY, where[0], 1)


def test_two_records_keys_give_two_digests_of_the_same_items() -> None:
    items: list[Item] = [("Observation", "1", 1, b"{}")]
    assert root(items) != root(items, key=bytes(32))


def test_the_sum_of_a_bucket_overflows_without_touching_its_count_or_its_neighbour() -> None:
    digest, most = Digest(), b"\xff" * 32
    for _ in range(3):
        digest.add(7, most)
    digest.add(8, most)
    assert digest.count() == 4
    digest.remove(8, most)
    for _ in range(3):
        digest.remove(7, most)
    assert digest.encode() == bytes(STATE_BYTES)
    assert BUCKETS * 36 == STATE_BYTES
