"""Checks that bytes are strict JSON within our limits, building no values (THREATS rule 12 and section 4).

One pass over the bytes, no recursion. Ordinary tokens are taken by one regular expression; whatever it does
not know goes to `_slow_step`, which is the whole grammar in small steps and says what is wrong. No single
step is long, so a thread scanning 20 MB gives way to the event loop every few milliseconds.
"""

import codecs
import json
import re
from typing import NoReturn

from fhir_profiles.json_faults import JsonRefused, number_fault, pointer_step, string_fault

DEPTH_MAX = 64
KEYS_MAX = 512
ARRAY_MAX = 10_000
STRING_BYTES_MAX = 1024 * 1024
# A body of more values than this is a bomb: the densest published records have a tenth of it in 20 MB.
VALUES_MAX = 2_000_000
# Tokens out of the ordinary (very long or oddly escaped) cost ten times as much; no real body has many.
SLOW_STEPS_MAX = 100_000
# Indentation at the deepest level stays far below this; a longer run serves only to keep a server busy.
BLANK_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 256 * 1024

_BLANK = rb"[ \t\n\r]{0,1024}+"
# Positive classes: the regular expression engine turns these into a bitmap, which is twice as fast.
_PLAIN = rb"[ !#-\[\]-\xff]"
_SURROGATES = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_ESCAPE = (
    rb'(?:\\["\\/nrt]|\\u(?!00[01]|[dD][89a-fA-F])[0-9a-fA-F]{4}|' + _SURROGATES + rb"|\\u00(?:09|0[aAdD]))"
)
_STRING = rb'"' + _PLAIN + rb"{0,65536}+(?:" + _ESCAPE + _PLAIN + rb'{0,4096}+){0,200}+"'
# Up to 18 characters before any exponent hold no more than 18 digits; longer ones are counted in small steps.
_NUMBER = (
    rb"-?(?=(?:0\.)?[0-9.]{1,18}(?![0-9.]))(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+"
    rb"(?:[eE][+-]?(?:30|[0-2]?[0-9]))?+(?![0-9.eE+-])"
)
_SCALAR = rb"(?:" + _STRING + rb"|" + _NUMBER + rb"|true|false|null)" + _BLANK
# What a token is can be told from the last group that took part in the match.
_FAST = re.compile(
    _BLANK
    + rb"(?:"
    + (rb'"([ !#-\[\]-\xff]{1,256}+)"' + _BLANK + rb":" + _BLANK)
    + (rb"(?:" + _SCALAR + rb"(?:(,)|(?=[}\]]))|([{\[]))")
    + (rb"|" + _SCALAR + rb"(?:(,)|(?=[}\]])())")
    + (rb"|([}\]])" + _BLANK + rb"(,)?")
    + rb"|([{\[])"
    + rb"|((?s:.)))"
)
_MEMBER_LAST, _MEMBER, _MEMBER_OPEN, _ELEMENT, _ELEMENT_LAST, _CLOSE, _CLOSE_COMMA, _OPEN, _UNKNOWN = range(
    1, 10
)

_NUMBER_RUN = re.compile(rb"[0-9.eE+-]{0,64}")
_STRING_RUN = re.compile(rb"(?:" + _PLAIN + rb"{1,4096}+|" + _ESCAPE + rb"){1,256}+")
_BLANK_RUN = re.compile(rb"[ \t\n\r]{0,4096}+")
_WORDS = (b"true", b"false", b"null")
_NOT_NUMBERS = (b"NaN", b"Infinity", b"-Infinity")
_BRACE = 0x7B

# What may come next inside a container: anything, not its end (a comma was read), or a comma or its end.
_FIRST, _NEXT, _AFTER = 0, 1, 2
_NEED_AFTER = (_FIRST, _AFTER, _NEXT, _FIRST, _NEXT, _AFTER, _AFTER, _NEXT, _FIRST)

Span = tuple[int, bytes | int, int, int]
"""A container that has closed: how many it stood in, its name or index, its first byte, the byte after."""
Frame = tuple[set[bytes] | None, int, bytes | int, int]
"""A container left for an inner one: its keys (None: an array), its count; the inner one's name and start."""


def check_text(raw: bytes) -> None:
    """Refuses an empty body, a byte order mark, invalid UTF-8 and a body of too many values."""
    if not raw:
        raise JsonRefused("empty", "The body is empty.", offset=0)
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise JsonRefused("byte-order-mark", "The body begins with a byte order mark.", offset=0)
    values = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), CHUNK_BYTES):
        chunk = raw[start : start + CHUNK_BYTES]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk, start + CHUNK_BYTES >= len(raw))
        except UnicodeDecodeError as error:
            offset = start - pending + error.start
            raise JsonRefused("not-utf8", "The body is not valid UTF-8.", offset=offset) from None
        values += chunk.count(b",") + chunk.count(b"[") + chunk.count(b"{")
        if values > VALUES_MAX:
            raise JsonRefused(
                "too-many-values", f"The body holds more than {VALUES_MAX} values.", offset=start
            )


class JsonScan:
    """One scan over one document; `run` returns when all of it is strict JSON, and raises JsonRefused if not.

    `spans` then holds the array named `array` at the top of the document, its elements, and in each element
    the member named `member`, as far as these are objects or arrays; inner ones stand before outer ones.
    """

    __slots__ = (
        "_array",
        "_count",
        "_done",
        "_frames",
        "_keys",
        "_member",
        "_name",
        "_need",
        "_pos",
        "_raw",
        "_slow_steps",
        "spans",
    )

    def __init__(self, raw: bytes, *, array: bytes = b"", member: bytes = b"") -> None:
        self.spans: list[Span] = []
        self._raw = raw
        self._array = array
        self._member = member
        self._pos: int = 0
        self._frames: list[Frame] = []
        self._keys: set[bytes] | None = None
        self._count = 0
        self._name: bytes | int | None = None
        self._need = _FIRST
        self._done = False
        self._slow_steps = 0

    def run(self) -> None:
        check_text(self._raw)
        self._take_value(self._skip_blank(0))
        while not self._done:
            self._fast_steps()
            if not self._done:
                self._slow_step()
        end = self._skip_blank(self._pos)
        if end != len(self._raw):
            self._refuse("trailing", "Something follows the end of the JSON.", end)

    def _fast_steps(self) -> None:
        """Takes ordinary tokens until one is not, leaving the state just before that one.

        NOTE: long on purpose. It runs for every token of 20 MB, and calls would double its cost.
        """
        frames, keys, count, need, pos = self._frames, self._keys, self._count, self._need, self._pos
        for match in _FAST.finditer(self._raw, pos):
            kind = match.lastindex or _UNKNOWN
            opens = kind in {_MEMBER_OPEN, _OPEN}
            if kind == _UNKNOWN or (opens and len(frames) >= DEPTH_MAX):
                break
            if kind <= _MEMBER_OPEN:
                name = match[1]
                if keys is None or need == _AFTER or name in keys or len(keys) >= KEYS_MAX:
                    break
                keys.add(name)
            elif kind in {_CLOSE, _CLOSE_COMMA}:
                if need == _NEXT or (keys is None) != (match[6] == b"]"):
                    break
                keys, count = self._leave(match.end(6))
                if not frames:
                    pos, self._done = match.end(6), True
                    break
                name = b""
            else:
                if keys is not None or need == _AFTER or count >= ARRAY_MAX:
                    break
                name = count
                count += 1
            pos, need = match.end(), _NEED_AFTER[kind]
            if opens:
                frames.append((keys, count, name, pos - 1))
                keys, count = (set[bytes]() if self._raw[pos - 1] == _BRACE else None), 0
        self._keys, self._count, self._need, self._pos = keys, count, need, pos

    def _slow_step(self) -> None:
        """Takes one token by the whole grammar, or says what is wrong with it."""
        self._slow_steps += 1
        self._name = None
        if self._slow_steps > SLOW_STEPS_MAX:
            self._refuse("too-costly", "The JSON is written in too costly a way.", self._pos)
        pos = self._skip_blank(self._pos)
        byte = self._raw[pos : pos + 1]
        if not byte:
            self._refuse("syntax", "The JSON ends before it is complete.", pos)
        if byte in {b"}", b"]"}:
            self._close(byte, pos)
        elif self._need == _AFTER and byte != b",":
            self._refuse("syntax", "A comma or the end of the object or array is missing.", pos)
        elif self._need == _AFTER:
            self._pos = pos
        elif self._keys is None:
            self._take_element(pos)
        else:
            self._take_member(pos, self._keys)
        self._take_comma()

    def _take_comma(self) -> None:
        """Goes past the comma after a value, so that the fast steps can take over again."""
        if self._need == _AFTER and not self._done:
            pos = self._skip_blank(self._pos)
            if self._raw[pos : pos + 1] == b",":
                self._need, self._pos = _NEXT, pos + 1

    def _close(self, byte: bytes, pos: int) -> None:
        if self._need == _NEXT:
            self._refuse("syntax", "A comma is followed by nothing.", pos)
        if (self._keys is None) != (byte == b"]"):
            self._refuse("syntax", "An object or array is closed by the wrong bracket.", pos)
        self._keys, self._count = self._leave(pos + 1)
        self._need, self._pos, self._done = _AFTER, pos + 1, not self._frames

    def _leave(self, end: int) -> tuple[set[bytes] | None, int]:
        frames = self._frames
        keys, count, name, start = frames.pop()
        depth = len(frames)
        if depth <= 3 and self._array and self._is_wanted(depth, name):
            self.spans.append((depth, name, start, end))
        return keys, count

    def _is_wanted(self, depth: int, name: bytes | int) -> bool:
        if depth <= 1:
            return depth == 1 and name == self._array
        return self._frames[1][2] == self._array and (depth == 2 or name == self._member)

    def _take_element(self, pos: int) -> None:
        self._name = self._count
        if self._count >= ARRAY_MAX:
            self._refuse("array-too-long", f"An array holds more than {ARRAY_MAX} elements.", pos)
        self._count += 1
        self._take_value(pos)

    def _take_member(self, pos: int, keys: set[bytes]) -> None:
        if self._raw[pos : pos + 1] != b'"':
            self._refuse("syntax", "A property name in double quotes is missing.", pos)
        end = self._string_end(pos)
        name = json.loads(self._raw[pos:end]).encode()
        self._name = name
        if name in keys:
            self._refuse("duplicate-key", "The same property appears twice in one object.", pos)
        if len(keys) >= KEYS_MAX:
            self._refuse("too-many-keys", f"An object has more than {KEYS_MAX} properties.", pos)
        keys.add(name)
        colon = self._skip_blank(end)
        if self._raw[colon : colon + 1] != b":":
            self._refuse("syntax", "A colon is missing after a property name.", colon)
        self._take_value(self._skip_blank(colon + 1))

    def _take_value(self, pos: int) -> None:
        byte = self._raw[pos : pos + 1]
        if byte in {b"{", b"["}:
            if len(self._frames) >= DEPTH_MAX:
                self._refuse("too-deep", f"The JSON is nested more than {DEPTH_MAX} levels deep.", pos)
            name = b"" if self._name is None else self._name
            self._frames.append((self._keys, self._count, name, pos))
            self._keys = set() if byte == b"{" else None
            self._count, self._need, self._pos = 0, _FIRST, pos + 1
            return
        self._pos = self._string_end(pos) if byte == b'"' else self._word_end(pos)
        self._need, self._done = _AFTER, not self._frames

    def _string_end(self, start: int) -> int:
        pos = start + 1
        while run := _STRING_RUN.match(self._raw, pos):
            pos = run.end()
            if pos - start - 1 > STRING_BYTES_MAX:
                self._refuse("string-too-long", f"A string is longer than {STRING_BYTES_MAX} bytes.", start)
        if self._raw[pos : pos + 1] == b'"':
            return pos + 1
        return self._refuse(*string_fault(self._raw[pos : pos + 6]), pos)

    def _word_end(self, pos: int) -> int:
        for word in _WORDS:
            if self._raw.startswith(word, pos):
                return pos + len(word)
        run = _NUMBER_RUN.match(self._raw, pos)
        text = run[0] if run else b""
        if fault := number_fault(text):
            if self._raw.startswith(_NOT_NUMBERS, pos):
                fault = ("not-a-number", "NaN and Infinity are not JSON numbers.")
            self._refuse(*fault, pos)
        return pos + len(text)

    def _skip_blank(self, start: int) -> int:
        pos = start
        while (run := _BLANK_RUN.match(self._raw, pos)) and run.end() > pos:
            pos = run.end()
            if pos - start > BLANK_BYTES_MAX:
                self._refuse(
                    "blank-space", f"More than {BLANK_BYTES_MAX} bytes of blank space in a row.", start
                )
        return pos

    def _refuse(self, code: str, detail: str, offset: int) -> NoReturn:
        names = [frame[2] for frame in self._frames[1:]]
        if self._name is not None and code not in {"syntax", "trailing"}:
            names.append(self._name)
        raise JsonRefused(code, detail, pointer="".join(pointer_step(name) for name in names), offset=offset)
