"""Signed receipts for ending: what took effect when, what had been seen, what cannot be undone.

The signature is a JWS that anyone with our published keys can check (https://www.rfc-editor.org/rfc/rfc7515).
"""

from datetime import datetime

import msgspec

from server.audit.service import Seen
from server.http.times import to_wire
from server.identity.signing_keys import SigningKey
from server.sharing.grant import Grant
from server.sharing.sentences import cannot_undo, receipt_sentence, slots_of

RECEIPT_TYPE = "held-receipt+jwt"


class SeenVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one item whose content had left the server."""

    type: str
    id: str
    version: str
    first_at: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What the citizen is given when access ends. `jws` signs everything else in it."""

    grant_id: str
    effective_at: str
    seen: tuple[SeenVersion, ...]
    exports: tuple[str, ...]
    cannot_undo: str
    sentence: str
    jws: str = ""


class ReceiptSigner:
    """Signs receipts in the installation's name."""

    def __init__(self, issuer: str, key: SigningKey) -> None:
        self._issuer = issuer
        self._key = key

    def receipt(self, grant: Grant, seen: Seen, effective_at: datetime) -> Receipt:
        """The signed receipt of a grant that is over. Recipients cannot export, so `exports` is empty."""
        slots = slots_of(grant, "ended")
        unsigned = Receipt(
            grant_id=str(grant.grant_id),
            effective_at=to_wire(effective_at),
            seen=tuple(
                SeenVersion(type=item.type, id=item.id, version=item.version, first_at=to_wire(item.first_at))
                for item in seen.items
            ),
            exports=(),
            cannot_undo=cannot_undo(slots, seen.items_seen),
            sentence=receipt_sentence(slots, effective_at),
        )
        said = msgspec.to_builtins(unsigned)
        said.pop("jws")
        claims = {"iss": self._issuer, "iat": int(effective_at.timestamp()), "receipt": said}
        return msgspec.structs.replace(unsigned, jws=self._key.sign(claims, typ=RECEIPT_TYPE))
