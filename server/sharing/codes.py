"""Offer codes: ten characters to read out and type, or a link to scan. Pure.

A typed code is 50 bits of Crockford base 32: four characters name the offer, six are its secret. A link names
the offer the same way and carries a secret of 256 bits.
"""

import base64
import re
from typing import Literal

import msgspec

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NAME_CHARACTERS = 4
SECRET_CHARACTERS = 6
NAME_BITS = 5 * NAME_CHARACTERS
SECRET_BITS = 5 * SECRET_CHARACTERS
LINK_SECRET_BYTES = 32
CODE_CHARACTERS_MAX = 200

# People read O for zero and I or L for one, and write codes with gaps and dashes of many kinds.
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
_CHARACTERS = frozenset(ALPHABET)
# 256 bits in base64url: the last of 43 characters carries four bits, and has one spelling.
_LINK_SECRET = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", re.ASCII)
_GAPS = dict.fromkeys(map(ord, " \t-\u00a0\u2010\u2011\u2012\u2013\u2014\u2212_"))


class OfferCode(msgspec.Struct, frozen=True):
    """What a professional sent: the offer's name, a secret, and which of the two secrets it is."""

    name: str
    secret: str
    form: Literal["typed", "link"]


def parse_code(text: str) -> OfferCode | None:
    """The code in `text`, however it was typed, or None when it cannot be one."""
    if len(text) > CODE_CHARACTERS_MAX:
        return None
    return _parse_link(text) if "." in text else _parse_typed(text)


def typed_code(name_number: int, secret_number: int) -> OfferCode:
    """The typed code for two random numbers of 20 and 30 bits."""
    name = _characters(name_number, NAME_CHARACTERS)
    return OfferCode(name, _characters(secret_number, SECRET_CHARACTERS), "typed")


def link_code(name: str, secret: bytes) -> OfferCode:
    """The scanned code of the same offer."""
    assert len(secret) == LINK_SECRET_BYTES
    return OfferCode(name, base64.urlsafe_b64encode(secret).rstrip(b"=").decode(), "link")


def written(code: OfferCode) -> str:
    """The code as it is shown: `7K3M-Q9TX2R`, or `7K3M.<secret>` in a link."""
    return f"{code.name}{'-' if code.form == 'typed' else '.'}{code.secret}"


def spoken(code: OfferCode) -> str:
    """The typed code with a pause between characters, for reading out."""
    return ", ".join(code.name + code.secret)


def _characters(number: int, length: int) -> str:
    assert 0 <= number < 1 << (5 * length)
    return "".join(ALPHABET[number >> (5 * place) & 31] for place in reversed(range(length)))


def _normal(text: str) -> str | None:
    """The characters of a code without gaps, or None when one of them stands in no code."""
    characters = text.translate(_GAPS)
    if not characters.isascii():
        return None
    characters = characters.upper().translate(_READ_AS)
    return characters if set(characters) <= _CHARACTERS else None


def _parse_typed(text: str) -> OfferCode | None:
    characters = _normal(text)
    if characters is None or len(characters) != NAME_CHARACTERS + SECRET_CHARACTERS:
        return None
    return OfferCode(characters[:NAME_CHARACTERS], characters[NAME_CHARACTERS:], "typed")


def _parse_link(text: str) -> OfferCode | None:
    name, _, secret = text.strip().rpartition("#")[2].partition(".")
    characters = _normal(name)
    if characters is None or len(characters) != NAME_CHARACTERS or not _LINK_SECRET.fullmatch(secret):
        return None
    return OfferCode(characters, secret, "link")
