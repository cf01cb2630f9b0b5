"""Markers: words planted in clinical content that no file may hold which the server leaves (THREATS i).

Every marker begins with one rare word, so that a search looks for that word in every way it could be written.
"""

import base64
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

STEM = "Qzvxjk"
INFLATED_BYTES_MAX = 4_000_000

_STREAMS = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08|\x28\xb5\x2f\xfd", re.DOTALL)


class Found(NamedTuple):
    """A marker that was found: where, and how it was written."""

    where: str
    how: str


def marker(number: int) -> str:
    """The marker with this number; letters only, so that it passes as a name."""
    letters = "".join(chr(ord("a") + int(digit)) for digit in f"{number:04d}")
    return STEM + letters


def find_in_files(paths: Iterable[Path]) -> list[Found]:
    """Every marker in these files and in the files of these folders."""
    found: list[Found] = []
    for path in _files(paths):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        found += find_in_bytes(content, str(path))
    return found


def find_in_bytes(content: bytes, where: str) -> list[Found]:
    """Every way in which a marker is written in the bytes, or in what inflates out of them."""
    found = [Found(where, how) for how, needle in _NEEDLES.items() if needle in content]
    for start, inflated in _inflated(content):
        found += [
            Found(f"{where} inflated at {start}", how)
            for how, needle in _NEEDLES.items()
            if needle in inflated
        ]
    return found


def _needles() -> dict[str, bytes]:
    needles: dict[str, bytes] = {}
    for case, word in (("as is", STEM), ("lower", STEM.lower()), ("upper", STEM.upper())):
        plain = word.encode()
        needles[f"UTF-8 {case}"] = plain
        needles[f"UTF-16LE {case}"] = word.encode("utf-16-le")
        needles[f"UTF-16BE {case}"] = word.encode("utf-16-be")
        needles[f"hex {case}"] = plain.hex().encode()
        needles[f"HEX {case}"] = plain.hex().upper().encode()
        needles[f"reversed {case}"] = plain[::-1]
        for shift in range(3):
            needles[f"base64+{shift} {case}"] = _base64_core(plain, shift)
    return needles


def _base64_core(plain: bytes, shift: int) -> bytes:
    """The characters that stand for these bytes and nothing around them, when they begin at this shift."""
    encoded = base64.b64encode(bytes(shift) + plain)
    first = (shift * 8 + 5) // 6
    whole = (shift + len(plain)) * 8 // 6
    return encoded[first:whole]


_NEEDLES = _needles()


def _inflated(content: bytes) -> Iterator[tuple[int, bytes]]:
    for match in _STREAMS.finditer(content):
        stream = content[match.start() : match.start() + INFLATED_BYTES_MAX]
        try:
            yield match.start(), _inflate(stream)
        except (zlib.error, zstandard.ZstdError, EOFError, gzip.BadGzipFile):
            continue


def _inflate(stream: bytes) -> bytes:
    if stream.startswith(b"\x28\xb5"):
        return zstandard.ZstdDecompressor().decompressobj().decompress(stream)
    window = 31 if stream.startswith(b"\x1f") else 15
    return zlib.decompressobj(window).decompress(stream, INFLATED_BYTES_MAX)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (each for each in path.rglob("*") if each.is_file())
        else:
            yield path
