"""What integrators and citizens send to the intake calls and get back (API.md: Integrators, Links)."""

from typing import Any, Literal

import msgspec

State = Literal["receiving", "checking", "held", "publishing", "done"]
Verdict = Literal["new", "changed", "unchanged", "quarantined", "not-supported"]


class Counts(msgspec.Struct, kw_only=True):
    """How many of the extract's resources came to each end; `received` is all of them."""

    received: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    ended_at_source: int = 0
    not_supported: int = 0
    quarantined: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How many resources were received and how many have their verdict."""

    seen: int
    done: int


class ItemVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one resource of the extract."""

    pointer: str
    type: str
    verdict: Verdict
    source_id: str | None = None
    id: str | None = None
    version: int | None = None
    rule: str | None = None
    outcome: dict[str, Any] | None = None


class ExtractReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report on one extract, for its sender."""

    extract_id: str
    state: State
    extent: str
    received_at: str
    progress: Progress
    counts: Counts
    items: list[ItemVerdict]
    detail: str | msgspec.UnsetType = msgspec.UNSET
    dry_run: bool | msgspec.UnsetType = msgspec.UNSET


class LinkedPerson(msgspec.Struct, frozen=True):
    """A person who accepted, or ended, the asking organisation's link."""

    nhs_number: str | None
    state: str
    at: str


class LinkedPeople(msgspec.Struct, frozen=True):
    """Changes of an organisation's links since a cursor."""

    links: list[LinkedPerson]
    cursor: str


class LinkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The organisation a citizen wants to link, by its ODS code."""

    organisation: str


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One organisation a citizen let push, now or once."""

    organisation: str
    name: str
    state: Literal["accepted", "ended"]
    connected: bool
    last_extract_at: str | None = None


class AvailableOrganisation(msgspec.Struct, frozen=True):
    """An organisation the operator registered."""

    organisation: str
    name: str


class LinkList(msgspec.Struct, frozen=True):
    """The citizen's links, and what else they could link."""

    links: list[Link]
    available: list[AvailableOrganisation]
