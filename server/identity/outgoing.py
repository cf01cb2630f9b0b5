"""The only way out of the server: to addresses on a list, within time and size (THREATS rule 13, T19)."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import httpx

ANSWER_BYTES_MAX = 64 * 1024
SECONDS_MAX = 5.0


class OutgoingFailed(Exception):
    """The other side could not be reached, or answered with something we do not take."""


class Answer(NamedTuple):
    """What came back, read whole."""

    status: int
    location: str | None
    body: bytes


class Outgoing:
    """Calls addresses that were configured, never one found in content or a token. Follows no redirect."""

    def __init__(self, client: httpx.AsyncClient, allowed: frozenset[str]) -> None:
        self._client = client
        self._allowed = allowed

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of a 200 answer. Raises OutgoingFailed."""
        return _body_of_200(await self._send(httpx.Request("GET", url, headers=headers), address=url))

    async def post_form(self, url: str, form: Mapping[str, str]) -> bytes:
        """The body of a 200 answer to a form. Raises OutgoingFailed."""
        return _body_of_200(await self._send(httpx.Request("POST", url, data=dict(form)), address=url))

    async def redirect_of(self, address: str, query: Mapping[str, str]) -> str:
        """Where a 302 answer points. Raises OutgoingFailed."""
        answer = await self._send(httpx.Request("GET", address, params=dict(query)), address=address)
        if answer.status != HTTPStatus.FOUND or answer.location is None:
            raise OutgoingFailed("The provider did not answer with a redirect.")
        return answer.location

    async def _send(self, request: httpx.Request, *, address: str) -> Answer:
        if address not in self._allowed:
            raise OutgoingFailed("This address is not one we call.")
        try:
            async with asyncio.timeout(SECONDS_MAX):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                try:
                    body = await _read_at_most(response, ANSWER_BYTES_MAX)
                finally:
                    await response.aclose()
        except (httpx.HTTPError, TimeoutError) as error:
            raise OutgoingFailed("The provider could not be reached.") from error
        return Answer(response.status_code, response.headers.get("location"), body)


async def _read_at_most(response: httpx.Response, bytes_max: int) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > bytes_max:
            raise OutgoingFailed("The provider's answer is too large.")
    return bytes(body)


def _body_of_200(answer: Answer) -> bytes:
    if answer.status != HTTPStatus.OK:
        raise OutgoingFailed("The provider refused.")
    return answer.body
