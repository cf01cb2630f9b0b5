"""A cursor: how far a reader has got in one record's feed, as the few bytes that are sealed to travel."""

import struct

import msgspec

VERSION = 1
OWNERS_FEED = 0
"""The scope of a cursor over the whole feed of a record."""

_LAYOUT = struct.Struct(">BQBQ")
PACKED_BYTES = _LAYOUT.size


class CursorUnreadable(Exception):
    """These bytes are no cursor of ours."""


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """Everything up to `seq` is known, as numbered in this `epoch`. `scope` is what the feed holds."""

    epoch: int
    seq: int
    scope: int = OWNERS_FEED
    version: int = VERSION


def pack(cursor: Cursor) -> bytes:
    """The cursor as bytes, always of the same length, so that a sealed one does not tell how far it is."""
    return _LAYOUT.pack(cursor.version, cursor.epoch, cursor.scope, cursor.seq)


def unpack(packed: bytes) -> Cursor:
    """Reads `pack`; CursorUnreadable when the length or the version is not ours."""
    if len(packed) != PACKED_BYTES:
        raise CursorUnreadable("A cursor has another length.")
    version, epoch, scope, seq = _LAYOUT.unpack(packed)
    if version != VERSION:
        raise CursorUnreadable("The cursor was written by a later release.")
    return Cursor(epoch=epoch, seq=seq, scope=scope, version=version)
