"""Held as a relying party: sends a person to a provider and checks what comes back.

https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from server.identity.client_assertions import ASSERTION_TYPE
from server.identity.outgoing import Outgoing, OutgoingFailed
from server.identity.principal import Person
from server.identity.provider_claims import SignInRefused, person_from
from server.identity.providers import NHS_LOGIN_TRUST, Provider
from server.identity.tokens import Jwk, TokenRefused, VerifyingKey, open_signed, verifying_key

CLOCK_LEEWAY_SECONDS = 60
ASSERTION_SECONDS = 120
KEYS_KEPT_SECONDS = 3600
KEYS_FETCHED_AGAIN_AFTER_SECONDS = 30


class SignInStart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must be remembered while someone is away at a provider."""

    provider_id: str
    state: str
    nonce: str
    code_verifier: str
    prompt: str | None = None
    max_age: int | None = None


class Identified(msgspec.Struct, frozen=True, kw_only=True):
    """Who came back, and when they proved it, in seconds since 1970."""

    person: Person
    signed_in_at: int


class IdTokenClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of an ID token that are judged before anything it says of a person."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str
    azp: str | None = None
    auth_time: float | None = None


class _Tokens(msgspec.Struct, frozen=True):
    access_token: str
    id_token: str


class _Keys(msgspec.Struct, frozen=True):
    keys: list[Jwk]


_ID_TOKEN = msgspec.json.Decoder(IdTokenClaims)


def start_sign_in(provider: Provider, *, prompt: str | None, max_age: int | None) -> SignInStart:
    """A new sign-in at a provider, with its own state, nonce and verifier."""
    return SignInStart(
        provider_id=provider.provider_id,
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        code_verifier=secrets.token_urlsafe(48),
        prompt="login" if prompt == "login" or max_age is not None else None,
        max_age=max_age,
    )


class RelyingParty:
    """Speaks to the configured providers."""

    def __init__(self, providers: Sequence[Provider], outgoing: Outgoing, redirect_uri: str) -> None:
        self.providers = {provider.provider_id: provider for provider in providers}
        self.redirect_uri = redirect_uri
        self._outgoing = outgoing
        self._keys: dict[str, tuple[float, Mapping[str, VerifyingKey]]] = {}

    def query(self, start: SignInStart) -> dict[str, str]:
        """The parameters of the authorization request."""
        provider = self.providers[start.provider_id]
        query = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": provider.scope,
            "state": start.state,
            "nonce": start.nonce,
            "code_challenge": challenge_of(start.code_verifier),
            "code_challenge_method": "S256",
        }
        if provider.kind == "nhs-login":
            query["vtr"] = NHS_LOGIN_TRUST
        if start.prompt is not None:
            query["prompt"] = start.prompt
        if start.max_age is not None:
            query["max_age"] = str(start.max_age)
        return query

    def url(self, start: SignInStart) -> str:
        """Where to send the person's browser."""
        return f"{self.providers[start.provider_id].authorization_endpoint}?{urlencode(self.query(start))}"

    async def redirect_without_browser(self, start: SignInStart, login_hint: str) -> str:
        """Development only: asks the provider on the person's behalf. Raises SignInRefused."""
        provider = self.providers[start.provider_id]
        query = self.query(start) | {"login_hint": login_hint}
        try:
            return await self._outgoing.redirect_of(provider.authorization_endpoint, query)
        except OutgoingFailed as failed:
            raise SignInRefused("The sign-in provider does not know this person.") from failed

    async def identify(self, start: SignInStart, code: str, now: datetime) -> Identified:
        """Who the provider's code stands for. Raises SignInRefused."""
        provider = self.providers[start.provider_id]
        try:
            tokens = await self._redeem(provider, start, code, now)
            claims, said = await self._verify(provider, tokens.id_token, now)
            _judge(claims, provider, start, now)
            userinfo = await self._userinfo(provider, tokens.access_token)
        except (OutgoingFailed, TokenRefused, msgspec.DecodeError) as error:
            raise SignInRefused("The sign-in provider's answer could not be trusted.") from error
        signed_in_at = int(claims.auth_time if claims.auth_time is not None else claims.iat)
        return Identified(person=person_from(provider, said, userinfo), signed_in_at=signed_in_at)

    async def _redeem(self, provider: Provider, start: SignInStart, code: str, now: datetime) -> _Tokens:
        issued_at = int(now.timestamp())
        assertion = provider.key.sign(
            {
                "iss": provider.client_id,
                "sub": provider.client_id,
                "aud": provider.token_endpoint,
                "iat": issued_at,
                "exp": issued_at + ASSERTION_SECONDS,
                "jti": secrets.token_urlsafe(16),
            },
            typ="JWT",
        )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": start.code_verifier,
            "client_id": provider.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        answer = await self._outgoing.post_form(provider.token_endpoint, form)
        return msgspec.json.decode(answer, type=_Tokens)

    async def _verify(
        self, provider: Provider, id_token: str, now: datetime
    ) -> tuple[IdTokenClaims, dict[str, Any]]:
        keys = await self._provider_keys(provider, now.timestamp())
        try:
            claims = open_signed(id_token, keys, _ID_TOKEN, typ=None)
        except TokenRefused:
            keys = await self._provider_keys(provider, now.timestamp(), are_doubted=True)
            claims = open_signed(id_token, keys, _ID_TOKEN, typ=None)
        return claims, open_signed(id_token, keys, msgspec.json.Decoder(dict[str, Any]), typ=None)

    async def _provider_keys(
        self, provider: Provider, now: float, *, are_doubted: bool = False
    ) -> Mapping[str, VerifyingKey]:
        """The provider's keys. Doubted ones are fetched again, though not more often than twice a minute."""
        fetched_at, keys = self._keys.get(provider.provider_id, (0.0, {}))
        keep_seconds = KEYS_FETCHED_AGAIN_AFTER_SECONDS if are_doubted else KEYS_KEPT_SECONDS
        if keys and now - fetched_at < keep_seconds:
            return keys
        document = msgspec.json.decode(await self._outgoing.get(provider.jwks_uri), type=_Keys)
        keys = _usable(document.keys, provider.id_token_algorithm)
        self._keys[provider.provider_id] = (now, keys)
        return keys

    async def _userinfo(self, provider: Provider, access_token: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {access_token}"}
        answer = await self._outgoing.get(provider.userinfo_endpoint, headers=headers)
        return msgspec.json.decode(answer, type=dict[str, Any])


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a PKCE verifier."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _usable(jwks: Sequence[Jwk], algorithm: str) -> dict[str, VerifyingKey]:
    """The keys that could have signed an ID token. A provider may show others beside them."""
    usable: dict[str, VerifyingKey] = {}
    for jwk in jwks:
        if jwk.kid is not None and jwk.use in (None, "sig"):
            with suppress(TokenRefused):
                usable[jwk.kid] = verifying_key(jwk, algorithm)
    return usable


def _judge(claims: IdTokenClaims, provider: Provider, start: SignInStart, now: datetime) -> None:
    moment = now.timestamp()
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if claims.iss != provider.issuer or provider.client_id not in audiences:
        raise TokenRefused("The ID token is not the provider's, or not for us.")
    if len(audiences) > 1 and claims.azp != provider.client_id:
        raise TokenRefused("The ID token was made for another party.")
    if not claims.iat - CLOCK_LEEWAY_SECONDS <= moment < claims.exp + CLOCK_LEEWAY_SECONDS:
        raise TokenRefused("The ID token is not of this time.")
    if not hmac.compare_digest(claims.nonce.encode(), start.nonce.encode()):
        raise TokenRefused("The ID token belongs to another sign-in.")
    proved_at = claims.auth_time if claims.auth_time is not None else claims.iat
    if start.max_age is not None and moment - proved_at > start.max_age + CLOCK_LEEWAY_SECONDS:
        raise TokenRefused("The person was not asked to sign in again.")
