"""A client that costs little: requests written beforehand, sent over a few kept connections."""

import asyncio
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from tests.load.bench_app import Figures

CONNECTIONS = 12
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    body: bytes


def written(method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """Kept connections to one server."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname, parts.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one(self, request: bytes) -> Answer:
        """The answer to one request. The server ends connections that are silent for some seconds."""
        while self._idle:
            reader, writer = self._idle.pop()
            try:
                return await self._answered(request, reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
        return await self._answered(request, *await self._connect())

    async def _answered(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Answer:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        assert length is not None, head
        body = await reader.readexactly(int(length.group(1)))
        self._idle.append((reader, writer))
        return Answer(int(head[9:12]), body)

    async def all(self, requests: Sequence[bytes], connections: int = CONNECTIONS) -> None:
        """Sends every request, each connection its share in turn; each must be answered 200."""

        async def send(share: Sequence[bytes]) -> None:
            for request in share:
                answer = await self.one(request)
                assert answer.status == 200, answer

        await asyncio.gather(*(send(requests[first::connections]) for first in range(connections)))

    async def figures(self) -> Figures:
        """What the server's worker has used so far; ends its watch."""
        answer = await self.one(written("GET", "/bench/figures"))
        return msgspec.json.decode(answer.body, type=Figures)

    async def begin_watch(self) -> None:
        """The worker measures its loop's stalls from now until its figures are asked for."""
        await self.one(written("GET", "/bench/watch"))

    async def cpu_each(self, requests: Sequence[bytes], connections: int = CONNECTIONS) -> float:
        """The server's CPU time for each of these requests, in microseconds."""
        before = await self.figures()
        await self.all(requests, connections)
        after = await self.figures()
        return (after.cpu_seconds - before.cpu_seconds) / len(requests) * 1e6

    async def close(self) -> None:
        """Ends the connections."""
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=1024 * 1024)
