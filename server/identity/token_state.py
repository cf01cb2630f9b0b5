"""Whether a token still lives, and ending it: introspection and revocation.

https://www.rfc-editor.org/rfc/rfc7662 · https://www.rfc-editor.org/rfc/rfc7009
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from server.errors import NotSignedIn, OAuthError
from server.identity.access_tokens import AccessClaims
from server.identity.authenticate import RawHeaders, authenticate, is_sign_in_live, verified
from server.identity.client_assertions import asserted_client
from server.identity.forms import required
from server.identity.parts import Parts
from server.identity.sign_in_sessions import family_of
from server.identity.wire import Introspection

INTROSPECT_PATH = "/oauth/introspect"
DEAD: Mapping[str, Any] = {"active": False}

GrantLiveness = Callable[[AccessClaims], Awaitable[bool]]
"""Whether the access grant that a token names still stands at the version it names."""


class TokenState:
    """Answers for tokens already given."""

    def __init__(self, parts: Parts, is_grant_live: GrantLiveness) -> None:
        self._parts = parts
        self._is_grant_live = is_grant_live

    async def introspect(self, form: Mapping[str, str], headers: RawHeaders) -> Mapping[str, Any]:
        """What a living access token says; only `active: false` for anything else. Raises OAuthError.

        A token's holder can read all of this in the token. Introspection adds whether it still lives.
        """
        await self._let_in(form, headers)
        token = required(form, "token")
        now = await self._parts.clock.now()
        try:
            claims = verified(self._parts, token, now)
        except NotSignedIn:
            return DEAD
        if not await is_sign_in_live(self._parts, claims):
            return DEAD
        if claims.grant is not None and not await self._is_grant_live(claims):
            return DEAD
        return msgspec.to_builtins(_told(claims))

    async def revoke(self, form: Mapping[str, str]) -> None:
        """Ends the sign-in that a token came from. Says nothing of tokens that are unknown or another's."""
        token = required(form, "token")
        client_id = form.get("client_id")
        if "client_assertion" in form:
            client_id = (await asserted_client(self._parts, form, await self._parts.clock.now())).client_id
        elif client_id is None or await self._parts.clients.find(client_id) is None:
            raise OAuthError("invalid_client")
        session_id = await self._session_of(token, client_id)
        if session_id is not None:
            await self._parts.end_session(session_id)

    async def _session_of(self, token: str, client_id: str | None) -> UUID | None:
        found = await self._parts.storage.look_up(family_of(token))
        if found is not None:
            session_id, facts = found
            return session_id if facts.signed_in.client_id == client_id else None
        try:
            claims = verified(self._parts, token, await self._parts.clock.now())
        except NotSignedIn:
            return None
        # NOTE An access grant's token ends with its grant; revoking it does not end the reader's sign-in.
        is_theirs = claims.client_id == client_id and claims.grant is None
        return UUID(claims.sid) if is_theirs and claims.sid else None

    async def _let_in(self, form: Mapping[str, str], headers: RawHeaders) -> None:
        """Introspection is for registered clients and for people with a token of their own."""
        if "client_assertion" in form:
            await asserted_client(self._parts, form, await self._parts.clock.now())
            return
        try:
            await authenticate(self._parts, "POST", INTROSPECT_PATH, headers)
        except NotSignedIn as refused:
            raise OAuthError("invalid_client", "Sign in or send a client assertion.") from refused


def _told(claims: AccessClaims) -> Introspection:
    return Introspection(
        active=True,
        iss=claims.iss,
        aud=claims.aud,
        sub=claims.sub,
        client_id=claims.client_id,
        iat=claims.iat,
        exp=claims.exp,
        jti=claims.jti,
        scope=claims.scope,
        token_type="DPoP",  # noqa: S106 - RFC 9449's word.
        cnf={"jkt": claims.cnf.jkt},
        patient=claims.patient,
        record=claims.record,
        grant=claims.grant,
        grant_version=claims.grant_version,
        purpose=claims.purpose,
    )
