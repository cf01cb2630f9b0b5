"""Keeps the phone signed in: its tokens are bound to its key, renewed in time, and asked for anew if need be.

In development the demo's provider signs a person in by name; elsewhere a person has to do it themselves.
RFC 9449 sections 8 and 9.
"""

import time
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from server.commands.held_client import HeldClient, Unexpected
from server.commands.phone_app.device_key import device_key
from server.commands.phone_app.folder import PhoneFacts, PhoneFolder, SignedIn
from sync.messages import Problem
from sync.ports import Answer, NoAnswer, SignInNeeded

FRESH_SECONDS = 240
"""A sign-in younger than this still counts as recent when the call arrives: the server's bound is 300."""
CONFIRM_PATH = "/devices/self/wiped"
_EARLY_SECONDS = 15


class SignedInLine:
    """The phone's calls to its server, signed in (sync/ports.py, Transport)."""

    def __init__(self, http: httpx.AsyncClient, folder: PhoneFolder, facts: PhoneFacts) -> None:
        self._folder = folder
        self._facts = facts
        self._nonce: str | None = None
        self._client = HeldClient(http, facts.base_url, key=device_key(folder))
        self._signed_in = folder.signed_in()

    @property
    def public_key(self) -> dict[str, Any]:
        """The key the tokens are bound to."""
        return self._client.key.jwk

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The answer, whatever its status; asked once more when the nonce or the token had to be renewed."""
        try:
            if path.endswith(CONFIRM_PATH):
                # An ended phone gets no token any more: its key alone says who it is.
                return _answer(await self._send(method, path, headers, body, token=None))
            ended = await self._be_signed_in()
            if ended is None:
                return await self._ask(method, path, headers, body)
        except httpx.TransportError as lost:
            raise NoAnswer from lost
        return ended

    async def be_freshly_signed_in(self) -> None:
        """Signs in again unless that was done in the last minutes."""
        if self._signed_in is not None and time.time() - self._signed_in.signed_in_at < FRESH_SECONDS:
            return
        try:
            await self._sign_in()
        except httpx.TransportError as lost:
            raise NoAnswer from lost

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        response = await self._send(method, path, headers, body, token=self._token)
        if _says(response, "use_dpop_nonce") or _says(response, "invalid_dpop_proof"):
            # Our clock may be off. With the nonce that came with the answer it does not matter.
            response = await self._send(method, path, headers, body, token=self._token)
        elif _says(response, "invalid_token"):
            ended = await self._renew()
            if ended is not None:
                return ended
            response = await self._send(method, path, headers, body, token=self._token)
        return _answer(response)

    @property
    def _token(self) -> str | None:
        return None if self._signed_in is None else self._signed_in.access_token

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, *, token: str | None
    ) -> httpx.Response:
        url = self._facts.base_url + path
        own = {**headers, "DPoP": self._client.key.proof(method, url, token=token, nonce=self._nonce)}
        if token is not None:
            own["Authorization"] = f"DPoP {token}"
        response = await self._client.http.request(method, url, headers=own, content=body)
        self._nonce = response.headers.get("DPoP-Nonce", self._nonce)
        return response

    async def _be_signed_in(self) -> Answer | None:
        """An answer only when the server says that this device was ended."""
        if self._signed_in is None:
            return await self._sign_in()
        if self._signed_in.expires_at - time.time() < _EARLY_SECONDS:
            return await self._renew()
        return None

    async def _renew(self) -> Answer | None:
        """A new token for the old sign-in; a new sign-in when the old one is over."""
        assert self._signed_in is not None
        if not self._signed_in.refresh_token:
            return await self._sign_in()
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._signed_in.refresh_token,
            "client_id": self._facts.client_id,
            "resource": f"{self._facts.base_url}/records/{self._facts.record_id}",
        }
        response = await self._ask_for_token(form)
        if response.status_code == 200:
            self._keep(response.json(), signed_in_at=self._signed_in.signed_in_at)
            return None
        return _ended(response) or await self._sign_in()

    async def _sign_in(self) -> Answer | None:
        """As the demo's person; SignInNeeded where only the person can."""
        client = {"client_id": self._facts.client_id, "redirect_uri": self._facts.redirect_uri}
        began_at = time.time()
        try:
            form = await self._client.sign_in_form(
                client, self._facts.subject, record_id=self._facts.record_id
            )
        except Unexpected as refused:
            raise SignInNeeded from refused
        response = await self._ask_for_token(form)
        if response.status_code == 200:
            self._keep(response.json(), signed_in_at=began_at)
            return None
        ended = _ended(response)
        if ended is None:
            raise SignInNeeded
        return ended

    async def _ask_for_token(self, form: dict[str, str]) -> httpx.Response:
        response = await self._client.token_request(form)
        nonce = response.headers.get("DPoP-Nonce")
        if response.status_code != 400 or nonce is None or "invalid_dpop_proof" not in response.text:
            return response
        url = f"{self._facts.base_url}/oauth/token"
        proof = self._client.key.proof("POST", url, nonce=nonce)
        return await self._client.http.post(url, data=form, headers={"DPoP": proof})

    def _keep(self, answer: dict[str, Any], *, signed_in_at: float) -> None:
        self._signed_in = SignedIn(
            access_token=answer["access_token"],
            expires_at=time.time() + float(answer.get("expires_in", 0)),
            refresh_token=answer.get("refresh_token", ""),
            signed_in_at=signed_in_at,
        )
        self._folder.keep_signed_in(self._signed_in)


def _answer(response: httpx.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=response.content)


def _says(response: httpx.Response, error: str) -> bool:
    return response.status_code == 401 and f'"{error}"' in response.headers.get("WWW-Authenticate", "")


def _ended(response: httpx.Response) -> Answer | None:
    """The refusal of a token request as the sync calls say it, when it says that the device was ended."""
    try:
        refusal = msgspec.json.decode(response.content, type=Problem)
    except msgspec.DecodeError:
        return None
    return Answer(status=403, body=response.content) if refusal.code == "wipe" else None
