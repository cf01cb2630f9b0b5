"""A bad line between phone and server: it cuts off some answers, after the server has done its work.

Speaks as much HTTP/1.1 as our own two ends need, in a thread of its own.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

HEAD_BYTES_MAX = 64 * 1024


class Line:
    """The line and what it does. `cuts` decides by (request line, answers so far) whether one is cut off."""

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self.address = f"http://127.0.0.1:{port}"
        self.server_port = server_port
        self.cuts: Callable[[str, int], bool] = lambda _line, _count: False
        self.answered = 0
        self.cut = 0

    def cut_every(self, nth: int) -> None:
        """Cuts every nth answer from now on, but for the development sign-in pages' own."""
        self.answered = 0
        self.cuts = lambda line, count: " /development/" not in line and count % nth == 0

    def be_good(self) -> None:
        """Cuts nothing from now on."""
        self.cuts = lambda _line, _count: False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the phone's."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, OSError):
            while await self._exchange(reader, writer):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, body = await _message(reader)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.server_port)
        try:
            up_writer.write(head + body)
            await up_writer.drain()
            is_head = head.startswith(b"HEAD ")
            answer = b"".join(await _message(up_reader, has_body=not is_head))
        finally:
            up_writer.close()
        request_line = head.partition(b"\r\n")[0].decode("latin-1")
        if " /development/" not in request_line:
            self.answered += 1
        if self.cuts(request_line, self.answered):
            self.cut += 1
            writer.write(answer[: len(answer) // 2])
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return True


@contextmanager
def bad_line(port: int, server_port: int) -> Generator[Line]:
    """A line that listens until the end; it is good until told otherwise."""
    line = Line(port, server_port)
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(line.carry, "127.0.0.1", port)
        ready.set()
        await stopping.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield line
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


async def _message(reader: asyncio.StreamReader, *, has_body: bool = True) -> tuple[bytes, bytes]:
    """A request's or an answer's head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert len(head) <= HEAD_BYTES_MAX
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if not has_body or head.startswith((b"HTTP/1.1 304", b"HTTP/1.1 204")):
        return head, b""
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        return head, await _chunks(reader)
    return head, await reader.readexactly(int(fields.get(b"content-length", b"0")))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    raw = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        raw += size + await reader.readexactly(int(size.split(b";")[0], 16) + 2)
        if int(size.split(b";")[0], 16) == 0:
            return raw
