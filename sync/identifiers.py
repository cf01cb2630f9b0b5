"""New ids, made on the phone from its clock and random bytes that are passed in."""

from uuid import UUID

RANDOM_BYTES = 16
_TIMESTAMP_BITS = 48
_VERSION_7 = 0x7 << 76
_VERSION_4 = 0x4 << 76
_VARIANT = 0b10 << 62
_KEPT = ~((0xF << 76) | (0b11 << 62))


def uuid7(milliseconds: int, random: bytes) -> str:
    """A UUID that sorts by time. https://www.rfc-editor.org/rfc/rfc9562#section-5.7"""
    stamp = (milliseconds & ((1 << _TIMESTAMP_BITS) - 1)) << 80
    tail = int.from_bytes(random[:RANDOM_BYTES], "big") & ((1 << 80) - 1)
    return str(UUID(int=((stamp | tail) & _KEPT) | _VERSION_7 | _VARIANT))


def uuid4(random: bytes) -> str:
    """A random UUID."""
    number = int.from_bytes(random[:RANDOM_BYTES], "big")
    return str(UUID(int=(number & _KEPT) | _VERSION_4 | _VARIANT))
