"""Strict parsing against the standard library's parser, on random documents and random damage."""

import json
import math
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_profiles.json_faults import number_fault
from fhir_profiles.parse import JsonRefused, check_json, decode, encode, scan_bundle

# A busy machine is no fault of ours: no single example is timed.
UNTIMED = settings(deadline=None)
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(code) for code in range(0x20)])
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)
SIGNS = st.sampled_from(["", "-"])
FRACTIONS = st.integers(1, 9).flatmap(lambda size: st.text("0123456789", min_size=size, max_size=size))
EXPONENTS = st.builds(
    lambda letter, sign, power: f"{letter}{sign}{power}",
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 30),
)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{whole}.{fraction}{exponent}",
    SIGNS,
    st.integers(0, 10**8),
    FRACTIONS,
    st.just("") | EXPONENTS,
)


def pairs_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("duplicate")
    return dict(pairs)


def refuse_word(_word: str) -> float:
    raise ValueError("not JSON")


def is_json(raw: bytes) -> bool:
    """What the standard library takes, without repeated keys, NaN, byte order marks and lone surrogates."""
    try:
        text = raw.decode()
        value = json.loads(text, object_pairs_hook=pairs_without_repeats, parse_constant=refuse_word)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return not text.startswith("\ufeff")


def is_taken(raw: bytes) -> bool:
    try:
        check_json(raw)
    except JsonRefused:
        return False
    return True


@UNTIMED
@given(OBJECTS, st.sampled_from([None, 1, 4]), st.booleans())
def test_any_json_object_is_taken_and_decodes_to_itself(value: dict[str, Any], indent, ascii_only) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert decode(raw) == value
    assert msgspec.json.decode(encode(decode(raw))) == value


@UNTIMED
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_digits_survive_decoding_and_encoding(numbers: list[str]) -> None:
    raw = b'{"n":[%s]}' % ",".join(numbers).encode()
    assert encode(decode(raw)) == raw


@UNTIMED
@given(SIGNS, st.integers(0, 10**25), st.text("0123456789", max_size=25), st.integers(-40, 40))
def test_numbers_are_judged_alike_wherever_they_stand(
    sign: str, whole: int, fraction: str, power: int
) -> None:
    number = f"{sign}{whole}" + (f".{fraction}" if fraction else "") + (f"e{power}" if power else "")
    digits = len((str(whole) + fraction).lstrip("0"))
    fits = len(number) <= 40 and digits <= 18 and -30 <= power <= 30
    for raw in (number, f"[{number}]", f'{{"a": {number} }}', f'[1,{number},"x"]'):
        assert is_taken(raw.encode()) is fits


@UNTIMED
@given(OBJECTS, st.data())
def test_damaged_json_is_taken_exactly_when_the_standard_library_takes_it(value, data: st.DataObject) -> None:
    raw = bytearray(json.dumps(value, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(raw) - 1))
        damage = data.draw(
            st.sampled_from([b"", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"-", b" ", b"e"])
        )
        raw[position : position + data.draw(st.integers(0, 1))] = damage
        if not raw:
            return
    expected = is_json(bytes(raw))
    if expected and any(word in raw for word in (b"\\b", b"\\f", b"\\u00")):
        return
    if expected and (b"e" in raw and not _is_finite(bytes(raw))):
        return
    assert is_taken(bytes(raw)) is expected


def _is_finite(raw: bytes) -> bool:
    """Whether no number was damaged into one beyond our limits."""
    numbers: list[str] = []
    json.loads(raw, parse_float=lambda digits: numbers.append(digits) or 0.0)
    return all(number_fault(each.encode()) is None and math.isfinite(float(each)) for each in numbers)


@UNTIMED
@given(st.binary(max_size=200))
def test_no_bytes_crash_the_scan(raw: bytes) -> None:
    assert not is_taken(raw) or is_json(raw)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(OBJECTS, TEXT), max_size=4), st.sampled_from([None, 2]))
def test_a_bundle_falls_into_the_resources_it_was_made_of(resources, indent) -> None:
    entries = [{"fullUrl": url, "resource": resource} for resource, url in resources]
    raw = json.dumps({"type": "collection", "entry": entries}, indent=indent).encode()
    scan = scan_bundle(raw)
    assert len(scan.entries) == len(entries)
    for entry, (resource, url) in zip(scan.entries, resources, strict=True):
        assert json.loads(raw[entry.start : entry.end]) == resource
        assert entry.full_url == url
