"""An independent comparer: is what is served what was sent?

Uses the standard library alone, and nothing of the code under test. Every code, text, date, status and digit of
every number must be there, at its place, and nothing else. What intake is meant to change is left out: ids,
`meta.versionId`, `meta.lastUpdated`, and where references lead, which are compared by what they mean.
"""

import json
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


def differences(sent: Any, served: Any, names: Mapping[str, str] | None = None) -> list[str]:
    """What differs between a resource as sent and as served, one line each; empty when nothing does.

    `names` maps what references say in the extract (`urn:uuid:...`, `Type/id`) to what they must say now.
    """
    expected = Counter(leaves(_with_references(sent, names or {})))
    found = Counter(leaves(served))
    lost = [f"lost {path}: {value!r}" for path, value in (expected - found).elements()]
    extra = [f"added {path}: {value!r}" for path, value in (found - expected).elements()]
    return sorted(lost + extra)


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


def _with_references(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            name: names.get(child, child)
            if name == "reference" and isinstance(child, str)
            else _with_references(child, names)
            for name, child in value.items()
        }
    if isinstance(value, list):
        return [_with_references(child, names) for child in value]
    return value
