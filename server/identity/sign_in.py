"""GET /oauth/authorize and its way back: from an application, through a provider, to a one-time code.

https://www.rfc-editor.org/rfc/rfc6749#section-4.1 · https://www.rfc-editor.org/rfc/rfc9207
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import msgspec

from server.errors import BadRequest, OAuthError
from server.identity.clients import Client
from server.identity.forms import once_each, required
from server.identity.oidc import RelyingParty, SignInStart, start_sign_in
from server.identity.parts import Parts
from server.identity.principal import Person
from server.identity.provider_claims import SignInRefused
from server.identity.providers import KINDS_OF_CLIENT, Provider
from server.identity.resources import known_record, record_asked_for
from server.identity.sign_in_sessions import CodeFacts, SignedIn, keep_code, new_code, new_session_id
from server.identity.token_endpoint import granted_scope
from server.storage import directory_identity as rows
from server.storage.session import DirectorySession

SIGN_IN_SECONDS_MAX = 900
STATE_CHARACTERS_MAX = 1024
AUTHORIZE_PARAMETERS = (
    "response_type",
    "client_id",
    "redirect_uri",
    "code_challenge",
    "code_challenge_method",
    "state",
    "scope",
    "resource",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "provider",
    "dpop_jkt",
)
CALLBACK_PARAMETERS = ("code", "state", "iss", "error", "error_description", "session_state")

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_PROMPTS = (None, "login", "none", "consent", "select_account")
_SEALED = "sign-in"


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an application asked for, after checking."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    scope: str
    state: str | None = None
    record_id: UUID | None = None
    jkt: str | None = None


class UnderWay(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has left for its provider, and the browser that must bring it back."""

    request: Request
    start: SignInStart
    browser: str


class Redirect(NamedTuple):
    """Where to send the browser, and the secret it must keep until it comes back."""

    url: str
    browser: str | None = None


class SignIn:
    """Signs people in."""

    def __init__(self, parts: Parts, relying_party: RelyingParty, *, is_development: bool) -> None:
        self._parts = parts
        self._relying_party = relying_party
        self._is_development = is_development

    async def authorize(self, pairs: list[tuple[str, str]]) -> Redirect:
        """The next step for the browser. Raises BadRequest while there is no address we could trust.

        Once the client and its address are known, every refusal is a redirect to it.
        """
        query = _query(pairs)
        client = await self._client(query)
        try:
            request = self._read(query, client)
            return await self._begin(query, client, request)
        except OAuthError as refused:
            return self._refusal(query["redirect_uri"], query.get("state"), refused)

    async def callback(self, pairs: list[tuple[str, str]], browser: str | None) -> Redirect:
        """A browser back from its provider. Raises BadRequest when the sign-in is not one under way."""
        query = _query(pairs)
        state = query.get("state", "")
        under_way = await self._parts.storage.register(_take(state))
        if under_way is None or not hmac.compare_digest(under_way.browser.encode(), (browser or "").encode()):
            raise BadRequest("This sign-in is not one that is under way in this browser. Start again.")
        try:
            return await self._finish(under_way.request, under_way.start, query)
        except OAuthError as refused:
            return self._refusal(under_way.request.redirect_uri, under_way.request.state, refused)

    async def _client(self, query: Mapping[str, str]) -> Client:
        client = await self._parts.clients.find(query.get("client_id", ""))
        if client is None or client.kind == "integrator":
            raise BadRequest("This application is not registered here.")
        if query.get("redirect_uri") not in client.redirect_uris:
            raise BadRequest("This address is not one the application registered.")
        return client

    def _read(self, query: Mapping[str, str], client: Client) -> Request:
        if query.get("response_type") != "code":
            raise OAuthError("unsupported_response_type")
        if query.get("code_challenge_method") != "S256":
            raise OAuthError("invalid_request", "Use PKCE with S256.")
        challenge, jkt = required(query, "code_challenge"), query.get("dpop_jkt")
        if _CHALLENGE.fullmatch(challenge) is None or (jkt and _THUMBPRINT.fullmatch(jkt) is None):
            raise OAuthError("invalid_request", "The code_challenge or dpop_jkt is not a SHA-256.")
        if query.get("prompt") not in _PROMPTS:
            raise OAuthError("invalid_request", "This prompt is not one we know.")
        return Request(
            client_id=client.client_id,
            redirect_uri=query["redirect_uri"],
            code_challenge=challenge,
            scope=granted_scope(query.get("scope"), client),
            state=query.get("state"),
            record_id=record_asked_for(self._parts.base_url, query.get("resource")),
            jkt=jkt,
        )

    async def _begin(self, query: Mapping[str, str], client: Client, request: Request) -> Redirect:
        login_hint = query.get("login_hint")
        if login_hint is not None and not self._is_development:
            raise OAuthError("invalid_request", "login_hint is for development.")
        if query.get("prompt") == "none" and login_hint is None:
            raise OAuthError("login_required")
        hinted, _, person = (login_hint or "").partition(":")
        provider = self._provider(client, query.get("provider") if login_hint is None else hinted)
        start = start_sign_in(provider, prompt=query.get("prompt"), max_age=_max_age(query))
        if login_hint is not None:
            return await self._walk(request, start, person)
        browser = secrets.token_urlsafe(32)
        await self._parts.storage.register(_keep(UnderWay(request=request, start=start, browser=browser)))
        return Redirect(self._relying_party.url(start), browser)

    def _provider(self, client: Client, provider_id: str | None) -> Provider:
        kinds = KINDS_OF_CLIENT.get(client.kind, ())
        for provider in self._relying_party.providers.values():
            is_default = provider_id is None and provider.kind == kinds[0]
            if provider.kind in kinds and (is_default or provider.provider_id == provider_id):
                return provider
        raise OAuthError("access_denied", "This person cannot sign in here.")

    async def _walk(self, request: Request, start: SignInStart, person: str) -> Redirect:
        """Development only: goes to the provider in the person's place and answers with the code at once."""
        try:
            location = await self._relying_party.redirect_without_browser(start, person)
        except SignInRefused as refused:
            raise OAuthError("access_denied", str(refused)) from refused
        query = _query(parse_qsl(urlsplit(location).query))
        is_ours = location.partition("?")[0] == self._relying_party.redirect_uri
        if not is_ours or query.get("state") != start.state:
            raise OAuthError("server_error")
        return await self._finish(request, start, query)

    async def _finish(self, request: Request, start: SignInStart, query: Mapping[str, str]) -> Redirect:
        # A provider that says who it is (RFC 9207) must be the one we sent the person to.
        issuer = self._relying_party.providers[start.provider_id].issuer
        if "error" in query or "code" not in query or query.get("iss", issuer) != issuer:
            raise OAuthError("access_denied", "The sign-in was not completed.")
        now = await self._parts.clock.now()
        try:
            identified = await self._relying_party.identify(start, query["code"], now)
        except SignInRefused as refused:
            raise OAuthError("access_denied", str(refused)) from refused
        await self._welcome(identified.person)
        signed_in = _signed_in(request, identified.person, identified.signed_in_at)
        await known_record(self._parts.records, signed_in, request.record_id)
        code = new_code()
        facts = CodeFacts(
            signed_in=signed_in,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            jkt=request.jkt,
        )
        await self._parts.storage.register(keep_code(code, facts))
        return Redirect(self._to_client(request.redirect_uri, request.state, {"code": code}))

    async def _welcome(self, person: Person) -> None:
        await self._parts.people.keep(person)
        if person.kind == "citizen":
            await self._parts.records.open_for(person)

    def _refusal(self, redirect_uri: str, state: str | None, refused: OAuthError) -> Redirect:
        answer = {"error": refused.error}
        if refused.detail:
            answer["error_description"] = refused.detail
        return Redirect(self._to_client(redirect_uri, state, answer))

    def _to_client(self, redirect_uri: str, state: str | None, answer: dict[str, str]) -> str:
        if state is not None:
            answer["state"] = state
        answer["iss"] = self._parts.base_url
        joint = "&" if urlsplit(redirect_uri).query else "?"
        return f"{redirect_uri}{joint}{urlencode(answer)}"


def _query(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    try:
        query = once_each(pairs)
    except OAuthError as refused:
        raise BadRequest(refused.detail) from refused
    if len(query.get("state", "")) > STATE_CHARACTERS_MAX:
        raise BadRequest(f"We take a state of at most {STATE_CHARACTERS_MAX} characters.")
    return query


def _max_age(query: Mapping[str, str]) -> int | None:
    text = query.get("max_age")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise OAuthError("invalid_request", "max_age must be a number of seconds.")
    return int(text)


def _signed_in(request: Request, person: Person, signed_in_at: int) -> SignedIn:
    return SignedIn(
        subject=person.subject,
        kind=person.kind,
        client_id=request.client_id,
        scope=request.scope,
        signed_in_at=signed_in_at,
        session_id=new_session_id(),
        organisation=person.organisation,
        record_id=request.record_id,
    )


def _keep(under_way: UnderWay) -> Callable[[DirectorySession], None]:
    def command(session: DirectorySession) -> None:
        mac = rows.secret_mac(session, _SEALED, under_way.start.state)
        expires_at = session.now + timedelta(seconds=SIGN_IN_SECONDS_MAX)
        rows.put_sign_in(session, mac, session.sealer.seal_struct(_SEALED, mac, 1, under_way), expires_at)

    return command


def _take(state: str) -> Callable[[DirectorySession], UnderWay | None]:
    def command(session: DirectorySession) -> UnderWay | None:
        mac = rows.secret_mac(session, _SEALED, state)
        sealed = rows.take_sign_in(session, mac)
        return session.sealer.open_struct(_SEALED, mac, 1, sealed, UnderWay) if sealed is not None else None

    return command
