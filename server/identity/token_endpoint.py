"""POST /oauth/token: one function for each grant type. Every token it gives is bound to the sender's key.

https://www.rfc-editor.org/rfc/rfc6749#section-3.2 · https://www.rfc-editor.org/rfc/rfc9449#section-5
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from server.errors import DeviceEnded, NotSignedIn, OAuthError
from server.identity.access_tokens import Access
from server.identity.authenticate import is_sign_in_live, principal_of, verified
from server.identity.client_assertions import asserted_client
from server.identity.clients import Client
from server.identity.devices import require_live_key
from server.identity.forms import required
from server.identity.parts import Parts
from server.identity.principal import Principal
from server.identity.resources import known_record, record_asked_for
from server.identity.sign_in_sessions import (
    CodeFacts,
    RefreshFacts,
    SignedIn,
    new_refresh_token,
    redeem_code,
    rotate,
)
from server.identity.wire import TokenAnswer
from server.storage.directory_devices import device_of_key

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path.
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a name.
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name.
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class Sender(NamedTuple):
    """The key a form was sent with, and when."""

    jkt: str
    now: datetime


class ExchangeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A token exchange whose sender is already known: `actor` holds the key `jkt` and signed in.

    `issue` signs an access token; put `jkt` and `session_id` in it, so that it dies with the actor's sign-in.
    """

    form: Mapping[str, str]
    actor: Principal
    jkt: str
    session_id: str | None
    now: datetime
    issue: Callable[[Access], str]


GrantHandler = Callable[[ExchangeRequest], Awaitable[Mapping[str, Any]]]
"""Answers the members of the token answer, or raises OAuthError."""


class TokenEndpoint:
    """Gives tokens. `grant_handlers` answers the grant types that other features own."""

    def __init__(self, parts: Parts, grant_handlers: Mapping[str, GrantHandler]) -> None:
        self._parts = parts
        self._grant_handlers = grant_handlers

    @property
    def grant_types(self) -> list[str]:
        return [*GRANT_TYPES, *self._grant_handlers]

    async def answer(self, form: Mapping[str, str], proof: str | None) -> TokenAnswer | Mapping[str, Any]:
        """The token answer to a form. Raises OAuthError."""
        grant_type = required(form, "grant_type")
        if grant_type not in self.grant_types:
            raise OAuthError("unsupported_grant_type")
        now = await self._parts.clock.now()
        sender = Sender(await self._parts.sender(proof, TOKEN_PATH, form.get("client_id"), now), now)
        await self._require_live_key(sender)
        match grant_type:
            case "authorization_code":
                return await self._authorization_code(form, sender)
            case "refresh_token":
                return await self._refresh_token(form, sender)
            case "client_credentials":
                return await self._client_credentials(form, sender)
            case _:
                return await self._exchange(grant_type, form, sender)

    async def _require_live_key(self, sender: Sender) -> None:
        device = await self._parts.storage.look_up(lambda session: device_of_key(session, sender.jkt))
        try:
            if device is not None:
                require_live_key(device)
        except DeviceEnded as ended:
            raise OAuthError("invalid_grant", ended.detail, code=ended.code) from ended
        except NotSignedIn as wiped:
            raise OAuthError("invalid_grant") from wiped

    async def _authorization_code(self, form: Mapping[str, str], sender: Sender) -> TokenAnswer:
        client = await self._public_client(required(form, "client_id"))
        asked = record_asked_for(self._parts.base_url, form.get("resource"))
        bringer = _Bringer(client.client_id, form.get("redirect_uri"), form.get("code_verifier"), sender.jkt)
        refresh_token = new_refresh_token()
        command = redeem_code(
            required(form, "code"), bringer.fits, jkt=sender.jkt, refresh_token=refresh_token
        )
        signed_in = await self._parts.storage.register(command)
        if signed_in is None:
            raise OAuthError("invalid_grant")
        if asked is not None and signed_in.record_id not in (None, asked):
            raise OAuthError("invalid_target")
        answer = await self._for_person(signed_in, asked, sender)
        return msgspec.structs.replace(answer, refresh_token=refresh_token)

    async def _refresh_token(self, form: Mapping[str, str], sender: Sender) -> TokenAnswer:
        client_id = form.get("client_id")
        asked = record_asked_for(self._parts.base_url, form.get("resource"))

        def fits(facts: RefreshFacts) -> bool:
            is_client = client_id in (None, facts.signed_in.client_id)
            return is_client and hmac.compare_digest(facts.jkt, sender.jkt)

        refreshed = await self._parts.storage.register(rotate(required(form, "refresh_token"), fits))
        if refreshed is None:
            raise OAuthError("invalid_grant")
        answer = await self._for_person(refreshed.signed_in, asked, sender)
        return msgspec.structs.replace(answer, refresh_token=refreshed.refresh_token)

    async def _client_credentials(self, form: Mapping[str, str], sender: Sender) -> TokenAnswer:
        client = await asserted_client(self._parts, form, sender.now)
        if client.kind != "integrator":
            raise OAuthError("unauthorized_client")
        access = Access(
            subject=client.client_id,
            client_id=client.client_id,
            kind="integrator",
            jkt=sender.jkt,
            scope=granted_scope(form.get("scope"), client),
            organisation=client.organisation,
        )
        return self._answer(access, sender.now)

    async def _exchange(self, grant_type: str, form: Mapping[str, str], sender: Sender) -> Mapping[str, Any]:
        actor, session_id = await self._actor(form, sender)
        request = ExchangeRequest(
            form=form,
            actor=actor,
            jkt=sender.jkt,
            session_id=session_id,
            now=sender.now,
            issue=lambda access: self._parts.access_tokens.issue(access, sender.now),
        )
        return await self._grant_handlers[grant_type](request)

    async def _actor(self, form: Mapping[str, str], sender: Sender) -> tuple[Principal, str | None]:
        """Who exchanges: their own living access token, bound to the key that sent the form."""
        token = required(form, "actor_token")
        if required(form, "actor_token_type") != ACCESS_TOKEN_TYPE:
            raise OAuthError("invalid_request", "The actor_token must be an access token.")
        try:
            claims = verified(self._parts, token, sender.now)
        except NotSignedIn as refused:
            raise OAuthError("invalid_grant") from refused
        is_own = claims.cnf.jkt == sender.jkt and claims.grant is None and claims.record is None
        is_named = form.get("client_id", claims.client_id) == claims.client_id
        if not is_own or not is_named or not await is_sign_in_live(self._parts, claims):
            raise OAuthError("invalid_grant")
        return principal_of(claims), claims.sid

    async def _for_person(self, signed_in: SignedIn, asked: UUID | None, sender: Sender) -> TokenAnswer:
        record_id = asked or signed_in.record_id
        record = await known_record(self._parts.records, signed_in, record_id)
        access = Access(
            subject=signed_in.subject,
            client_id=signed_in.client_id,
            kind=signed_in.kind,
            jkt=sender.jkt,
            scope=signed_in.scope,
            session_id=str(signed_in.session_id),
            signed_in_at=signed_in.signed_in_at,
            patient_id=record.patient_id if record else None,
            record_id=str(record.record_id) if record else None,
            organisation=signed_in.organisation,
        )
        return self._answer(access, sender.now)

    def _answer(self, access: Access, now: datetime) -> TokenAnswer:
        return TokenAnswer(
            access_token=self._parts.access_tokens.issue(access, now),
            token_type="DPoP",  # noqa: S106 - RFC 9449's word.
            expires_in=access.seconds,
            scope=access.scope,
            patient=access.patient_id,
            record=access.record_id,
        )

    async def _public_client(self, client_id: str) -> Client:
        client = await self._parts.clients.find(client_id)
        if client is None:
            raise OAuthError("invalid_client")
        if client.kind == "integrator":
            raise OAuthError("unauthorized_client")
        return client


class _Bringer:
    """Whoever brings a code, as the form and the proof describe them."""

    def __init__(self, client_id: str, redirect_uri: str | None, verifier: str | None, jkt: str) -> None:
        self._client_id = client_id
        self._redirect_uri = redirect_uri
        self._verifier = verifier or ""
        self._jkt = jkt

    def fits(self, facts: CodeFacts) -> bool:
        """Whether the code was made for this client, address, verifier and key."""
        is_client = facts.signed_in.client_id == self._client_id and facts.redirect_uri == self._redirect_uri
        is_key = facts.jkt is None or facts.jkt == self._jkt
        return is_client and is_key and is_verifier_of(self._verifier, facts.code_challenge)


def is_verifier_of(verifier: str, challenge: str) -> bool:
    """PKCE with S256 (RFC 7636 section 4.6)."""
    if _VERIFIER.fullmatch(verifier) is None:
        return False
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    made = base64.urlsafe_b64encode(digest).rstrip(b"=")
    return hmac.compare_digest(made, challenge.encode())


def granted_scope(asked: str | None, client: Client) -> str:
    """The asked scopes that this client may have; all of them when it asked for none. Raises OAuthError."""
    if asked is None:
        return " ".join(client.scopes)
    wanted = asked.split(" ")
    granted = [scope for scope in client.scopes if scope in wanted]
    if not granted:
        raise OAuthError("invalid_scope", "None of these scopes can be given to this client.")
    return " ".join(granted)
