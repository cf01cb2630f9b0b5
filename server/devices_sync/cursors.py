"""Cursors as a phone gets them: sealed, so that no number shows, and bound to the phone (THREATS rule 10).

AES-SIV (RFC 5297, https://www.rfc-editor.org/rfc/rfc5297) needs no nonce: the same place in the feed is the
same text, so that a cursor can be an ETag, and it tells nothing but that two are equal.
"""

import base64
import binascii
import struct
from typing import NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from server.storage.sealing import Sealer
from sync.cursor import Cursor, CursorUnreadable, pack, unpack

SEALED_CHARACTERS_MAX = 128

_SEGMENT = struct.Struct(">QQQ")
_SEGMENT_PURPOSE = b"segment"


class SegmentRange(NamedTuple):
    """The part of one epoch's feed that a segment holds."""

    epoch: int
    first: int
    last: int


def seal_cursor(sealer: Sealer, device_id: UUID, cursor: Cursor) -> str:
    """The cursor as text for this phone alone."""
    return _seal(sealer, pack(cursor), device_id.bytes)


def open_cursor(sealer: Sealer, device_id: UUID, text: str) -> Cursor | None:
    """What the phone was given; None when it was not given to this phone, for this record."""
    packed = _open(sealer, text, device_id.bytes)
    try:
        return None if packed is None else unpack(packed)
    except CursorUnreadable:
        return None


def name_segment(sealer: Sealer, part: SegmentRange) -> str:
    """The name a segment is fetched by, the same for every phone of the record."""
    return _seal(sealer, _SEGMENT.pack(*part), _SEGMENT_PURPOSE)


def read_segment_name(sealer: Sealer, name: str) -> SegmentRange | None:
    """The part a name stands for; None when it is none of ours for this record."""
    packed = _open(sealer, name, _SEGMENT_PURPOSE)
    return None if packed is None else SegmentRange._make(_SEGMENT.unpack(packed))


def _seal(sealer: Sealer, packed: bytes, bound_to: bytes) -> str:
    sealed = _cipher(sealer).encrypt(packed, [bound_to])
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def _open(sealer: Sealer, text: str, bound_to: bytes) -> bytes | None:
    if len(text) > SEALED_CHARACTERS_MAX or not text.isascii():
        return None
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return _cipher(sealer).decrypt(sealed, [bound_to])
    except (binascii.Error, ValueError, InvalidTag):
        return None


def _cipher(sealer: Sealer) -> AESSIV:
    return AESSIV(sealer.secret("cursor"))
