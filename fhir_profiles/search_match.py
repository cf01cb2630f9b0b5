"""Whether a head answers a query, and in which order answers stand (https://hl7.org/fhir/R4/search.html)."""

from collections.abc import Callable, Container, Iterable
from operator import itemgetter

from fhir_profiles.date_ranges import HIGHEST, LOWEST, Range, range_of
from fhir_profiles.heads import Head
from fhir_profiles.search_query import Criterion, SearchQuery, SortKey


def matches(head: Head, query: SearchQuery, cut: Container[str] = ()) -> bool:
    """Whether this item is an answer.

    `cut` holds the `Type/id` references the asker does not see in this item: a search must not find by them.
    """
    if head.resource_type != query.resource_type:
        return False
    for criterion in query.criteria:  # noqa: SIM110 - all() over a generator takes twice the time
        if not _holds(criterion, head, cut):
            return False
    return True


def sorted_heads(heads: Iterable[Head], query: SearchQuery) -> list[Head]:
    """The heads in the order asked for, else by clinical date, newest first; those without the value last."""
    keys = query.sort or (SortKey("", is_descending=True),)
    ordered = sorted(heads, key=lambda head: (head.resource_type, head.logical_id))
    for key in reversed(keys):
        value_of = _sort_value(key)
        valued = [(value_of(head), head) for head in ordered]
        with_value = sorted(
            (pair for pair in valued if pair[0]), key=itemgetter(0), reverse=key.is_descending
        )
        ordered = [head for _, head in with_value] + [head for value, head in valued if not value]
    return ordered


def _holds(criterion: Criterion, head: Head, cut: Container[str]) -> bool:
    kind = criterion.kind
    if kind == "id":
        return head.logical_id in criterion.ids
    if kind == "last-updated":
        changed = range_of(head.last_updated)
        return changed is not None and _any_date(criterion, ("/".join(changed),))
    values = head.search.get(criterion.name, ())
    if kind == "reference":
        values = tuple(value for value in values if value not in cut)
    if criterion.missing is not None:
        return criterion.missing is not bool(values)
    return _HOLDS[kind](criterion, values) is not criterion.is_negated


def _any_token(criterion: Criterion, values: tuple[str, ...]) -> bool:
    for value in values:
        if value in criterion.values:
            return True
        if criterion.codes or criterion.systems:
            system, _, code = value.partition("|")
            if code in criterion.codes or system in criterion.systems:
                return True
    return False


def _any_reference(criterion: Criterion, values: tuple[str, ...]) -> bool:
    for value in values:
        if value in criterion.values or (criterion.ids and value.rpartition("/")[2] in criterion.ids):
            return True
    return False


def _any_string(criterion: Criterion, values: tuple[str, ...]) -> bool:
    if criterion.is_substring:
        return any(text in value for value in values for text in criterion.texts)
    return any(value.startswith(criterion.texts) for value in values)


def _any_date(criterion: Criterion, values: tuple[str, ...]) -> bool:
    for value in values:
        lower, _, upper = value.partition("/")
        for prefix, asked in criterion.dates:
            if _DATE_HOLDS[prefix]((lower, upper), asked):
                return True
    return False


def _within(held: Range, asked: Range) -> bool:
    return asked[0] <= held[0] and held[1] <= asked[1]


_DATE_HOLDS: dict[str, Callable[[Range, Range], bool]] = {
    "eq": _within,
    "ne": lambda held, asked: not _within(held, asked),
    "gt": lambda held, asked: held[1] > asked[1],
    "lt": lambda held, asked: held[0] < asked[0],
    "ge": lambda held, asked: held[1] > asked[1] or _within(held, asked),
    "le": lambda held, asked: held[0] < asked[0] or _within(held, asked),
    "sa": lambda held, asked: held[0] >= asked[1],
    "eb": lambda held, asked: held[1] <= asked[0],
    "ap": lambda held, asked: held[0] < asked[1] and held[1] > asked[0],
}
_HOLDS: dict[str, Callable[[Criterion, tuple[str, ...]], bool]] = {
    "token": _any_token,
    "date": _any_date,
    "reference": _any_reference,
    "string": _any_string,
}


def _sort_value(key: SortKey) -> Callable[[Head], str]:
    if not key.name:
        return lambda head: head.dated
    if key.name == "_lastUpdated":
        return lambda head: head.last_updated
    if key.name == "_id":
        return lambda head: head.logical_id
    return lambda head: _sort_date(head.search.get(key.name, ()), is_descending=key.is_descending)


def _sort_date(values: tuple[str, ...], *, is_descending: bool) -> str:
    """The earliest start for rising order, the latest end for falling; for an open bound, the other one."""
    if not values:
        return ""
    if not is_descending:
        lower, _, upper = min(values).partition("/")
        return upper if lower == LOWEST else lower
    bounds = [value.split("/") for value in values]
    return max(lower if upper == HIGHEST else upper for lower, upper in bounds)
