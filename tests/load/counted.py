"""A phone's way to the server that counts what goes over the socket, headers included."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import zstandard

from server.commands.held_client import HeldClient
from sync.ports import Answer, NoAnswer

_HEAD_BYTES_MAX = 64 * 1024


class Call(NamedTuple):
    """One request and its answer, as the socket saw them."""

    method: str
    path: str
    status: int
    bytes_up: int
    bytes_down: int


class CountedTransport:
    """Sends a phone's calls over one kept connection, with its owner's token and a proof for each."""

    def __init__(self, owner: HeldClient) -> None:
        parts = urlsplit(owner.base_url)
        self._owner = owner
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.calls: list[Call] = []

    def taken(self) -> list[Call]:
        """The calls since this was asked last."""
        calls, self.calls = self.calls, []
        return calls

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The answer, unpacked."""
        request = self._written(method, path, headers, body)
        for _ in range(2):
            reader, writer = await self._connected()
            try:
                writer.write(request)
                head, packed = await _read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                # The server ends connections that are silent for some seconds.
                await self.close()
                continue
            status, answered = _parsed(head)
            self.calls.append(Call(method, path, status, len(request), len(head) + len(packed)))
            return Answer(status=status, headers=answered, body=_unpacked(packed, answered))
        raise NoAnswer

    async def close(self) -> None:
        """Ends the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def _written(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        owner = self._owner
        assert owner.token is not None
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", "Accept-Encoding: zstd"]
        own = {
            "Authorization": f"DPoP {owner.token}",
            "DPoP": owner.key.proof(method, owner.base_url + path, token=owner.token),
        }
        lines += [f"{name}: {value}" for name, value in {**headers, **own}.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + (body or b"")

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=_HEAD_BYTES_MAX)
        return self._streams


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, headers = _parsed(head)
    if status in (204, 304):
        return head, b""
    # Every answer of ours says its length.
    return head, await reader.readexactly(int(headers["content-length"]))


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


def _unpacked(packed: bytes, headers: Mapping[str, str]) -> bytes:
    if headers.get("content-encoding") != "zstd":
        return packed
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
