"""The bodies of the grant calls, as the API page writes them."""

import msgspec

from fhir_profiles.slices import Slice
from server.sharing.grant import Grant, State
from server.sharing.receipts import Receipt
from server.sharing.rules import ACCESS_SECONDS_DEFAULT, OPEN_OFFER_SECONDS_MAX


class NamedProfessional(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One professional, by the subject their sign-in gives."""

    subject: str


class NamedGuest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Someone without a sign-in whom the citizen has checked in person."""

    name: str
    organisation: str | None = None


class To(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom a grant is for, in one of four forms."""

    open: bool | None = None
    professional: NamedProfessional | None = None
    role_code: str | None = None
    organisation: str | None = None
    guest: NamedGuest | None = None


class NewGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/grants`."""

    to: To
    slice: Slice = Slice()
    purpose: str = "TREAT"
    seconds: int = ACCESS_SECONDS_DEFAULT
    offer_seconds: int = OPEN_OFFER_SECONDS_MAX
    unattended: bool = False
    reason: str | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/grants/{gid}/confirm`."""

    redemption: str
    match: str
    allow: bool


class NarrowGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/grants/{gid}/narrow`: less, or for less long, or both."""

    base_version: int
    slice: Slice | None = None
    ends_at: str | None = None


class ExtendGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/grants/{gid}/extend`."""

    base_version: int
    ends_at: str


class EndGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/grants/{gid}/end`."""

    reason: str | None = None


class EndAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /records/{rid}/end-all`."""


class OfferView(msgspec.Struct, frozen=True, kw_only=True):
    """A new offer. The code is shown this once and kept nowhere."""

    code: str
    spoken: str
    link: str
    qr_svg: str
    expires_in: int


class OfferedGrant(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a new grant; without its offer when the codes were shown before."""

    grant_id: str
    version: int
    state: State
    sentence: str
    recipient_sentence: str
    offer: OfferView | msgspec.UnsetType = msgspec.UNSET


class RedeemerView(msgspec.Struct, frozen=True, kw_only=True):
    """Who used the offer."""

    name: str
    role: str
    organisation: str
    assurance: str


class PendingView(msgspec.Struct, frozen=True, kw_only=True):
    """Who is waiting for the citizen's yes."""

    redemption: str
    name: str
    role: str
    organisation: str
    match: str


class SliceView(msgspec.Struct, frozen=True, kw_only=True):
    """A slice written out whole, its defaults too."""

    current: bool
    categories: tuple[str, ...]
    conditions: tuple[str, ...]
    add: tuple[str, ...]
    hide: tuple[str, ...]
    sensitive: tuple[str, ...]
    from_: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="from")
    to: str | msgspec.UnsetType = msgspec.UNSET


class GrantView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One grant as its owner sees it."""

    grant_id: str
    version: int
    state: State
    to: To
    slice: SliceView
    purpose: str
    seconds: int
    created_at: str
    sentence: str
    items_seen: int
    redeemed_at: str | None = None
    ends_at: str | None = None
    ended_at: str | None = None
    redeemer: RedeemerView | None = None
    pending: PendingView | None = None
    reason: str | None = None
    last_read_at: str | None = None


class GrantList(msgspec.Struct, frozen=True):
    """`GET /records/{rid}/grants`."""

    grants: list[GrantView]


class Ended(msgspec.Struct, frozen=True):
    """The answer to ending one grant."""

    receipt: Receipt


class EndedAll(msgspec.Struct, frozen=True):
    """The answer to ending everything."""

    receipts: list[Receipt]
    devices_ended: int


def slice_view(shared: Slice) -> SliceView:
    """The slice for its owner."""
    return SliceView(
        current=shared.current,
        categories=shared.categories,
        conditions=shared.conditions,
        add=shared.add,
        hide=shared.hide,
        sensitive=shared.sensitive,
        from_=shared.from_ or msgspec.UNSET,
        to=shared.to or msgspec.UNSET,
    )


def to_of(grant: Grant) -> To:
    """Whom the grant is for, in the form it was asked for."""
    to = grant.to
    match to.kind:
        case "open":
            return To(open=True)
        case "professional":
            return To(professional=NamedProfessional(to.subject or ""))
        case "role":
            return To(role_code=to.role_code, organisation=to.organisation)
        case "guest":
            return To(guest=NamedGuest(to.name or "", to.organisation))
