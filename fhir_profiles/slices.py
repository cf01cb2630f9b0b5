"""What a citizen chose to share (DESIGN section 5), and whether one item falls under it.

Everything is decided from the item's head, the slice and today's date. What a slice does not permit, nobody
but the owner sees; supporting items (a practitioner, a medication) follow what refers to them (closure.py).
"""

import re
from datetime import date

import msgspec

from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES, Head
from fhir_profiles.labels_by_type import OWNER_ONLY_TYPES, SUPPORTING_TYPES
from fhir_profiles.partial_dates import calendar_problem, first_day, last_day

NAMED_ITEMS_MAX = 2_000
CONDITIONS_MAX = 100

_ITEM = re.compile(r"[A-Z][A-Za-z]{0,63}/[A-Za-z0-9\-.]{1,64}")
_LOGICAL_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# Safety first: these are shown whole or not at all, whatever dates were chosen.
_NEVER_CUT_BY_DATES = frozenset({"allergies", "needs"})
_NEVER_NAMED = OWNER_ONLY_TYPES | SUPPORTING_TYPES | {"Provenance"}


def _yes() -> bool:
    return True


def _none() -> tuple[str, ...]:
    return ()


class Slice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A slice as it travels (API, Grants). `from` and `to` are FHIR dates, both days included.

    NOTE: values made by a factory are always written; only `from` and `to` are left out when there is none.
    """

    current: bool = msgspec.field(default_factory=_yes)
    categories: tuple[str, ...] = msgspec.field(default_factory=_none)
    conditions: tuple[str, ...] = msgspec.field(default_factory=_none)
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    add: tuple[str, ...] = msgspec.field(default_factory=_none)
    hide: tuple[str, ...] = msgspec.field(default_factory=_none)
    sensitive: tuple[str, ...] = msgspec.field(default_factory=_none)


def slice_problem(shared: Slice) -> str | None:
    """What is wrong with a slice, in words for the person who sent it, or None."""
    return (
        _unknown_name(shared.categories, CATEGORIES, "category")
        or _unknown_name(shared.sensitive, SENSITIVE_CLASSES, "sensitive class")
        or _bad_items(shared)
        or _bad_window(shared)
    )


def permits(shared: Slice, head: Head, today: date) -> bool:
    """Whether the slice itself names this item; see SliceTest.names."""
    return SliceTest(shared, today).names(head)


class SliceTest:
    """One slice on one day, made ready to be asked about many items."""

    def __init__(self, shared: Slice, today: date) -> None:
        self.hidden = frozenset(shared.hide)
        self.added = frozenset(shared.add)
        self.shares_contact = "contact" in shared.categories
        self._slice = shared
        self._categories = frozenset(shared.categories)
        self._never_cut = self._categories & _NEVER_CUT_BY_DATES
        self._year_ago = year_before(today)

    def names(self, head: Head) -> bool:
        """Whether the slice names this item. The Patient always belongs; supporting items never do.

        What is hidden stays hidden. What was added one by one is shown even when it is sensitive: the citizen
        chose that very item. Of the rest, an item with a sensitive class that is not ticked is left out.
        """
        if head.resource_type == "Patient":
            return True
        if head.resource_type in _NEVER_NAMED:
            return False
        name = f"{head.resource_type}/{head.logical_id}"
        if name in self.hidden:
            return False
        if name in self.added:
            return True
        if not self.has_every_class_ticked(head):
            return False
        return self._is_current(head) or self._is_in_category(head) or self._is_of_condition(head)

    def has_every_class_ticked(self, head: Head) -> bool:
        """Whether none of the item's sensitive classes has been left out."""
        return all(sensitive_class in self._slice.sensitive for sensitive_class in head.labels.sensitive)

    def withholds_contact(self, head: Head) -> bool:
        """Whether the item carries contact details that are not shared."""
        return "contact" in head.labels.parts and not self.shares_contact

    def _is_current(self, head: Head) -> bool:
        if not self._slice.current:
            return False
        if head.is_current or "needs" in head.labels.categories:
            return True
        if "results" not in head.labels.categories:
            return False
        first = first_day(head.dated)
        return first is not None and first >= self._year_ago

    def _is_in_category(self, head: Head) -> bool:
        if self._categories.isdisjoint(head.labels.categories):
            return False
        if not self._never_cut.isdisjoint(head.labels.categories):
            return True
        return is_inside_window(self._slice, head.dated)

    def _is_of_condition(self, head: Head) -> bool:
        """The condition itself, at any date, and what says that it belongs to it, within the dates."""
        conditions = self._slice.conditions
        if not conditions:
            return False
        if head.resource_type == "Condition" and head.logical_id in conditions:
            return True
        is_linked = any(
            reference.resource_type == "Condition" and reference.logical_id in conditions
            for reference in head.references
        )
        return is_linked and bool(head.labels.categories) and is_inside_window(self._slice, head.dated)


def is_inside_window(shared: Slice, dated: str) -> bool:
    """Whether the whole of a (partial) date lies within the slice's dates. What has no date lies outside."""
    if shared.from_ is None and shared.to is None:
        return True
    first, last = first_day(dated), last_day(dated)
    if first is None or last is None:
        return False
    earliest = first_day(shared.from_) if shared.from_ else date.min
    latest = last_day(shared.to) if shared.to else date.max
    return earliest is not None and latest is not None and earliest <= first and last <= latest


def is_within(narrower: Slice, wider: Slice) -> bool:
    """Whether whatever the first slice shows, of any record on any day, the second shows too.

    It is drawn from the two slices alone, so that it stays true when items change. It may say no where a
    given record would let it say yes: an item added one by one is shown even once it is sensitive.
    """
    return (
        set(wider.hide) <= set(narrower.hide)
        and set(narrower.add) <= set(wider.add)
        and set(narrower.sensitive) <= set(wider.sensitive)
        and (_names_every_area(wider) or _areas_are_within(narrower, wider))
    )


def meet(one: Slice, other: Slice) -> Slice:
    """A slice within both. One of the two itself, where it is within the other."""
    if is_within(one, other):
        return one
    if is_within(other, one):
        return other
    return msgspec.structs.replace(
        _meet_of_areas(one, other),
        add=tuple(sorted(set(one.add) & set(other.add))),
        hide=tuple(sorted(set(one.hide) | set(other.hide))),
        sensitive=_in_both(one.sensitive, other.sensitive, SENSITIVE_CLASSES),
    )


def year_before(today: date) -> date:
    """The same day one year earlier; 28 February for 29 February."""
    if (today.month, today.day) == (2, 29):
        return date(today.year - 1, 2, 28)
    return today.replace(year=today.year - 1)


def _names_every_area(shared: Slice) -> bool:
    """Whether nothing but what is hidden or sensitive is left out.

    NOTE: whatever `current` or a condition names has a category: it has one by its type (labels_by_type.py).
    """
    return set(shared.categories) >= set(CATEGORIES) and not _has_window(shared)


def _areas_are_within(narrower: Slice, wider: Slice) -> bool:
    if narrower.current and not wider.current:
        return False
    categories, conditions = set(narrower.categories), set(narrower.conditions)
    if not (categories <= set(wider.categories) and conditions <= set(wider.conditions)):
        return False
    is_cut_by_dates = bool(conditions) or not categories <= _NEVER_CUT_BY_DATES
    return not is_cut_by_dates or _window_is_within(narrower, wider)


def _window_is_within(narrower: Slice, wider: Slice) -> bool:
    if not _has_window(wider):
        return True
    if not _has_window(narrower):
        return False
    inner, outer = _bounds(narrower), _bounds(wider)
    return inner is None or (outer is not None and outer[0] <= inner[0] and inner[1] <= outer[1])


def _meet_of_areas(one: Slice, other: Slice) -> Slice:
    if _names_every_area(one):
        return other
    if _names_every_area(other):
        return one
    starts = [text for text in (one.from_, other.from_) if text is not None]
    ends = [text for text in (one.to, other.to) if text is not None]
    met = Slice(
        current=one.current and other.current,
        categories=_in_both(one.categories, other.categories, CATEGORIES),
        conditions=tuple(sorted(set(one.conditions) & set(other.conditions))),
        from_=max(starts, key=lambda text: (first_day(text) or date.max, text), default=None),
        to=min(ends, key=lambda text: (last_day(text) or date.min, text), default=None),
    )
    if _bounds(met) is not None:
        return met
    # The dates have no day in common, so that only what dates never cut is left.
    uncut = tuple(name for name in met.categories if name in _NEVER_CUT_BY_DATES)
    return Slice(current=met.current, categories=uncut)


def _in_both(one: tuple[str, ...], other: tuple[str, ...], order: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in order if name in one and name in other)


def _has_window(shared: Slice) -> bool:
    return shared.from_ is not None or shared.to is not None


def _bounds(shared: Slice) -> tuple[date, date] | None:
    """The first and the last day of the slice's dates; None when no day lies within them."""
    earliest = first_day(shared.from_) if shared.from_ else date.min
    latest = last_day(shared.to) if shared.to else date.max
    if earliest is None or latest is None or earliest > latest:
        return None
    return earliest, latest


def _unknown_name(names: tuple[str, ...], known: tuple[str, ...], what: str) -> str | None:
    if any(name not in known for name in names):
        return f"A {what} in the slice is not one we know: it must be one of {', '.join(known)}."
    if len(set(names)) < len(names):
        return f"A {what} is named twice in the slice."
    return None


def _bad_items(shared: Slice) -> str | None:
    if any(not _LOGICAL_ID.fullmatch(logical_id) for logical_id in shared.conditions):
        return "A condition in the slice must be the id of a Condition."
    if any(not _ITEM.fullmatch(name) for name in (*shared.add, *shared.hide)):
        return "Items added or hidden must be named by type and id, like Observation/1."
    if any(name.startswith("Patient/") for name in shared.hide):
        return "Name, birth date and NHS number cannot be hidden: the reader must know whose record it is."
    if any(name.partition("/")[0] in OWNER_ONLY_TYPES for name in shared.add):
        return "Grants, corrections and the log cannot be shared."
    if set(shared.add) & set(shared.hide):
        return "An item cannot be both added and hidden."
    if len(shared.add) + len(shared.hide) > NAMED_ITEMS_MAX or len(shared.conditions) > CONDITIONS_MAX:
        return f"At most {NAMED_ITEMS_MAX} items and {CONDITIONS_MAX} conditions can be named."
    return None


def _bad_window(shared: Slice) -> str | None:
    for text in (shared.from_, shared.to):
        if text is not None and calendar_problem(text):
            return "The dates of the slice must be like 2026, 2026-11 or 2026-11-21."
    if shared.from_ and shared.to:
        first, last = first_day(shared.from_), last_day(shared.to)
        if first and last and first > last:
            return "The slice begins after it ends."
    return None
