"""The View: which items one principal may see of one record (DESIGN wall 3).

A View is immutable and decided from heads alone. Everything a reader gets is chosen from one: there is no
other way to an item's body.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from fhir_profiles.heads import Head
from server.audit.entry import Kind
from server.sharing.authority import Authority

ItemName = tuple[str, str]
"""(resource_type, logical_id)."""


class VisibleItem(NamedTuple):
    """An item inside a View: the head this reader may search by, its version, and the references to cut."""

    head: Head
    version: int
    cut: frozenset[ItemName]

    @property
    def name(self) -> ItemName:
        """(resource_type, logical_id)."""
        return (self.head.resource_type, self.head.logical_id)


class View(msgspec.Struct, frozen=True):
    """What `authority` may see of the record as it stood at `seq`."""

    authority: Authority
    seq: int
    items: Mapping[ItemName, VisibleItem]

    def find(self, resource_type: str, logical_id: str) -> VisibleItem | None:
        """The item, or None when it is hidden or never was: the two cannot be told apart."""
        return self.items.get((resource_type, logical_id))

    def of_type(self, resource_type: str) -> Iterator[VisibleItem]:
        """Every visible item of one type, in no order that tells of the hidden."""
        return (item for name, item in self.items.items() if name[0] == resource_type)


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
