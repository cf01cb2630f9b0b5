"""Grants as the wire shows them to their owner. Pure."""

import msgspec

from server.http.times import to_wire
from server.sharing import codes, offers
from server.sharing.grant import Grant, Redeemer, Redemption
from server.sharing.offers import Offer
from server.sharing.sentences import citizen_sentence, recipient_sentence, slots_of
from server.sharing.service import GrantNow
from server.sharing.wire import (
    GrantView,
    OfferedGrant,
    OfferView,
    PendingView,
    RedeemerView,
    slice_view,
    to_of,
)


def offered_view(grant: Grant, offer: Offer | None, base_url: str) -> OfferedGrant:
    """A new grant with its codes, which are shown this once; without them when they were shown before."""
    slots = slots_of(grant, grant.state)
    return OfferedGrant(
        grant_id=str(grant.grant_id),
        version=grant.version,
        state=grant.state,
        sentence=citizen_sentence(slots),
        recipient_sentence=recipient_sentence(slots),
        offer=msgspec.UNSET if offer is None else _offer_view(grant, offer, base_url),
    )


def _offer_view(grant: Grant, offer: Offer, base_url: str) -> OfferView:
    link = offers.link_of(base_url, offer)
    return OfferView(
        code=codes.written(offer.typed),
        spoken=codes.spoken(offer.typed),
        link=link,
        qr_svg=offers.qr_svg(link),
        expires_in=int((grant.use_by - grant.created_at).total_seconds()),
    )


def grant_view(now: GrantNow) -> GrantView:
    """A grant for its owner."""
    grant, state = now.grant, now.state
    return GrantView(
        grant_id=str(grant.grant_id),
        version=grant.version,
        state=state,
        to=to_of(grant),
        slice=slice_view(grant.slice),
        purpose=grant.purpose,
        seconds=grant.seconds,
        created_at=to_wire(grant.created_at),
        sentence=citizen_sentence(slots_of(grant, state)),
        items_seen=now.seen.items_seen,
        redeemed_at=to_wire(grant.redeemed_at) if grant.redeemed_at else None,
        ends_at=to_wire(grant.ends_at) if grant.ends_at else None,
        ended_at=to_wire(grant.ended_at) if grant.ended_at else None,
        redeemer=_redeemer_view(grant.redeemer) if grant.redeemer and state != "pending" else None,
        pending=_pending_view(now.waiting) if now.waiting else None,
        reason=grant.reason,
        last_read_at=to_wire(now.seen.last_read_at) if now.seen.last_read_at else None,
    )


def _redeemer_view(redeemer: Redeemer) -> RedeemerView:
    return RedeemerView(
        name=redeemer.name,
        role=redeemer.role,
        organisation=redeemer.organisation_name or redeemer.organisation,
        assurance=redeemer.assurance,
    )


def _pending_view(waiting: Redemption) -> PendingView:
    who = waiting.redeemer
    return PendingView(
        redemption=str(waiting.redemption_id),
        name=who.name,
        role=who.role,
        organisation=who.organisation_name or who.organisation,
        match=waiting.match,
    )
