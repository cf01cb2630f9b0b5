"""A notice: what one person is to be told about a record. It is kept sealed with that record."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from server.audit.entry import Who

NoticeKind = Literal["correction-moved", "item-corrected"]


class NoticedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An item as a notice names it: never more than whoever reads the notice may know."""

    title: str
    dated: str = ""


class Patient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose record it is, as every reader of it is told."""

    patient_id: str
    name: str
    nhs_number: str | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One notice. `to` is None for the record's owner.

    `seen` is the item as they saw it and `corrected` what it became, where they may know. `told_at` is when
    they fetched it, `read_at` when they said that they had read it. `is_removal` when the item was taken out.
    """

    notice_id: UUID
    kind: NoticeKind
    created_at: datetime
    sentence: str
    correction_id: UUID
    to: Who | None = None
    patient: Patient | None = None
    source: str = ""
    seen: NoticedItem | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    corrected: NoticedItem | None = None
    is_removal: bool = False
    state: str | None = None
    told_at: datetime | None = None
    read_at: datetime | None = None
