"""Cursors on the wire: nothing shows, and nobody else's opens."""

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.devices_sync.cursors import (
    SegmentRange,
    name_segment,
    open_cursor,
    read_segment_name,
    seal_cursor,
)
from server.storage.sealing import Sealer
from sync.cursor import Cursor

RECORD = UUID(int=1)
OURS = Sealer.of_record(RECORD, b"k" * 32)
DEVICE = UUID(int=2)
NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)


@given(epoch=NUMBERS, seq=NUMBERS)
def test_a_cursor_opens_for_its_phone_as_it_was_sealed(epoch: int, seq: int) -> None:
    cursor = Cursor(epoch=epoch, seq=seq)
    text = seal_cursor(OURS, DEVICE, cursor)
    assert open_cursor(OURS, DEVICE, text) == cursor
    assert text == seal_cursor(OURS, DEVICE, cursor)


@given(one=NUMBERS, other=NUMBERS)
def test_cursors_are_equal_only_for_the_same_place_and_all_as_long(one: int, other: int) -> None:
    first, second = (seal_cursor(OURS, DEVICE, Cursor(epoch=7, seq=seq)) for seq in (one, other))
    assert (first == second) == (one == other)
    assert len(first) == len(second) < 50


def test_a_cursor_does_not_open_for_another_phone_or_record() -> None:
    text = seal_cursor(OURS, DEVICE, Cursor(epoch=7, seq=9))
    assert open_cursor(OURS, uuid4(), text) is None
    assert open_cursor(Sealer.of_record(RECORD, b"j" * 32), DEVICE, text) is None


@given(st.text(max_size=200))
def test_any_text_but_a_cursor_is_none(text: str) -> None:
    assert open_cursor(OURS, DEVICE, text) is None
    assert read_segment_name(OURS, text) is None


@given(st.data())
def test_a_changed_cursor_does_not_open(data: st.DataObject) -> None:
    text = seal_cursor(OURS, DEVICE, Cursor(epoch=7, seq=9))
    place = data.draw(st.integers(min_value=0, max_value=len(text) - 2))
    letter = data.draw(st.sampled_from("ABCDefgh0123-_").filter(lambda each: each != text[place]))
    assert open_cursor(OURS, DEVICE, text[:place] + letter + text[place + 1 :]) is None


def test_a_segment_s_name_is_no_cursor_and_a_cursor_no_name() -> None:
    part = SegmentRange(7, 1, 2048)
    name = name_segment(OURS, part)
    assert read_segment_name(OURS, name) == part
    assert open_cursor(OURS, DEVICE, name) is None
    assert read_segment_name(OURS, seal_cursor(OURS, DEVICE, Cursor(epoch=7, seq=9))) is None


@pytest.mark.parametrize("later", [b"\x02"])
def test_a_cursor_of_a_later_release_is_not_ours(later: bytes) -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    from server.devices_sync import cursors
    from sync.cursor import pack

    packed = later + pack(Cursor(epoch=7, seq=9))[1:]
    assert isinstance(cursors._cipher(OURS), AESSIV)
    assert open_cursor(OURS, DEVICE, cursors._seal(OURS, packed, DEVICE.bytes)) is None
