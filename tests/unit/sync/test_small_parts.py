"""Cursor, JSON values, ids, packing and memory storage: the small parts of the phone."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from sync.cursor import PACKED_BYTES, Cursor, CursorUnreadable, pack, unpack
from sync.identifiers import uuid4, uuid7
from sync.kept import Entry
from sync.memory import MemoryStorage
from sync.messages import Base, Limits, Mutation
from sync.packing import next_groups, packed
from sync.values import apply_patch, in_one_form, make_patch, read_json, write_json


@pytest.mark.parametrize("seq", [0, 1, 2**63])
def test_a_cursor_comes_back_as_it_was_packed(seq: int):
    cursor = Cursor(epoch=2**64 - 1, seq=seq, scope=3)
    assert unpack(pack(cursor)) == cursor
    assert len(pack(cursor)) == PACKED_BYTES


def test_what_is_no_cursor_of_ours_is_refused():
    packed_cursor = pack(Cursor(epoch=1, seq=1))
    for wrong in (b"", packed_cursor[:-1], packed_cursor + b"x", b"\x02" + packed_cursor[1:]):
        with pytest.raises(CursorUnreadable):
            unpack(wrong)


@pytest.mark.parametrize("digits", ["1.00", "1e5", "-0.0", "1E400", "123456789012345678901234567890", "0"])
def test_every_digit_is_kept(digits: str):
    raw = f'{{"value":{digits}}}'.encode()
    assert write_json(read_json(raw)) == raw


def test_the_order_of_members_is_no_difference_and_digits_are():
    assert in_one_form(read_json(b'{"a":1.0,"b":2}')) == in_one_form(read_json(b'{"b":2,"a":1.0}'))
    assert in_one_form(read_json(b'{"a":1.0}')) != in_one_form(read_json(b'{"a":1.00}'))


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_the_examples_of_the_merge_patch_standard_hold(target: Any, patch: Any, result: Any):
    before = in_one_form(target)
    assert apply_patch(target, patch) == result
    assert in_one_form(target) == before


def test_a_patch_names_only_what_differs():
    assert make_patch({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1, "d": 3}}) == {"a": None, "b": {"d": 3}}


def test_ids_are_uuids_of_their_version_and_later_ones_sort_later():
    early, late = uuid7(1_000, b"\xff" * 16), uuid7(1_001, b"\x00" * 16)
    assert UUID(early).version == 7
    assert UUID(uuid4(b"\xff" * 16)).version == 4
    assert UUID(early).variant == UUID(uuid4(b"\x00" * 16)).variant == "specified in RFC 4122"
    assert early < late
    assert UUID(early).int >> 80 == 1_000


def entry(mid: str, *, txn: str | None = None, base: int | None = 1, patch: bytes = b"{}") -> Entry:
    based = None if base is None else Base(version=base)
    return Entry(
        mutation=Mutation(
            mid=mid, op="patch", type="Observation", id=mid, txn=txn, base=based, patch=msgspec.Raw(patch)
        )
    )


def test_what_every_mutation_of_a_push_says_is_said_once():
    mutations = [entry("a").mutation, entry("b").mutation]
    push = packed(mutations, "device", "cursor", "now")
    assert push.defaults == {"op": "patch", "type": "Observation", "base": {"version": 1}}
    assert [bytes(raw) for raw in push.mutations] == [
        b'{"mid":"a","id":"a","patch":{}}',
        b'{"mid":"b","id":"b","patch":{}}',
    ]


def test_what_one_mutation_of_a_push_lacks_is_nobodys_default():
    push = packed([entry("a").mutation, entry("b", base=None).mutation], "device", None, "now")
    assert push.defaults == {"op": "patch", "type": "Observation"}
    assert packed([entry("a").mutation], "device", None, "now").defaults == {}


def test_a_push_holds_no_more_than_the_limits_and_tears_no_group():
    ready = [entry("a"), entry("b", txn="t"), entry("c"), entry("d", txn="t")]
    chosen = next_groups(ready, Limits(mutations_per_push=2))
    assert [[one.mid for one in group] for group in chosen] == [["a"]]
    chosen = next_groups(ready, Limits(mutations_per_push=3))
    assert [[one.mid for one in group] for group in chosen] == [["a"], ["b", "d"]]
    large = entry("e", patch=b'{"a":"%s"}' % (b"x" * 2_000))
    assert [
        [one.mid for one in group] for group in next_groups([large, *ready], Limits(push_bytes=2_000))
    ] == [["e"]]


def fail_while_writing(storage: MemoryStorage) -> None:
    with storage.transaction() as tx:
        tx.put("row", "a", b"2")
        tx.clear("row")
        raise ZeroDivisionError


def test_a_transaction_that_fails_keeps_nothing():
    storage = MemoryStorage()
    with storage.transaction() as tx:
        tx.put("row", "a", b"1")
    with pytest.raises(ZeroDivisionError):
        fail_while_writing(storage)
    with storage.transaction() as tx:
        assert tx.get("row", "a") == b"1"


def test_a_transaction_sees_what_it_wrote_and_a_copy_does_not():
    storage = MemoryStorage()
    with storage.transaction() as tx:
        tx.put("row", "b/2", b"2")
        tx.put("row", "b/1", b"1")
        tx.put("row", "c", b"3")
        tx.delete("row", "c")
        assert list(tx.scan("row", "b/")) == [("b/1", b"1"), ("b/2", b"2")]
    copy = storage.copy()
    with storage.transaction() as tx:
        tx.clear("row")
        assert list(tx.scan("row")) == []
    with copy.transaction() as tx:
        assert tx.get("row", "b/1") == b"1"
