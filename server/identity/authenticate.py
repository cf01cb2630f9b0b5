"""Tells who sent a request: an access token of ours, and proof of the key it is bound to.

https://www.rfc-editor.org/rfc/rfc9449#section-7
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from uuid import UUID

from server.errors import NotSignedIn, StepUpNeeded
from server.identity.access_tokens import AccessClaims
from server.identity.dpop import Expected, ProofRefused
from server.identity.parts import Parts
from server.identity.principal import Principal
from server.identity.tokens import TokenRefused

STEP_UP_SECONDS = 300
PRINCIPALS_KEPT_MAX = 1_000

RawHeaders = Iterable[tuple[bytes, bytes]]


async def authenticate(parts: Parts, method: str, url: str, headers: RawHeaders) -> Principal:
    """Who sent this request. `url` may be whole or a path. Raises NotSignedIn."""
    token, proof = _credentials(headers)
    now = await parts.clock.now()
    claims = verified(parts, token, now)
    expected = Expected(
        method=method,
        url=parts.base_url + (urlsplit(url).path or "/"),
        now=now,
        access_token=token,
        is_nonce_required=claims.client_id in parts.nonce_clients,
    )
    try:
        checked = parts.proofs.check(proof, expected)
        if checked.jkt != claims.cnf.jkt:
            raise NotSignedIn("This token is bound to another key.")
        await parts.spend_proof(checked)
    except ProofRefused as refused:
        raise NotSignedIn(str(refused), error=refused.error) from refused
    if not await is_sign_in_live(parts, claims):
        raise NotSignedIn("This sign-in has ended.")
    return principal_of(claims)


async def prove_key(parts: Parts, method: str, url: str, headers: RawHeaders) -> str:
    """The thumbprint of the key a request was sent with. Raises NotSignedIn without a good proof of it.

    For what a phone may say that can have no token any more.
    """
    proof = only_header(headers, b"dpop")
    if proof is None:
        raise NotSignedIn("Send a DPoP proof.", error="invalid_dpop_proof")
    expected = Expected(
        method=method, url=parts.base_url + (urlsplit(url).path or "/"), now=await parts.clock.now()
    )
    try:
        checked = parts.proofs.check(proof, expected)
        await parts.spend_proof(checked)
    except ProofRefused as refused:
        raise NotSignedIn(str(refused), error=refused.error) from refused
    return checked.jkt


def verified(parts: Parts, token: str, now: datetime) -> AccessClaims:
    """The claims of a living token of ours. Raises NotSignedIn."""
    try:
        return parts.access_tokens.verify(token, now)
    except TokenRefused as refused:
        raise NotSignedIn(str(refused)) from refused


async def is_sign_in_live(parts: Parts, claims: AccessClaims) -> bool:
    """Whether the sign-in a token came from still stands. An integrator's token has none."""
    return claims.sid is None or await parts.is_session_live(UUID(claims.sid))


# A token is sent many times, and its claims were judged before this.
@lru_cache(PRINCIPALS_KEPT_MAX)
def principal_of(claims: AccessClaims) -> Principal:
    """The principal a verified token names."""
    return Principal(
        kind=claims.kind,
        subject=claims.sub,
        client_id=claims.client_id,
        jkt=claims.cnf.jkt,
        token_id=claims.jti,
        signed_in_at=datetime.fromtimestamp(claims.auth_time, UTC) if claims.auth_time is not None else None,
        record_id=UUID(claims.record) if claims.record else None,
        grant_id=UUID(claims.grant) if claims.grant else None,
        grant_version=claims.grant_version,
        organisation=claims.organisation,
        purpose=claims.purpose,
        scope=claims.scope,
    )


def require_recent_sign_in(principal: Principal, now: datetime, *, seconds: int = STEP_UP_SECONDS) -> None:
    """Raises StepUpNeeded unless the person proved who they are within the last `seconds` (RFC 9470)."""
    signed_in_at = principal.signed_in_at
    if signed_in_at is None or (now - signed_in_at).total_seconds() > seconds:
        raise StepUpNeeded


def only_header(headers: RawHeaders, name: bytes) -> str | None:
    """The value of a header sent at most once. Raises NotSignedIn when it was sent twice or is not ASCII."""
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1 or not all(value.isascii() for value in values):
        raise NotSignedIn("Send each of the Authorization and DPoP headers once.")
    return values[0].decode("ascii") if values else None


def _credentials(headers: RawHeaders) -> tuple[str, str]:
    pairs = tuple(headers)
    authorization = only_header(pairs, b"authorization")
    proof = only_header(pairs, b"dpop")
    if authorization is None:
        raise NotSignedIn
    scheme, _, token = authorization.partition(" ")
    # NOTE Every token of ours is bound to a key, so a Bearer token is a stolen or mislaid one.
    if scheme.lower() != "dpop":
        raise NotSignedIn("This token must be sent as `Authorization: DPoP`, with a proof.")
    if proof is None:
        raise NotSignedIn("Send a DPoP proof with the token.", error="invalid_dpop_proof")
    return token.strip(), proof
