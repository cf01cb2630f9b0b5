"""A phone of the record's owner: what it said of itself, and whether it may still come."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from server.audit.entry import Who

DEVICES_MAX = 10
NAME_CHARACTERS_MAX = 100
WORD_CHARACTERS_MAX = 60
NAMELESS = "phone"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, sealed, of one phone. `jkt` is its key's thumbprint (RFC 7638).

    `seen_at` moves once a day; `logged_at` is when the log last had a line of it.
    """

    device_id: UUID
    owner: Who
    jkt: str
    name: str
    platform: str = ""
    app_version: str = ""
    schema_version: int = 1
    added_at: datetime
    seen_at: datetime
    logged_at: datetime | None = None
    state: Literal["live", "ended", "wiped"] = "live"
    ended_at: datetime | None = None
