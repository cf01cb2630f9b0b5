"""The outermost layer: limits that hold before any work, and headers that every answer carries."""

import asyncio
import re
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, cast

import structlog
from litestar import Litestar
from litestar.types import HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter

from server.errors import Busy, HeadersTooLarge, HeldError, NotFound
from server.http.outcomes import headers_of, route_template, shape, status_of
from server.http.places import PER_PROCESS_MAX, PER_TOKEN_MAX, Places, Visit, begin_visit
from server.http.receiving import BodyInTime

HEADER_BYTES_MAX = 16 * 1024
REQUEST_SECONDS_MAX = 60

ANSWERS = Counter(
    "held_answers_total", "Answers by method, route pattern and status.", ["method", "route", "status"]
)

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger("held.http")
# A counter for every word a stranger sends as a method would grow without end.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COMMON_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
# Control characters, slashes and whatever needs no escape (RFC 3986 section 2.3), escaped; a backslash.
_ODD = re.compile(rb"%(?:[01].|7f|2[fde]|3[0-9]|5[cf]|7e|[46][1-9a-f]|[57][0-9a])|\\|[\x00-\x20]")
# A provider of the development mode is a mounted application with paths of its own.
_MOUNTED = b"/development/"


class AnswerCutShort(Exception):
    """An answer that had begun could not be finished."""


class FrontDoor:
    """Sheds load, over-long headers and odd paths before the application runs; stamps the common headers."""

    def __init__(self, app: Litestar, fresh_nonce: Callable[[], str]) -> None:
        self.application = app
        self.places = Places()
        self._fresh_nonce = fresh_nonce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        visit = begin_visit(cast("MutableMapping[str, Any]", scope), self.places)
        answer = _Answer(scope, send, self._fresh_nonce)
        try:
            _let_in(scope, visit)
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                await self.application(scope, BodyInTime(receive), answer.send)
        except HeldError as refused:
            await answer.refuse(refused)
        except TimeoutError:
            await answer.refuse(Busy("This took too long. Try again shortly."))
        except Exception as error:
            # The error's own text may quote someone's record, so that it goes no further than this.
            _LOG.error("unexpected_error", kind=type(error).__qualname__, where="front door")
            await answer.refuse(HeldError("Something went wrong on our side."))
        finally:
            visit.leave()


class _Answer:
    """The answer to one request, on its way out."""

    def __init__(self, scope: HTTPScope, send: Send, fresh_nonce: Callable[[], str]) -> None:
        self._scope = scope
        self._send = send
        self._fresh_nonce = fresh_nonce
        self._has_started = False

    async def send(self, message: Message) -> None:
        """Sends a part of it, with the common headers on the first."""
        if message["type"] == "http.response.start":
            self._has_started = True
            method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
            route = route_template(self._scope)
            ANSWERS.labels(method, route, message["status"]).inc()
            message["headers"] = [*message["headers"], *self._headers(message["headers"])]
        elif message["type"] == "http.response.body" and self._scope["method"] == "HEAD":
            message["body"] = b""
        await self._send(message)

    async def refuse(self, error: HeldError) -> None:
        """Answers with a refusal; AnswerCutShort when another answer has begun."""
        if self._has_started:
            raise AnswerCutShort from None
        status = status_of(error)
        body, media_type = shape(self._scope["path"], status, error)
        given = {"content-type": media_type, "content-length": str(len(body)), **headers_of(error)}
        headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    def _headers(self, present: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in present}
        headers = [pair for pair in (*_COMMON_HEADERS, _API_POLICY) if pair[0] not in names]
        if b"dpop-nonce" not in names:
            headers.append((b"dpop-nonce", self._fresh_nonce().encode()))
        return headers


def _let_in(scope: HTTPScope, visit: Visit) -> None:
    """Judges a request by its head alone. HeadersTooLarge, NotFound or Busy."""
    if _header_bytes(scope) > HEADER_BYTES_MAX:
        raise HeadersTooLarge
    if not _is_plainly_spelled(scope):
        raise NotFound
    visit.enter("process", PER_PROCESS_MAX)
    for name, value in scope["headers"]:
        if name.lower() == b"authorization":
            visit.enter(value, PER_TOKEN_MAX)


def _header_bytes(scope: HTTPScope) -> int:
    target = len(_raw_path(scope)) + len(scope["query_string"])
    return target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


def _raw_path(scope: HTTPScope) -> bytes:
    raw: bytes | None = cast("dict[str, Any]", scope).get("raw_path")
    return (raw or scope["path"].encode()).partition(b"?")[0]


def _is_plainly_spelled(scope: HTTPScope) -> bool:
    """Whether the path has its one spelling: what a proxy, a proof and a route judge is then the same."""
    path = _raw_path(scope).lower()
    if path.startswith(_MOUNTED) or path == b"/":
        return True
    if _ODD.search(path):
        return False
    steps = path.split(b"/")
    return steps[0] == b"" and not any(step in {b"", b".", b".."} for step in steps[1:])
