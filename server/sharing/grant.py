"""An access grant: who may see which slice of a record, for what and until when. It is kept sealed."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from fhir_profiles.slices import Slice

State = Literal["draft", "offered", "pending", "active", "ended", "expired", "rejected"]
RecipientKind = Literal["open", "professional", "role", "guest"]


class Recipient(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom a grant is offered to: whoever holds the code, one professional, or a role at an organisation."""

    kind: RecipientKind
    subject: str | None = None
    role_code: str | None = None
    organisation: str | None = None
    name: str | None = None


class Redeemer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The professional who used the offer, as their sign-in provider described them at that moment.

    `jkt` is the thumbprint of the key their tokens are bound to.
    """

    subject: str
    jkt: str
    name: str
    role: str = ""
    role_code: str = ""
    organisation: str = ""
    organisation_name: str = ""
    assurance: str = ""


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One grant as it stands. Every change raises `version`, and tokens name the version they were made for.

    `state` is what was last written; what holds at a given moment also depends on the clock (rules.state_at).
    `use_by` is when the offer, or the wait for the citizen's yes, runs out. `offer_key` finds its row.
    `ends_at` is set when the offer is used, or before that when the citizen chose an end no length may pass.
    """

    grant_id: UUID
    version: int
    state: State
    to: Recipient
    slice: Slice
    purpose: str
    seconds: int
    created_at: datetime
    use_by: datetime
    wording: int
    offer_key: bytes = b""
    reason: str | None = None
    redemption_id: UUID | None = None
    redeemer: Redeemer | None = None
    redeemed_at: datetime | None = None
    ends_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None


class Redemption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One use of an offer, from the first call until the access token was collected.

    `match` is two digits shown to both the citizen and the professional, so that each knows whom they answer.
    """

    redemption_id: UUID
    grant_id: UUID
    redeemer: Redeemer
    match: str
    claimed_at: datetime
    collected_at: datetime | None = None
