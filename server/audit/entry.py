"""What one line of the access log says, and how it is sealed (DESIGN wall 4)."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from server.storage.sealing import Sealer

Kind = Literal[
    "read",
    "search",
    "history",
    "sync",
    "export",
    "preview-by-carer",
    "denied",
    "grant",
    "end",
    "redeem",
    "correct",
    "extract",
    "operator",
    "key",
    "epoch",
]

DISCLOSING: frozenset[Kind] = frozenset({"read", "search", "history", "sync", "export", "preview-by-carer"})
"""The kinds whose `items` left the server for somebody."""

LOG_PURPOSE = "log"
QUERY_CHARACTERS_MAX = 500

LoggedItem = tuple[str, str, str]
"""(resource_type, logical_id, version)."""


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """The person or system an entry is about. `organisation` is the name people know it by."""

    subject: str
    name: str
    role: str | None = None
    organisation: str | None = None
    assurance: str = ""


class LogEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. `at` is written by the log itself from the database's clock, whatever the caller says.

    `items` are those whose content left the server; `listed` counts those of which only the existence did.
    """

    kind: Kind
    who: Who
    sentence: str
    at: datetime | None = None
    grant_id: UUID | None = None
    grant_version: int | None = None
    purpose: str | None = None
    reason: str | None = None
    items: tuple[LoggedItem, ...] = ()
    listed: int = 0
    query: str | None = None


def seal_entry(sealer: Sealer, n: int, entry: LogEntry) -> bytes:
    """The entry as it is stored: only the record's key opens it, and only in place `n`."""
    return sealer.seal_struct(LOG_PURPOSE, entry_name(n), 0, entry)


def open_entry(sealer: Sealer, n: int, sealed: bytes) -> LogEntry:
    """The entry again; SealBroken when it was altered or belongs in another place or record."""
    return sealer.open_struct(LOG_PURPOSE, entry_name(n), 0, sealed, LogEntry)


def entry_name(n: int) -> bytes:
    """An entry's place, as it is bound into the seal."""
    return n.to_bytes(8, "big")


def grant_key(sealer: Sealer, grant_id: UUID) -> bytes:
    """Under what an entry is found by its grant."""
    return sealer.mac("log-grant", grant_id.bytes)
