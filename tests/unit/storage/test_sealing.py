import os
import threading
import zlib
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.storage.sealing import FORMAT_ZSTD_AES_GCM, KEY_BYTES, SealBroken, Sealer, padme

RECORD_ID = UUID("11111111-2222-4333-8444-555555555555")
KEY = bytes(range(KEY_BYTES))
SEALER = Sealer.of_record(RECORD_ID, KEY)


class Note(msgspec.Struct, frozen=True):
    text: str
    count: int


@given(st.binary(max_size=5_000), st.text(max_size=20), st.binary(max_size=40), st.integers(0, 2**63))
def test_what_is_sealed_opens_for_the_same_place(plain, purpose, name, version):
    assert SEALER.open(purpose, name, version, SEALER.seal(purpose, name, version, plain)) == plain


def test_a_struct_opens_as_it_was():
    note = Note("words", 3)
    assert SEALER.open_struct("note", b"n", 1, SEALER.seal_struct("note", b"n", 1, note), Note) == note


ELSEWHERE = {
    "another purpose": (SEALER, ("head", b"item", 3)),
    "another name": (SEALER, ("body", b"itex", 3)),
    "a longer name": (SEALER, ("body", b"item\0", 3)),
    "another version": (SEALER, ("body", b"item", 2)),
    "another record": (Sealer.of_record(uuid4(), KEY), ("body", b"item", 3)),
    "the installation": (Sealer.of_installation(KEY), ("body", b"item", 3)),
    "another key": (Sealer.of_record(RECORD_ID, os.urandom(KEY_BYTES)), ("body", b"item", 3)),
}


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_sealed_value_does_not_open_for(where):
    sealer, place = ELSEWHERE[where]
    sealed = SEALER.seal("body", b"item", 3, b"plain")
    with pytest.raises(SealBroken):
        sealer.open(*place, sealed)


def test_purpose_and_name_cannot_be_shifted_into_each_other():
    sealed = SEALER.seal("ab", b"c", 1, b"plain")
    with pytest.raises(SealBroken):
        SEALER.open("a", b"bc", 1, sealed)


def test_no_bit_of_a_sealed_value_can_be_changed():
    sealed = SEALER.seal("body", b"item", 1, b"plain")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            SEALER.open("body", b"item", 1, bytes(changed))


def test_what_is_cut_short_or_empty_does_not_open():
    sealed = SEALER.seal("body", b"item", 1, b"plain")
    for size in range(len(sealed)):
        with pytest.raises(SealBroken):
            SEALER.open("body", b"item", 1, sealed[:size])


def test_the_first_byte_is_the_format():
    assert SEALER.seal("body", b"item", 1, b"plain")[0] == FORMAT_ZSTD_AES_GCM


def test_the_same_plain_is_never_sealed_the_same_twice():
    assert len({SEALER.seal("body", b"item", 1, b"plain") for _ in range(100)}) == 100


def test_nothing_of_the_plain_shows():
    plain = b"A marker that must not be found" * 20
    sealed = SEALER.seal("body", b"item", 1, plain)
    assert b"marker" not in sealed
    with pytest.raises(zlib.error):
        zlib.decompress(sealed[13:])


def test_sizes_are_few():
    sizes = {len(SEALER.seal("body", b"item", 1, os.urandom(size))) for size in range(1_000, 2_000)}
    assert len(sizes) <= 20


@given(st.integers(0, 10_000_000))
def test_padding_adds_at_most_an_eighth(size):
    assert size <= padme(size) <= size * 1.125 + 2


@pytest.mark.parametrize(
    ("size", "padded"), [(0, 0), (1, 1), (9, 10), (100, 104), (1_000, 1_024), (9_000, 9_216)]
)
def test_padding_takes_the_sizes_of_padme(size, padded):
    assert padme(size) == padded


def test_a_mac_is_keyed_by_purpose_and_owner_and_splits_its_parts():
    macs = [
        SEALER.mac("a", "bc", "d"),
        SEALER.mac("a", "b", "cd"),
        SEALER.mac("a", "bcd"),
        SEALER.mac("b", "bc", "d"),
        Sealer.of_record(RECORD_ID, os.urandom(KEY_BYTES)).mac("a", "bc", "d"),
    ]
    assert len(set(macs)) == 5
    assert SEALER.mac("a", "bc", "d") == SEALER.mac("a", b"bc", b"d")
    assert [len(SEALER.mac("a", "b", size=size)) for size in (16, 32, 64)] == [16, 32, 64]


def test_an_item_key_is_sixteen_bytes_that_only_the_record_makes():
    assert len(SEALER.item_key("Observation", "1")) == 16
    assert SEALER.item_key("Observation", "1") != SEALER.item_key("Observation", "2")
    other = Sealer.of_record(uuid4(), os.urandom(KEY_BYTES))
    assert SEALER.item_key("Observation", "1") != other.item_key("Observation", "1")


def test_a_key_commits_to_itself_alone():
    other = Sealer.of_record(RECORD_ID, os.urandom(KEY_BYTES))
    assert SEALER.commits_to(SEALER.commitment())
    assert not other.commits_to(SEALER.commitment())
    assert KEY not in SEALER.commitment()


def test_secrets_differ_by_purpose():
    assert SEALER.secret("digest") != SEALER.secret("cursor")
    assert len(SEALER.secret("digest")) == KEY_BYTES


def test_threads_share_a_sealer():
    failures = []

    def work(number: int) -> None:
        for count in range(300):
            plain = os.urandom(50) * (count % 20 + 1)
            sealed = SEALER.seal(f"body-{count % 7}", b"item", number, plain)
            if SEALER.open(f"body-{count % 7}", b"item", number, sealed) != plain:
                failures.append(count)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
