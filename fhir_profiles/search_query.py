"""Reads the parameters of a search into what is to be matched, and refuses what we do not offer.

https://hl7.org/fhir/R4/search.html; offered: DESIGN section 4.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from fhir_profiles.catalogue import CATALOGUE, SearchParam, TypeEntry
from fhir_profiles.date_ranges import Range, range_around, range_of
from fhir_profiles.issues import Issue
from fhir_profiles.schema import known_types, type_spec

CRITERIA_MAX = 10
INCLUDES_MAX = 10
SORT_KEYS_MAX = 3
COUNT_MAX = 200
JSON_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "application/fhir json"})

Summary = Literal["true", "text", "data", "false"]
CriterionKind = Literal["token", "date", "reference", "string", "id", "last-updated"]


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter; an item answers it when any of its alternatives holds.

    `missing` is set by `:missing`, and then nothing else counts. Tokens: whole `system|code` values, codes of
    any system, systems with any code. Dates: (prefix, range). References: `Type/id` values, ids of any type.
    """

    name: str
    kind: CriterionKind
    is_negated: bool = False
    missing: bool | None = None
    values: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    dates: tuple[tuple[str, Range], ...] = ()
    ids: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    is_substring: bool = False


class SortKey(msgspec.Struct, frozen=True):
    name: str
    is_descending: bool


class Include(msgspec.Struct, frozen=True):
    """Items to add: those a match names by this reference parameter, of one type or (None) of any."""

    param: str
    target: str | None


class SearchQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A search on one resource type. `pairs` are the parameters as sent, for the `self` link and the log."""

    resource_type: str
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int | None = None
    includes: tuple[Include, ...] = ()
    elements: tuple[str, ...] = ()
    summary: Summary = "false"
    pairs: tuple[tuple[str, str], ...] = ()


class SearchRefused(Exception):
    """This search has a parameter or a value that is not offered; `issue` names it."""

    def __init__(self, issue: Issue) -> None:
        self.issue = issue
        super().__init__(issue.detail)


_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(.*)\Z", re.DOTALL)
_REFERENCE = re.compile(
    r"(?:(?P<type>[A-Z][A-Za-z]+)/)?(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]+)?\Z"
)
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+\Z")


def parse_query(resource_type: str, pairs: Sequence[tuple[str, str]], base_url: str = "") -> SearchQuery:
    """The search these decoded query parameters ask for.

    `base_url` is our own FHIR address: references written with it are relative ones. Raises SearchRefused.
    """
    entry = CATALOGUE[resource_type]
    reader = _Reader(entry, base_url)
    for name, value in pairs:
        reader.read(name, value)
    return SearchQuery(
        resource_type=resource_type,
        criteria=tuple(reader.criteria),
        sort=reader.sort,
        count=reader.count,
        includes=tuple(reader.includes),
        elements=reader.elements,
        summary=reader.summary,
        pairs=tuple(pairs),
    )


def fold(text: str) -> str:
    """Text for comparing: without case, accents and doubled blanks."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(each for each in plain if not unicodedata.combining(each)).split())


class _Reader:
    """Gathers one query. Result parameters may be given once, search parameters up to ten times in all."""

    def __init__(self, entry: TypeEntry, base_url: str) -> None:
        self.criteria: list[Criterion] = []
        self.includes: list[Include] = []
        self.sort: tuple[SortKey, ...] = ()
        self.count: int | None = None
        self.elements: tuple[str, ...] = ()
        self.summary: Summary = "false"
        self._entry = entry
        self._base = base_url.rstrip("/") + "/"
        self._seen: set[str] = set()
        self._results: dict[str, Callable[[str], None]] = {
            "_sort": self._read_sort,
            "_count": self._read_count,
            "_elements": self._read_elements,
            "_summary": self._read_summary,
            "_format": self._read_format,
        }

    def read(self, name: str, value: str) -> None:
        if not _alternatives(value):
            raise _refused("value", "empty-value", name, "has no value")
        if name == "_include":
            self._read_include(value)
        elif name in self._results:
            if name in self._seen:
                raise _refused("value", "repeated-parameter", name, "is given twice")
            self._seen.add(name)
            self._results[name](value)
        else:
            self._read_criterion(name, value)

    def _read_criterion(self, full_name: str, value: str) -> None:
        if len(self.criteria) >= CRITERIA_MAX:
            raise _refused(
                "too-costly", "too-many-parameters", full_name, f"is one more than the {CRITERIA_MAX} allowed"
            )
        name, colon, modifier = full_name.partition(":")
        if name == "_id" and not colon:
            self.criteria.append(Criterion(name=name, kind="id", ids=frozenset(_alternatives(value))))
        elif name == "_lastUpdated" and not colon:
            self.criteria.append(_date_criterion(name, "last-updated", value))
        elif param := self._entry.search.get(name):
            self.criteria.append(self._typed(name, param, modifier if colon else None, value))
        else:
            raise _refused("not-supported", "unknown-parameter", full_name, "is not offered here")

    def _typed(self, name: str, param: SearchParam, modifier: str | None, value: str) -> Criterion:
        if modifier is not None and modifier not in _modifiers(param):
            raise _refused(
                "not-supported",
                "unknown-modifier",
                f"{name}:{modifier}",
                "has a modifier that is not offered",
            )
        if modifier == "missing":
            if value not in {"true", "false"}:
                raise _refused("value", "missing-modifier", name, "takes true or false with :missing")
            return Criterion(name=name, kind=param.kind, missing=value == "true")
        if param.kind == "token":
            return _token_criterion(name, value, is_negated=modifier == "not")
        if param.kind == "date":
            return _date_criterion(name, "date", value)
        if param.kind == "reference":
            return self._reference_criterion(name, param, modifier or "", value)
        texts = tuple(folded for each in _alternatives(value) if (folded := fold(unescape(each))))
        return Criterion(name=name, kind="string", texts=texts, is_substring=modifier == "contains")

    def _reference_criterion(self, name: str, param: SearchParam, only_type: str, value: str) -> Criterion:
        values: set[str] = set()
        ids: set[str] = set()
        # A bare id can mean only one type when the parameter has one target.
        sole_type = only_type or (next(iter(param.targets)) if len(param.targets) == 1 else "")
        for each in _alternatives(value):
            literal = unescape(each).removeprefix(self._base)
            found = _REFERENCE.match(literal)
            resource_type = (found["type"] or sole_type) if found else ""
            if found and (not found["type"] or found["type"] in known_types()):
                values.add(f"{resource_type}/{found['id']}") if resource_type else ids.add(found["id"])
            elif _ABSOLUTE.match(literal):
                values.add(literal.partition("/_history/")[0])
            else:
                raise _refused("value", "reference-value", name, "needs Type/id, an id or a URL")
        return Criterion(name=name, kind="reference", values=frozenset(values), ids=frozenset(ids))

    def _read_include(self, value: str) -> None:
        if len(self.includes) >= INCLUDES_MAX:
            raise _refused(
                "too-costly", "too-many-parameters", "_include", f"is given more than {INCLUDES_MAX} times"
            )
        source, _, rest = value.partition(":")
        name, colon, target = rest.partition(":")
        param = self._entry.search.get(name)
        if source != self._entry.name or param is None or param.kind != "reference":
            raise _refused(
                "not-supported", "include-value", "_include", f"needs {self._entry.name}:parameter"
            )
        if colon and (target not in known_types() or (param.targets and target not in param.targets)):
            raise _refused("value", "include-value", "_include", "names a type this parameter cannot have")
        self.includes.append(Include(name, target if colon else None))

    def _read_sort(self, value: str) -> None:
        keys = [SortKey(each.removeprefix("-"), each.startswith("-")) for each in value.split(",")]
        names = sort_names(self._entry)
        if any(key.name not in names for key in keys) or len(keys) > SORT_KEYS_MAX:
            raise _refused(
                "not-supported", "sort-value", "_sort", f"takes up to {SORT_KEYS_MAX} of {', '.join(names)}"
            )
        self.sort = tuple(keys)

    def _read_count(self, value: str) -> None:
        if not (value.isascii() and value.isdigit() and len(value) <= 4 and 1 <= int(value) <= COUNT_MAX):
            raise _refused("value", "count-value", "_count", f"must be 1 to {COUNT_MAX}")
        self.count = int(value)

    def _read_elements(self, value: str) -> None:
        spec = type_spec(self._entry.name)
        assert spec is not None
        names = tuple(value.split(","))
        if any(name not in spec.fields for name in names):
            raise _refused(
                "value", "elements-value", "_elements", f"names something a {spec.name} does not have"
            )
        self.elements = names

    def _read_summary(self, value: str) -> None:
        if value not in {"true", "text", "data", "false"}:
            raise _refused("not-supported", "summary-value", "_summary", "takes true, text, data or false")
        self.summary = msgspec.convert(value, Summary)

    def _read_format(self, value: str) -> None:
        if value not in JSON_FORMATS:
            raise _refused("not-supported", "format-value", "_format", "takes json or application/fhir+json")


def sort_names(entry: TypeEntry) -> tuple[str, ...]:
    """What a search on this type can be sorted by."""
    dates = sorted(name for name, param in entry.search.items() if param.kind == "date")
    return (*dates, "_lastUpdated", "_id")


def _modifiers(param: SearchParam) -> frozenset[str]:
    """What may follow the colon of a parameter's name; for a reference also the type it names."""
    own = {"token": {"not"}, "string": {"contains"}, "date": set[str](), "reference": known_types()}[
        param.kind
    ]
    return frozenset({"missing", *own})


def unescape(value: str) -> str:
    """A value without the backslashes that kept its commas, bars and dollars apart."""
    return re.sub(r"\\(.)", r"\1", value)


def _alternatives(value: str) -> list[str]:
    """The parts between commas that no backslash escapes; empty parts are dropped."""
    return [each for each in re.findall(r"(?:[^,\\]|\\.)+", value) if each]


def _token_criterion(name: str, value: str, *, is_negated: bool) -> Criterion:
    whole: set[str] = set()
    codes: set[str] = set()
    systems: set[str] = set()
    for each in _alternatives(value):
        parts = [unescape(part) for part in re.split(r"(?<!\\)\|", each)]
        if len(parts) > 2 or not any(parts):
            raise _refused("value", "token-value", name, "needs a code, system|code, |code or system|")
        if len(parts) == 1:
            codes.add(parts[0])
        elif parts[1]:
            whole.add(f"{parts[0]}|{parts[1]}")
        else:
            systems.add(parts[0])
    return Criterion(
        name=name,
        kind="token",
        is_negated=is_negated,
        values=frozenset(whole),
        codes=frozenset(codes),
        systems=frozenset(systems),
    )


def _date_criterion(name: str, kind: Literal["date", "last-updated"], value: str) -> Criterion:
    dates: list[tuple[str, Range]] = []
    for each in _alternatives(value):
        found = _PREFIXED.match(each)
        prefix, text = (found[1] or "eq", found[2]) if found else ("eq", each)
        # A plus sign that was not percent-encoded arrives as a blank.
        bounds = (range_around if prefix == "ap" else range_of)(text.replace(" ", "+"))
        if bounds is None:
            raise _refused("value", "date-value", name, "needs a date such as ge2026-01-31")
        dates.append((prefix, bounds))
    return Criterion(name=name, kind=kind, dates=tuple(dates))


def _refused(code: str, rule: str, name: str, what: str) -> SearchRefused:
    shown = "".join(each for each in name[:60] if each.isprintable())
    return SearchRefused(Issue(code=code, rule=rule, detail=f"The parameter {shown} {what}."))
