"""Search: which items of a View answer a query, page by page.

https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Sequence
from typing import NamedTuple

from fhir_profiles.search_values import SearchQuery, matches, sorted_heads
from server.records.view import Choice, ItemName, View, VisibleItem

PAGE_ITEMS_DEFAULT = 50


class After(NamedTuple):
    """Where a page ended: the last match, and its place in case that match is gone by then."""

    logical_id: str
    place: int


def search(view: View, query: SearchQuery, after: After | None) -> Choice:
    """The next page of matches, with the items they include."""
    authority = view.authority
    if not authority.reaches(query.resource_type):
        return Choice(kind="search", items=(), query=_logged(query))
    found = _found(view, query)
    start = _place_after(found, after)
    count = query.count or PAGE_ITEMS_DEFAULT
    page = found[start : start + count]
    return Choice(
        kind="search",
        items=tuple(page),
        included=tuple(_included(view, query, page)),
        more=len(found) > start + count,
        query=_logged(query),
    )


def end_of(choice: Choice, after: After | None) -> After:
    """Where a page that was chosen after `after` ends."""
    start = after.place if after else 0
    return After(choice.items[-1].name[1], start + len(choice.items))


def _found(view: View, query: SearchQuery) -> Sequence[VisibleItem]:
    """What answers the query, in its order; a View keeps each type in the order that is nobody's wish."""
    found = view.of_type(query.resource_type)
    if query.criteria:
        found = [item for item in found if matches(item.head, query)]
    if not query.sort:
        return found
    ordered = sorted_heads([item.head for item in found], query)
    return [view.items[(head.resource_type, head.logical_id)] for head in ordered]


def _place_after(found: Sequence[VisibleItem], after: After | None) -> int:
    if after is None:
        return 0
    ended = (place for place, item in enumerate(found, 1) if item.head.logical_id == after.logical_id)
    return next(ended, after.place)


def _included(view: View, query: SearchQuery, page: Sequence[VisibleItem]) -> list[VisibleItem]:
    """What the page's items refer to by the included parameters, as far as the View holds it, each once."""
    matched = {item.name for item in page}
    included: dict[ItemName, VisibleItem] = {}
    for include in query.includes:
        for item in page:
            for reference in item.head.search.get(include.param, ()):
                target = _name_of(reference)
                if target in matched or (include.target is not None and target[0] != include.target):
                    continue
                found = view.items.get(target)
                if found is not None and view.authority.reaches(target[0]):
                    included[target] = found
    return list(included.values())


def _name_of(reference: str) -> ItemName:
    resource_type, _, logical_id = reference.partition("/")
    return (resource_type, logical_id)


def _logged(query: SearchQuery) -> str:
    return query.resource_type + "?" + "&".join(f"{name}={value}" for name, value in query.pairs)
