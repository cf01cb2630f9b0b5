"""Page links: sealed with the record's key and bound to who got them: to anyone else they are worth nothing.

THREATS rule 10. What a link says is judged again in full on each use.
"""

import base64
import binascii

import msgspec

from server.errors import BadRequest
from server.sharing.authority import Authority
from server.storage.sealing import SealBroken, Sealer

PURPOSE = "page-link"
LINK_CHARACTERS_MAX = 8_192


class PageLink(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins: the query as first asked, and the last item of the page before."""

    path: str
    pairs: tuple[tuple[str, str], ...]
    after: tuple[str, ...]


def seal_page_link(sealer: Sealer, authority: Authority, link: PageLink) -> str:
    """The link's text; it opens for the same person, client and version of the same grant only."""
    sealed = sealer.seal_struct(PURPOSE, _bound_to(authority), authority.grant_version or 0, link)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def open_page_link(sealer: Sealer, authority: Authority, text: str, path: str) -> PageLink:
    """The link again. BadRequest, with one face, for anything that was not made for this reader and path."""
    refused = BadRequest("This page link cannot be used. Search again.")
    if len(text) > LINK_CHARACTERS_MAX or not text.isascii():
        raise refused
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        link = sealer.open_struct(
            PURPOSE, _bound_to(authority), authority.grant_version or 0, sealed, PageLink
        )
    except (SealBroken, binascii.Error, ValueError, msgspec.DecodeError):
        raise refused from None
    if link.path != path:
        raise refused
    return link


def _bound_to(authority: Authority) -> bytes:
    principal = authority.principal
    grant = authority.grant_id.hex if authority.grant_id else "owner"
    return "\0".join((principal.subject, principal.client_id, grant)).encode()
