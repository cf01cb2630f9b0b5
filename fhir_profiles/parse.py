"""Reads FHIR JSON strictly and keeps what it said: digits of numbers, and where each resource's bytes stand.

Rules: THREATS section 2 rule 12 and section 4; https://hl7.org/fhir/R4/json.html
"""

import json
import re
from typing import Any, cast

import msgspec

from fhir_profiles.json_faults import JsonRefused
from fhir_profiles.json_scan import JsonScan, Span

__all__ = [
    "BundleScan",
    "EntrySlice",
    "JsonRefused",
    "check_json",
    "decode",
    "decode_checked",
    "encode",
    "scan_bundle",
]

BUNDLE_BYTES_MAX = 20 * 1024 * 1024
# What stands beside the resources (fullUrl, request, search; Bundle.meta, link, signature) is decoded whole.
ENTRY_ENVELOPE_BYTES_MAX = 64 * 1024
ENVELOPE_BYTES_MAX = 1024 * 1024
# Above this size the standard library decodes, because its hooks give other threads a turn.
LONG_DECODE_BYTES = 256 * 1024

_DECODER = msgspec.json.Decoder(float_hook=msgspec.Raw)
_ENCODER = msgspec.json.Encoder()
# A whole number minus zero is written "-0", and only the standard library hands it over with its sign.
_MINUS_ZERO = re.compile(rb"[\s:,\[]-0[\s,}\]]")
_BRACE, _BRACKET = 0x7B, 0x5B


class EntrySlice(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a Bundle. `raw[start:end]` is its resource as sent; start == end when it has none.

    `envelope` is the entry without its resource: fullUrl, request, search, response, link, extensions.
    """

    index: int
    full_url: str | None
    start: int
    end: int
    envelope: dict[str, Any]


class BundleScan(msgspec.Struct, frozen=True, kw_only=True):
    """A Bundle whose JSON is sound: `envelope` is all of it but `entry`, whose resources stay bytes."""

    envelope: dict[str, Any]
    entries: tuple[EntrySlice, ...]


def check_json(raw: bytes) -> None:
    """Raises JsonRefused unless the bytes are one JSON value within our limits."""
    JsonScan(raw).run()


def decode(raw: bytes) -> dict[str, Any]:
    """The JSON object, in which a number with a fraction or exponent, or minus zero, is kept as msgspec.Raw.

    Raises JsonRefused when a reading rule is broken or the value is not an object.
    """
    check_json(raw)
    return decode_checked(raw)


def decode_checked(raw: bytes) -> dict[str, Any]:
    """Like `decode`, for bytes that `check_json` or `scan_bundle` has already passed."""
    if len(raw) > LONG_DECODE_BYTES or _MINUS_ZERO.search(raw):
        value = json.loads(raw, parse_float=_as_sent, parse_int=_whole, object_pairs_hook=_object)
    else:
        value = _DECODER.decode(raw)
    if not isinstance(value, dict):
        raise JsonRefused("not-an-object", "The JSON is not an object.", offset=0)
    return cast("dict[str, Any]", value)


def encode(resource: dict[str, Any]) -> bytes:
    """The resource as JSON bytes without blanks; numbers kept by `decode` are written as they came."""
    return _ENCODER.encode(resource)


def scan_bundle(raw: bytes) -> BundleScan:
    """Checks a whole Bundle and finds its entries, holding no resource in memory; meant for a worker thread.

    Raises JsonRefused for any fault anywhere, for more than 20 MB, and for an `entry` that is not an array.
    """
    if len(raw) > BUNDLE_BYTES_MAX:
        raise JsonRefused("body-too-large", f"The body is larger than {BUNDLE_BYTES_MAX} bytes.")
    scan = JsonScan(raw, array=b"entry", member=b"resource")
    scan.run()
    whole = next(((start, end) for depth, _, start, end in scan.spans if depth == 1), None)
    if whole is None:
        envelope = _object_without(raw, (0, len(raw)), None, limit=ENVELOPE_BYTES_MAX, pointer="")
    else:
        envelope = _object_without(raw, (0, len(raw)), whole, limit=ENVELOPE_BYTES_MAX, pointer="")
        envelope.pop("entry")
    if "entry" in envelope or (whole and raw[whole[0]] != _BRACKET):
        raise JsonRefused("entry-not-array", "Bundle.entry is not an array.", pointer="/entry")
    return BundleScan(envelope=envelope, entries=_entries(raw, scan.spans, whole) if whole else ())


def _entries(raw: bytes, spans: list[Span], whole: tuple[int, int]) -> tuple[EntrySlice, ...]:
    entries: list[EntrySlice] = []
    resource: tuple[int, int] | None = None
    last = whole[0] + 1
    for depth, _, start, end in spans:
        if depth == 3:
            resource = (start, end)
        if depth != 2:
            continue
        if raw[start] != _BRACE or raw[last:start].strip() not in {b"", b","}:
            raise _not_an_object(len(entries))
        entries.append(_entry(raw, len(entries), (start, end), resource))
        resource, last = None, end
    if raw[last : whole[1] - 1].strip():
        raise _not_an_object(len(entries))
    return tuple(entries)


def _entry(raw: bytes, index: int, span: tuple[int, int], resource: tuple[int, int] | None) -> EntrySlice:
    limit, pointer = ENTRY_ENVELOPE_BYTES_MAX, f"/entry/{index}"
    envelope = _object_without(raw, span, resource, limit=limit, pointer=pointer)
    start, end = resource or (span[0], span[0])
    if resource:
        envelope.pop("resource")
    full_url = envelope.get("fullUrl")
    return EntrySlice(
        index=index,
        full_url=full_url if isinstance(full_url, str) else None,
        start=start,
        end=end,
        envelope=envelope,
    )


def _object_without(
    raw: bytes, span: tuple[int, int], hole: tuple[int, int] | None, *, limit: int, pointer: str
) -> dict[str, Any]:
    """The object at `span`, decoded with `null` in place of the bytes at `hole`."""
    start, end = span
    cut_start, cut_end = hole or (end, end)
    if (end - start) - (cut_end - cut_start) > limit:
        detail = f"What surrounds the resources is larger than {limit} bytes."
        raise JsonRefused("envelope-too-large", detail, pointer=pointer, offset=start)
    if hole is None:
        return decode_checked(raw[start:end])
    return decode_checked(raw[start:cut_start] + b"null" + raw[cut_end:end])


def _not_an_object(index: int) -> JsonRefused:
    return JsonRefused(
        "entry-not-object", "An entry of the Bundle is not an object.", pointer=f"/entry/{index}"
    )


def _as_sent(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


def _whole(digits: str) -> int | msgspec.Raw:
    return _as_sent(digits) if digits == "-0" else int(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)
