"""The outermost layer: limits that hold before any work, and headers that every answer carries."""

import asyncio
from collections.abc import Callable, Iterable

from litestar import Litestar
from litestar.types import HTTPScope, Message, Receive, Scope, Send
from prometheus_client import Counter

HEADER_BYTES_MAX = 16 * 1024
CONCURRENT_REQUESTS_MAX = 200
REQUEST_SECONDS_MAX = 60

ANSWERS = Counter("held_answers_total", "Answers by method, route pattern and status.", ["method", "route", "status"])

_COMMON_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_API_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class FrontDoor:
    """Sheds load and over-long headers before the application runs, and stamps the common headers."""

    def __init__(self, app: Litestar, fresh_nonce: Callable[[], str]) -> None:
        self.application = app
        self._fresh_nonce = fresh_nonce
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        if _header_bytes(scope) > HEADER_BYTES_MAX:
            await _refuse(send, 431, b"too-large", b"The request headers are larger than 16 kB.")
            return
        if self._under_way >= CONCURRENT_REQUESTS_MAX:
            await _refuse(send, 503, b"busy", b"We are busy. Try again shortly.")
            return
        self._under_way += 1
        try:
            await self._within_time(scope, receive, send)
        finally:
            self._under_way -= 1

    async def _within_time(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        started = False

        async def stamped(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                ANSWERS.labels(scope["method"], scope.get("path_template", "unknown"), message["status"]).inc()
                message["headers"] = [*message["headers"], *self._headers(message["headers"])]
            await send(message)

        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                await self.application(scope, receive, stamped)
        except TimeoutError:
            if not started:
                await _refuse(send, 503, b"busy", b"This took too long. Try again shortly.")

    def _headers(self, present: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in present}
        headers = [pair for pair in (*_COMMON_HEADERS, _API_POLICY) if pair[0] not in names]
        if b"dpop-nonce" not in names:
            headers.append((b"dpop-nonce", self._fresh_nonce().encode()))
        return headers


def _header_bytes(scope: HTTPScope) -> int:
    target = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    return target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])


async def _refuse(send: Send, status: int, code: bytes, detail: bytes) -> None:
    body = b'{"type":"about:blank","status":%d,"code":"%s","detail":"%s"}' % (status, code, detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *_COMMON_HEADERS,
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
