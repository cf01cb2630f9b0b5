"""A request's body as it comes in: it must be whole within its time (THREATS section 4)."""

import asyncio

from litestar.types import HTTPReceiveMessage, Receive

from server.errors import BodyRefused, TooSlow

BODY_SECONDS_MAX = 30


class BodyInTime:
    """Receives for the application. TooSlow when the body takes too long, BodyRefused when it breaks off."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._stop_at = asyncio.get_running_loop().time() + BODY_SECONDS_MAX
        self._is_whole = False

    async def __call__(self) -> HTTPReceiveMessage:
        """ASGI's receive."""
        if self._is_whole:
            return await self._receive()  # type: ignore[return-value]
        try:
            async with asyncio.timeout_at(self._stop_at):
                message = await self._receive()
        except TimeoutError:
            raise TooSlow from None
        if message["type"] == "http.disconnect":
            raise BodyRefused("The body broke off.")
        self._is_whole = message["type"] == "http.request" and not message.get("more_body", False)
        return message  # type: ignore[return-value]
