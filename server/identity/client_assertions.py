"""A client proving who it is with a signed assertion (private_key_jwt).

https://www.rfc-editor.org/rfc/rfc7523#section-3 · https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from server.errors import OAuthError
from server.identity.clients import Client
from server.identity.parts import Parts
from server.identity.tokens import TokenRefused, open_signed, peek

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS_MAX = 300
JTI_CHARACTERS_MAX = 256


class AssertionClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What an assertion says. SMART does not ask for `iat`, so its age is judged by `exp` alone."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    jti: str
    iat: float | None = None
    nbf: float | None = None


_CLAIMS = msgspec.json.Decoder(AssertionClaims)


async def asserted_client(parts: Parts, form: Mapping[str, str], now: datetime) -> Client:
    """The client that signed the form's assertion, which is then spent. Raises OAuthError invalid_client."""
    assertion = form.get("client_assertion")
    if assertion is None or form.get("client_assertion_type") != ASSERTION_TYPE:
        raise OAuthError("invalid_client", "Send a client assertion.")
    try:
        client = await parts.clients.find(peek(assertion, _CLAIMS).iss)
        if client is None:
            raise TokenRefused("This client is not one we know.")
        claims = open_signed(assertion, client.keys_at(now.timestamp()), _CLAIMS, typ=None)
        _judge(claims, client, parts.token_url, now.timestamp())
    except TokenRefused as refused:
        raise OAuthError("invalid_client", "The client assertion was refused.") from refused
    if form.get("client_id", client.client_id) != client.client_id:
        raise OAuthError("invalid_client", "The client assertion was refused.")
    await _spend(parts, claims, now)
    return client


def _judge(claims: AssertionClaims, client: Client, token_url: str, now: float) -> None:
    if claims.iss != client.client_id or claims.sub != client.client_id:
        raise TokenRefused("The assertion is for another client.")
    if claims.aud not in (token_url, [token_url]):
        raise TokenRefused("The assertion is for somewhere else.")
    if not now < claims.exp <= now + ASSERTION_SECONDS_MAX:
        raise TokenRefused("The assertion has expired or lives too long.")
    if claims.nbf is not None and claims.nbf > now:
        raise TokenRefused("The assertion is not yet in force.")
    if not 0 < len(claims.jti) <= JTI_CHARACTERS_MAX:
        raise TokenRefused("The assertion's identifier is missing or too long.")


async def _spend(parts: Parts, claims: AssertionClaims, now: datetime) -> None:
    seconds = int(claims.exp - now.timestamp()) + 1
    if not await parts.spend("client-assertion", claims.iss, claims.jti, seconds=seconds):
        raise OAuthError("invalid_client", "The client assertion was used before.")
