"""An independent comparer: is what is served what was sent?

Uses the standard library alone, and nothing of the code under test. Every code, text, date, status and digit
of each number must be there, at its place, and nothing else. What intake is meant to change is left out:
ids, `meta.versionId`, `meta.lastUpdated`, and where references lead, which are compared by what they mean.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

OURS = frozenset({"/id", "/meta/versionId", "/meta/lastUpdated"})


class Digits(str):
    """A number as it was written."""

    __slots__ = ()


def opened(raw: bytes) -> Any:
    """The JSON with every number as its digits."""
    return json.loads(raw, parse_float=Digits, parse_int=Digits)


class References:
    """What references of one sender must become, and what those have become that nobody foretold.

    `foretold` maps what a reference says in the extract to what it must say now. Any other one may become
    anything of its type, but always the same.
    """

    def __init__(self, foretold: Mapping[str, str]) -> None:
        self._foretold = dict(foretold)

    def expected(self, sent: str, served: str | None) -> str:
        """What the reference must say now; `served` is what it says."""
        if sent in self._foretold or served is None:
            return self._foretold.get(sent, sent)
        same_type = served.split("/", 1)[0] == re.split(r"[/?]", sent, maxsplit=1)[0]
        return self._foretold.setdefault(sent, served) if same_type or sent.startswith("urn:") else sent


def differences(sent: Any, served: Any, references: References | None = None) -> list[str]:
    """What differs between a resource as sent and as served, one line each; empty when nothing does."""
    found = dict(leaves(served))
    expected = {
        path: _reference(text, found.get(path), references) if path.endswith("/reference") else text
        for path, text in leaves(sent)
    }
    lost = [f"lost {path}: {text}" for path, text in expected.items() if found.get(path) != text]
    added = [f"added {path}: {text}" for path, text in found.items() if expected.get(path) != text]
    return sorted(lost + added)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every value that holds no others, with its JSON pointer and its kind."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield from leaves(child, f"{path}/{name}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from leaves(child, f"{path}/{index}")
    elif path not in OURS and not path.endswith("/text/div"):
        kind = "number" if isinstance(value, Digits) else type(value).__name__
        yield path, f"{kind} {value}"


def numbers(value: Any) -> Counter[str]:
    """How often each number stands in a resource, digit for digit."""
    return Counter(text.removeprefix("number ") for _, text in leaves(value) if text.startswith("number "))


def _reference(sent: str, served: str | None, references: References | None) -> str:
    if references is None:
        return sent
    return "str " + references.expected(sent.removeprefix("str "), served and served.removeprefix("str "))
