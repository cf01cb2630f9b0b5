"""Making the code and link of a new offer. Both secrets are random; only keyed hashes of them are kept."""

import secrets
from uuid import UUID

import msgspec
import segno

from server.sharing import codes
from server.sharing.codes import OfferCode
from server.sharing.grant import Recipient
from server.sharing.rules import job_role
from server.storage.directory_sharing import NewOffer, RecipientParts, add_offer, add_pointer
from server.storage.session import DirectorySession

# With a million names and few open at once, the second try almost always finds a free one.
NAME_TRIES_MAX = 20


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A new offer's two codes, and the key of its row once it is entered."""

    typed: OfferCode
    link: OfferCode
    offer_key: bytes = b""


def new_offer() -> Offer:
    """Two fresh codes under one name."""
    typed = codes.typed_code(secrets.randbits(codes.NAME_BITS), secrets.randbits(codes.SECRET_BITS))
    link = codes.link_code(typed.name, secrets.token_bytes(codes.LINK_SECRET_BYTES))
    return Offer(typed=typed, link=link)


def enter_offer(
    session: DirectorySession, offer: Offer, new_grant: tuple[UUID, UUID], *, to: Recipient, seconds: int
) -> Offer | None:
    """The offer, entered so that its codes lead to (record, grant); None when its name is taken."""
    record_id, grant_id = new_grant
    offer_key = add_offer(
        session,
        NewOffer(
            name=offer.typed.name,
            typed_secret=offer.typed.secret,
            link_secret=offer.link.secret,
            record_id=record_id,
            grant_id=grant_id,
            seconds=seconds,
            recipient=_recipient_parts(to),
        ),
    )
    if offer_key is None:
        return None
    add_pointer(session, grant_id, record_id)
    return msgspec.structs.replace(offer, offer_key=offer_key)


def link_of(base_url: str, offer: Offer) -> str:
    """The address to scan. The code stands after the hash, which browsers send to no server."""
    return f"{base_url}/redeem#{codes.written(offer.link)}"


def qr_svg(link: str) -> str:
    """The link as a picture to scan."""
    return segno.make_qr(link, error="m").svg_inline(scale=4, border=4, light="#fff")


def _recipient_parts(to: Recipient) -> RecipientParts | None:
    match to.kind:
        case "professional":
            return (to.subject or "",)
        case "role":
            return (job_role(to.role_code or ""), to.organisation or "")
        case "open" | "guest":
            return None
