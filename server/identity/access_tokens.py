"""Held's own access tokens: five minutes, one audience, bound to one key.

https://www.rfc-editor.org/rfc/rfc9068 (JWT profile for access tokens)
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from server.identity.bounded_cache import BoundedCache
from server.identity.signing_keys import SigningKey
from server.identity.tokens import TokenRefused, open_signed

ACCESS_SECONDS_MAX = 300
CACHED_TOKENS_MAX = 50_000
TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, not a secret.
CLOCK_LEEWAY_SECONDS = 5

Kind = Literal["citizen", "professional", "integrator"]


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """The key that the holder of a token must show (RFC 7800)."""

    jkt: str


class AccessClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an access token says. `sid` is the sign-in it came from: when that is ended the token is dead."""

    iss: str
    aud: str
    sub: str
    client_id: str
    iat: int
    exp: int
    jti: str
    kind: Kind
    cnf: Confirmation
    scope: str = ""
    sid: str | None = None
    auth_time: int | None = None
    patient: str | None = None
    record: str | None = None
    grant: str | None = None
    grant_version: int | None = None
    purpose: str | None = None
    organisation: str | None = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What a new access token is to say, but for the parts that are always the same."""

    subject: str
    client_id: str
    kind: Kind
    jkt: str
    scope: str = ""
    session_id: str | None = None
    signed_in_at: int | None = None
    patient_id: str | None = None
    record_id: str | None = None
    grant_id: str | None = None
    grant_version: int | None = None
    purpose: str | None = None
    organisation: str | None = None
    seconds: int = ACCESS_SECONDS_MAX


_CLAIMS = msgspec.json.Decoder(AccessClaims)


class AccessTokens:
    """Issues access tokens and verifies them. The first of `keys` signs; all of them verify."""

    def __init__(self, issuer: str, keys: Sequence[SigningKey]) -> None:
        self.issuer = issuer
        self.keys = tuple(keys)
        self._verifying = {key.kid: key.verifying() for key in keys}
        self._verified: BoundedCache[bytes, AccessClaims] = BoundedCache(CACHED_TOKENS_MAX)

    def issue(self, access: Access, now: datetime) -> str:
        """A signed token that lives `access.seconds`, five minutes at most."""
        assert 0 < access.seconds <= ACCESS_SECONDS_MAX
        issued_at = int(now.timestamp())
        claims = AccessClaims(
            iss=self.issuer,
            aud=self.issuer,
            sub=access.subject,
            client_id=access.client_id,
            iat=issued_at,
            exp=issued_at + access.seconds,
            jti=secrets.token_urlsafe(16),
            kind=access.kind,
            cnf=Confirmation(jkt=access.jkt),
            scope=access.scope,
            sid=access.session_id,
            auth_time=access.signed_in_at,
            patient=access.patient_id,
            record=access.record_id,
            grant=access.grant_id,
            grant_version=access.grant_version,
            purpose=access.purpose,
            organisation=access.organisation,
        )
        members: dict[str, Any] = msgspec.to_builtins(claims)
        return self.keys[0].sign(members, typ=TOKEN_TYPE)

    def verify(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token that is ours and alive at `now`. Raises TokenRefused."""
        name = hashlib.sha256(token.encode()).digest()
        claims = self._verified.get(name)
        if claims is None:
            claims = self._verify_afresh(token)
            self._verified.put(name, claims)
        try:
            _judge_times(claims, now.timestamp())
        except TokenRefused:
            self._verified.forget(name)
            raise
        return claims

    def _verify_afresh(self, token: str) -> AccessClaims:
        claims = open_signed(token, self._verifying, _CLAIMS, typ=TOKEN_TYPE)
        if claims.iss != self.issuer or claims.aud != self.issuer:
            raise TokenRefused("The token is for somewhere else.")
        if not 0 < claims.exp - claims.iat <= ACCESS_SECONDS_MAX:
            raise TokenRefused("The token lives too long.")
        return claims


def _judge_times(claims: AccessClaims, now: float) -> None:
    if now >= claims.exp:
        raise TokenRefused("The token has expired.")
    if claims.iat > now + CLOCK_LEEWAY_SECONDS:
        raise TokenRefused("The token is from the future.")
