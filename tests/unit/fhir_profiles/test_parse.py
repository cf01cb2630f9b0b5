import time
import tracemalloc
from itertools import pairwise

import msgspec
import pytest

from fhir_profiles import json_faults, json_scan, parse
from fhir_profiles.parse import JsonRefused, check_json, decode, decode_checked, encode, scan_bundle


def refusal(raw: bytes) -> JsonRefused:
    with pytest.raises(JsonRefused) as caught:
        check_json(raw)
    return caught.value


REFUSED = [
    (b"", "empty", ""),
    (b"   ", "syntax", ""),
    (b"\xef\xbb\xbf{}", "byte-order-mark", ""),
    (b"\xff\xfe{\x00}\x00", "byte-order-mark", ""),
    (b'{"a":"\xff"}', "not-utf8", ""),
    (b'{"a":"\xed\xa0\x80"}', "not-utf8", ""),
    (b'{"a":"\xc0\xaf"}', "not-utf8", ""),
    (b'{"a":"\xe2\x82', "not-utf8", ""),
    (b'{"a":1}}', "trailing", ""),
    (b'{"a":1}{"a":1}', "trailing", ""),
    (b'{"a":1},', "trailing", ""),
    (b"{} \x00", "trailing", ""),
    (b'{"a":1,"a":2}', "duplicate-key", "/a"),
    (b'{"a":1,"\\u0061":2}', "duplicate-key", "/a"),
    (b'{"\\u0061":1,"a":2}', "duplicate-key", "/a"),
    (b'{"x":[{},{"b":{"c":1,"c":2}}]}', "duplicate-key", "/x/1/b/c"),
    (b'{"":1,"":2}', "duplicate-key", "/"),
    (b'{"a/b~c":{"d":1,"d":2}}', "duplicate-key", "/a~1b~0c/d"),
    (b'{"a":"\x00"}', "control-character", "/a"),
    (b'{"a":"\t"}', "control-character", "/a"),
    (b'{"a":"\x1f"}', "control-character", "/a"),
    (b'{"a":"\\u0000"}', "control-character", "/a"),
    (b'{"a":"\\u0008"}', "control-character", "/a"),
    (b'{"a":"\\u000b"}', "control-character", "/a"),
    (b'{"a":"\\u000B"}', "control-character", "/a"),
    (b'{"a":"\\u001F"}', "control-character", "/a"),
    (b'{"a":"\\b"}', "control-character", "/a"),
    (b'{"a":"\\f"}', "control-character", "/a"),
    (b'{"a\\u0000":1}', "control-character", ""),
    (b'{"a":["x","\\ud800"]}', "lone-surrogate", "/a/1"),
    (b'{"a":"\\udc00"}', "lone-surrogate", "/a"),
    (b'{"a":"\\udc00\\ud800"}', "lone-surrogate", "/a"),
    (b'{"a":"\\ud800\\u0041"}', "lone-surrogate", "/a"),
    (b'{"a":NaN}', "not-a-number", "/a"),
    (b'{"a":Infinity}', "not-a-number", "/a"),
    (b'{"a":-Infinity}', "not-a-number", "/a"),
    (b'{"a":1e31}', "number-exponent", "/a"),
    (b'{"a":1E-31}', "number-exponent", "/a"),
    (b'{"a":1e99999999}', "number-exponent", "/a"),
    (b'{"a":1234567890123456789}', "number-digits", "/a"),
    (b'{"a":0.1234567890123456789}', "number-digits", "/a"),
    (b'{"a":12345678901234567.89}', "number-digits", "/a"),
    (b'{"a":[0,0.000000000000000000000000000000000000001]}', "number-too-long", "/a/1"),
]
NOT_JSON = (
    b"tru", b"nul", b"'a'", b"{'a':1}", b"{a:1}", b"{1:2}", b'{"a"}', b'{"a":}', b'{"a" 1}', b'{"a":1,}',
    b"[1,]", b"[,1]", b"{,}", b"[1 2]", b'{"a":1 "b":2}', b"[1,2", b'{"a":1', b'{"a', b'{"a"', b'{"a":', b"[",
    b"{", b"[}", b"{]", b"[1,2}", b'{"a":1]', b'["a":1]', b'{"a":01}', b'{"a":1.}', b'{"a":.5}', b'{"a":+5}',
    b'{"a":-}', b'{"a":1e}', b'{"a":1.5.5}', b'{"a":0x10}', b'{"a":1_000}', b'{"a":"\\x"}', b'{"a":"\\u12"}',
    b"// note\n{}", b"{}/**/", b"\x0b{}", b"\xc2\xa0{}", b"None", b"True",
)  # fmt: skip
TAKEN = (
    b"{}", b"[]", b"true", b'"x"', b"-0", b" \t\r\n{}\n", b'{"":1}', b'{"a":{"a":{"a":1}}}', b'[{"a":1},{}]',
    b'{"a":"\\ud83d\\ude00"}', b'{"a":"\\t\\n\\r\\u0009\\u000a\\u000D\\/\\"\\\\"}', b'{"a":"\\uFFFE\\u0080"}',
    '{"é":"日本 👩‍⚕️"}'.encode(), b'{"a":[[],{},[{}]]}', b"[1e30,1E-30,1e+05,0.5,-0.0,123456789012345678]",
    b"[0.30000000000000004,0.123456789012345678,1e029,12345678901234567.8]", b"[\n" + b" " * 3000 + b"1\n]",
    b'{"' + b"k" * 1000 + b'":1}', b'{"\\n":1,"n":2}',
)  # fmt: skip


@pytest.mark.parametrize(("raw", "code", "pointer"), REFUSED)
def test_each_refusal_has_its_code_and_place(raw: bytes, code: str, pointer: str) -> None:
    refused = refusal(raw)
    assert (refused.code, refused.pointer) == (code, pointer)
    assert refused.detail.endswith(".")


@pytest.mark.parametrize("raw", NOT_JSON)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    assert refusal(raw).code in {"syntax", "trailing"}


@pytest.mark.parametrize("raw", TAKEN)
def test_strict_json_is_taken(raw: bytes) -> None:
    check_json(raw)


def test_a_syntax_fault_names_the_byte() -> None:
    assert refusal(b'{"a":1 "b":2}').offset == 7


def test_bad_utf8_across_a_chunk_names_the_byte() -> None:
    start = json_scan.CHUNK_BYTES - 1
    raw = b'"' + b"a" * (start - 1) + b"\xe2\x28\xa1" + b'"'
    refused = refusal(raw)
    assert (refused.code, refused.offset) == ("not-utf8", start)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def keys(count: int) -> bytes:
    return b"{" + b",".join(b'"k%d":1' % index for index in range(count)) + b"}"


def elements(count: int) -> bytes:
    return b"[" + b",".join([b"1"] * count) + b"]"


def string(length: int) -> bytes:
    return b'["' + b"a" * length + b'"]'


def escaped_string(length: int) -> bytes:
    return b'["' + b"\\n" * (length // 2) + b"a" * (length % 2) + b'"]'


def number(digits: int) -> bytes:
    return b"[" + b"1" * digits + b"]"


def small_number(characters: int) -> bytes:
    return b"[0." + b"0" * (characters - 3) + b"1]"


def exponent(power: int) -> bytes:
    return b"[1e%d]" % power


def negative_exponent(power: int) -> bytes:
    return b"[1e-%d]" % power


def blanks(length: int) -> bytes:
    return b"[" + b" " * length + b"1]"


LIMITS = [
    (nested, json_scan.DEPTH_MAX, "too-deep"),
    (keys, json_scan.KEYS_MAX, "too-many-keys"),
    (elements, json_scan.ARRAY_MAX, "array-too-long"),
    (string, json_scan.STRING_BYTES_MAX, "string-too-long"),
    (escaped_string, json_scan.STRING_BYTES_MAX, "string-too-long"),
    (number, json_faults.SIGNIFICANT_DIGITS_MAX, "number-digits"),
    (small_number, json_faults.NUMBER_CHARACTERS_MAX, "number-too-long"),
    (exponent, json_faults.EXPONENT_MAX, "number-exponent"),
    (negative_exponent, json_faults.EXPONENT_MAX, "number-exponent"),
    (blanks, json_scan.BLANK_BYTES_MAX, "blank-space"),
]


@pytest.mark.parametrize(
    ("document", "limit", "code"), LIMITS, ids=lambda each: getattr(each, "__name__", "")
)
def test_each_limit_holds_below_at_and_above(document, limit: int, code: str) -> None:
    check_json(document(limit - 1))
    check_json(document(limit))
    assert refusal(document(limit + 1)).code == code


def test_values_are_counted_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_scan, "VALUES_MAX", 10)
    check_json(b"[1,1,1,1,1,1,1,1,1,1]")
    assert refusal(b"[1,1,1,1,1,1,1,1,1,1,1]").code == "too-many-values"


def test_costly_tokens_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_scan, "SLOW_STEPS_MAX", 5)
    check_json(b"[" + b",".join([b'"\\u0041"'] * 50) + b"]")
    assert refusal(b"[" + b",".join([b"1e0005"] * 6) + b"]").code == "too-costly"


BOMBS = {
    "nesting of arrays": b"[" * 10_000_000,
    "nesting of objects": b'{"a":' * 2_000_000,
    "digits": b"[1" + b"0" * 19_000_000 + b"]",
    "fraction digits": b"[0." + b"0" * 19_000_000 + b"1]",
    "exponent digits": b"[1e" + b"9" * 19_000_000 + b"]",
    "keys": b"{" + b",".join(b'"k%d":1' % index for index in range(500_000)) + b"}",
    "one key": b'{"' + b"k" * 19_000_000 + b'":1}',
    "array": b"[" + b"1," * 9_000_000 + b"1]",
    "arrays": b"[" + b"[],1," * 2_000_000 + b"1]",
    "string": b'["' + b"a" * 19_000_000 + b'"]',
    "escapes": b'["' + b"\\n" * 9_000_000 + b'"]',
    "open string": b'"' + b"\\\\" * 9_000_000,
    "blanks": b" " * 19_000_000 + b"1",
    "nothing but nul": b"\x00" * 19_000_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_each_bomb_is_answered_at_once_and_in_little_memory(name: str) -> None:
    raw = BOMBS[name]
    spent: list[float] = []
    for _ in range(3):
        started = time.process_time()
        refusal(raw)
        spent.append(time.process_time() - started)
    assert min(spent) <= 0.1
    tracemalloc.start()
    refusal(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


DIGITS = (
    "1.00",
    "0.40",
    "-0.0",
    "1e2",
    "1E+02",
    "100.0e-2",
    "0.30000000000000004",
    "-0",
    "12345678901234567.8",
)


@pytest.mark.parametrize("digits", DIGITS)
def test_digits_come_back_as_sent(digits: str) -> None:
    raw = b'{"value":%s}' % digits.encode()
    assert encode(decode(raw)) == raw


def test_fractions_are_raw_and_whole_numbers_are_whole() -> None:
    decoded = decode(b'{"a":1.00,"b":7,"c":[-0],"d":"-0"}')
    assert type(decoded["a"]) is msgspec.Raw
    assert decoded["b"] == 7
    assert bytes(decoded["c"][0]) == b"-0"
    assert decoded["d"] == "-0"


def test_long_documents_decode_to_the_same() -> None:
    inner = b'{"a":1.00,"b":-0,"c":[1,{"d":"\\u00e9"}]}'
    short = decode(inner)
    long = decode(b'{"pad":"' + b"x" * parse.LONG_DECODE_BYTES + b'","inner":' + inner + b"}")
    assert encode(long["inner"]) == encode(short)


@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"1.5"])
def test_a_resource_must_be_an_object(raw: bytes) -> None:
    with pytest.raises(JsonRefused) as caught:
        decode(raw)
    assert caught.value.code == "not-an-object"


BUNDLE = b"""{
  "resourceType": "Bundle", "type": "transaction",
  "entry": [
    {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "a",
      "contained": [{"resource": {"entry": [{"resource": {}}]}}]},
     "request": {"method": "POST", "url": "Patient"}},
    {"request": {"method": "DELETE", "url": "Patient/1"}},
    {"resource": {"resourceType":"Observation","valueQuantity":{"value":1.00}} , "fullUrl": 5}
  ],
  "timestamp": "2026-11-21T09:00:00Z"
}"""


def test_a_bundle_is_taken_apart_by_its_bytes() -> None:
    scan = scan_bundle(BUNDLE)
    assert scan.envelope == {
        "resourceType": "Bundle",
        "type": "transaction",
        "timestamp": "2026-11-21T09:00:00Z",
    }
    first, second, third = scan.entries
    assert (first.index, first.full_url) == (0, "urn:uuid:1")
    assert first.envelope == {"fullUrl": "urn:uuid:1", "request": {"method": "POST", "url": "Patient"}}
    assert decode_checked(BUNDLE[first.start : first.end])["id"] == "a"
    assert second.start == second.end
    assert second.envelope["request"]["method"] == "DELETE"
    assert BUNDLE[third.start : third.end].endswith(b'{"value":1.00}}')
    assert third.full_url is None


def test_entries_stand_in_order_and_do_not_overlap() -> None:
    entries = b",".join(b'{"resource":{"n":%d}}' % index for index in range(1000))
    scan = scan_bundle(b'{"entry":[' + entries + b"]}")
    assert [entry.index for entry in scan.entries] == list(range(1000))
    assert all(before.end <= after.start for before, after in pairwise(scan.entries))


@pytest.mark.parametrize("raw", [b"{}", b'{"entry":[]}'])
def test_a_bundle_may_have_no_entries(raw: bytes) -> None:
    assert scan_bundle(raw).entries == ()


BUNDLES_REFUSED = [
    (b'{"entry":[{"resource":{"a":1,"a":2}}]}', "duplicate-key", "/entry/0/resource/a"),
    (b'{"entry":[{"resource":{"a":"\\u0000"}}]}', "control-character", "/entry/0/resource/a"),
    (b'{"entry":[{}],"entry":[{}]}', "duplicate-key", "/entry"),
    (b'{"entry":{}}', "entry-not-array", "/entry"),
    (b'{"entry":"x"}', "entry-not-array", "/entry"),
    (b'{"entry":null}', "entry-not-array", "/entry"),
    (b'{"entry":[1]}', "entry-not-object", "/entry/0"),
    (b'{"entry":[{},[]]}', "entry-not-object", "/entry/1"),
    (b'{"entry":[{},null,{}]}', "entry-not-object", "/entry/1"),
    (b'{"entry":[{},"x"]}', "entry-not-object", "/entry/1"),
    (b"[]", "not-an-object", ""),
    (
        b'{"entry":[{"link":"' + b"x" * parse.ENTRY_ENVELOPE_BYTES_MAX + b'"}]}',
        "envelope-too-large",
        "/entry/0",
    ),
]


@pytest.mark.parametrize(("raw", "code", "pointer"), BUNDLES_REFUSED)
def test_a_fault_anywhere_refuses_the_whole_bundle(raw: bytes, code: str, pointer: str) -> None:
    with pytest.raises(JsonRefused) as caught:
        scan_bundle(raw)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_a_bundle_over_the_size_limit_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "BUNDLE_BYTES_MAX", 10)
    scan_bundle(b'{"a":"12"}')
    with pytest.raises(JsonRefused) as caught:
        scan_bundle(b'{"a":"123"}')
    assert caught.value.code == "body-too-large"


def test_a_bundle_of_too_many_entries_is_refused() -> None:
    scan_bundle(b'{"entry":[' + b",".join([b"{}"] * 10_000) + b"]}")
    with pytest.raises(JsonRefused) as caught:
        scan_bundle(b'{"entry":[' + b",".join([b"{}"] * 10_001) + b"]}")
    assert (caught.value.code, caught.value.pointer) == ("array-too-long", "/entry/10000")


def test_scanning_keeps_little_beside_the_body() -> None:
    resource = b'{"resourceType":"Observation","note":"' + b"x" * 1500 + b'","value":1.0}'
    raw = b'{"entry":[' + b",".join([b'{"fullUrl":"urn:uuid:1","resource":' + resource + b"}"] * 3000) + b"]}"
    tracemalloc.start()
    scan_bundle(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(raw)
