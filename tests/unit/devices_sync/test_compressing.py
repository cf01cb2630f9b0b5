"""Which packing an answer gets."""

import gzip

import pytest
import zstandard

from server.http.compressing import LARGE_BYTES_MIN, compressed, encoding_for


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("ZSTD", "zstd"),
        ("zstd;q=0,gzip;q=0.1", "gzip"),
        ("zstd; q=0.5", "zstd"),
        ("zstd;q=x", None),
        ("zstd;level=3", None),
    ],
)
def test_the_best_packing_the_caller_can_read_is_chosen(offered: str, chosen: str | None) -> None:
    assert encoding_for(offered) == chosen


@pytest.mark.parametrize("size", [1, 2_000, LARGE_BYTES_MIN])
def test_what_is_packed_unpacks_to_the_same_bytes(size: int) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    assert gzip.decompress(compressed(body, "gzip")) == body
    assert zstandard.ZstdDecompressor().decompress(compressed(body, "zstd")) == body
