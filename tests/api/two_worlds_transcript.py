"""Compares what two worlds answered: equal but for opaque tokens, and those equal in length and in identity.

A token that one world shows twice must be shown twice, at the same places, by the other: whatever stands for
the same thing in one stands for the same thing in the other. Nothing else may differ by a byte. Moments and
the entity tags of cut items are compared as they are: the two worlds share their keys and their clock.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# A UUID; a JWT; a whole quoted string of base64 (hashes, seals, cursors); a page link; the root and the
# signature of a signed note. Hexadecimal is compared as it is: digests of the same bytes are the same.
_TOKENS = re.compile(
    rf"{_UUID}"
    r"|eyJ[\w\-]+\.[\w\-]+\.[\w\-]+"
    rf'|(?<=")(?!r-|[0-9a-f]+"|[A-Za-z]+/{_UUID})[A-Za-z0-9+/_\-]{{22,}}={{0,2}}(?=")'
    r"|(?<=_page=)[\w\-]+"
    r"|(?<=\\n)[A-Za-z0-9+/]{43}=(?=\\n)"
    r"|(?<= )[A-Za-z0-9+/]{80,}={0,2}(?=\\n)"
)
_OPAQUE_HEADERS = frozenset({"dpop-nonce"})
_DROPPED_HEADERS = frozenset({"date"})
_AROUND = 60


class Answer(NamedTuple):
    """What one world answered to one step."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Comparison:
    """Tells whether two worlds' answers, compared one after the other, could be of one and the same world."""

    def __init__(self, fixed: Iterable[str] = ()) -> None:
        """`fixed` are ids that both worlds know: such a one may stand for itself alone."""
        self._there: dict[str, str] = {name: name for name in fixed}
        self._back: dict[str, str] = dict(self._there)

    def difference(self, one: Answer, other: Answer) -> str | None:
        """The first thing in which two answers differ, or None."""
        if one.status != other.status:
            return f"status {one.status} and {other.status}: {_shown(one.body)} and {_shown(other.body)}"
        return self._in_headers(one, other) or self._in_text(
            "body", one.body.decode("utf-8", "replace"), other.body.decode("utf-8", "replace")
        )

    def _in_headers(self, one: Answer, other: Answer) -> str | None:
        first, second = _kept(one), _kept(other)
        if [name for name, _ in first] != [name for name, _ in second]:
            return f"headers {[name for name, _ in first]} and {[name for name, _ in second]}"
        for (name, value), (_, other_value) in zip(first, second, strict=True):
            found = (
                self._token(name, value, other_value)
                if name in _OPAQUE_HEADERS
                else self._in_text(name, value, other_value)
            )
            if found:
                return found
        return None

    def _in_text(self, where: str, one: str, other: str) -> str | None:
        if len(one) != len(other) or _TOKENS.sub("", one) != _TOKENS.sub("", other):
            return f"{where}: {_first_difference(_without_tokens(one), _without_tokens(other), one, other)}"
        tokens = zip(_TOKENS.findall(one), _TOKENS.findall(other), strict=True)
        return next((found for pair in tokens if (found := self._token(where, *pair))), None)

    def _token(self, where: str, one: str, other: str) -> str | None:
        if len(one) != len(other):
            return f"{where}: a token of {len(one)} and one of {len(other)} characters: {one!r}, {other!r}"
        known, known_back = self._there.setdefault(one, other), self._back.setdefault(other, one)
        if known != other or known_back != one:
            return f"{where}: {one!r} and {other!r}, which stood for {known_back!r} and {known!r} before"
        return None


def _kept(answer: Answer) -> list[tuple[str, str]]:
    return [(name, value) for name, value in answer.headers if name not in _DROPPED_HEADERS]


def _without_tokens(text: str) -> str:
    return _TOKENS.sub(lambda found: "*" * len(found[0]), text)


def _first_difference(one: str, other: str, whole: str, other_whole: str) -> str:
    place = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    start = max(place - _AROUND, 0)
    return (
        f"from character {place} (of {len(one)} and {len(other)}): "
        f"...{whole[start : place + _AROUND]!r} and ...{other_whole[start : place + _AROUND]!r}"
    )


def _shown(body: bytes) -> str:
    return repr(body[:200])
