"""The search for markers finds them however they are written, so that finding none means something."""

import base64
import gzip
import os
import zlib

import pytest
import zstandard

from tests.markers import find_in_bytes, find_in_files, marker

PLAIN = f"a name: {marker(7)}.".encode()
WRITTEN = {
    "plain": PLAIN,
    "lower": PLAIN.lower(),
    "upper": PLAIN.upper(),
    "UTF-16": PLAIN.decode().encode("utf-16"),
    "UTF-16BE": PLAIN.decode().encode("utf-16-be"),
    "hex": PLAIN.hex().encode(),
    "HEX": PLAIN.hex().upper().encode(),
    "reversed": PLAIN[::-1],
    "base64": base64.b64encode(PLAIN),
    "base64 shifted once": base64.b64encode(b"x" + PLAIN),
    "base64 shifted twice": base64.urlsafe_b64encode(b"xy" + PLAIN),
    "zlib": zlib.compress(PLAIN),
    "zlib best": zlib.compress(PLAIN, 9),
    "gzip": gzip.compress(PLAIN),
    "zstd": zstandard.compress(PLAIN),
    "base64 in zstd": zstandard.compress(base64.b64encode(PLAIN)),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_marker_is_found_written_as(how, tmp_path):
    content = os.urandom(1_000) + WRITTEN[how] + os.urandom(1_000)
    assert find_in_bytes(content, "here")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(content)
    assert find_in_files([tmp_path])


def test_nothing_is_found_where_nothing_is():
    assert find_in_bytes(os.urandom(2_000_000), "here") == []


def test_markers_differ():
    assert len({marker(number) for number in range(300)}) == 300
