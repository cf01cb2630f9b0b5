"""The View: which items one principal may see of one record (DESIGN wall 3).

A View is immutable and decided from heads alone. Everything a reader gets is chosen from one: there is no
other way to an item's body.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from fhir_profiles.heads import Head
from server.audit.entry import Kind
from server.sharing.authority import Authority

ItemName = tuple[str, str]
"""(resource_type, logical_id)."""


class VisibleItem(NamedTuple):
    """An item inside a View: its key, the head to search by, its version, and the references to cut.

    `is_questioned` means that the person says it is wrong and nobody has settled it yet.
    """

    key: bytes
    head: Head
    version: int
    cut: frozenset[ItemName]
    is_questioned: bool = False

    @property
    def name(self) -> ItemName:
        """(resource_type, logical_id)."""
        return (self.head.resource_type, self.head.logical_id)


class VisibleItems(dict[ItemName, VisibleItem]):
    """The items of a View by name; once made they do not change, so that each type is put in order once."""

    def __init__(self, items: Iterable[VisibleItem]) -> None:
        super().__init__((item.name, item) for item in items)
        self._of_type: dict[str, tuple[VisibleItem, ...]] = {}

    def of_type(self, resource_type: str) -> Sequence[VisibleItem]:
        """The items of one type by clinical date, newest first and undated last, then by id."""
        ordered = self._of_type.get(resource_type)
        if ordered is None:
            found = [item for item in self.values() if item.head.resource_type == resource_type]
            found.sort(key=lambda item: item.head.logical_id)
            found.sort(key=lambda item: item.head.dated, reverse=True)
            ordered = self._of_type[resource_type] = tuple(found)
        return ordered


class View(msgspec.Struct, frozen=True):
    """What `authority` may see of the record as it stood at `seq`."""

    authority: Authority
    seq: int
    items: VisibleItems

    def find(self, resource_type: str, logical_id: str) -> VisibleItem | None:
        """The item, or None when it is hidden or never was: the two cannot be told apart."""
        return self.items.get((resource_type, logical_id))

    def of_type(self, resource_type: str) -> Sequence[VisibleItem]:
        """Every visible item of one type, newest first."""
        return self.items.of_type(resource_type)


class Older(msgspec.Struct, frozen=True):
    """Earlier versions of one item: all of them, or the one numbered `version_id`."""

    name: ItemName
    version_id: int | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What an interaction picked out of a View to be disclosed.

    `included` are disclosed alike, beside the items. `older` picks earlier versions too; only a View of the
    whole record has any. `more` says that further items matched beyond this page.
    """

    kind: Kind
    items: tuple[VisibleItem, ...]
    included: tuple[VisibleItem, ...] = ()
    older: Older | None = None
    more: bool = False
    query: str | None = None


class Rendered(msgspec.Struct, frozen=True):
    """One item as this reader gets it.

    `last_updated` (FHIR instant) is None where it could tell of something hidden.
    """

    name: ItemName
    version: int
    body: bytes
    etag: str
    last_updated: str | None
