"""What the bench's server runs: Held, and beside it the handlers that Held is measured against.

All are answered by one worker of one server, so that what the server itself costs is the same for each.
"""

import asyncio
import gc
import os
import resource
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from litestar.types import Receive, Scope, Send

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.second_opinion import load_models
from server.app import Parts, create_app, open_parts
from server.http.front_door import FrontDoor
from server.identity.dpop import Expected
from server.ops.process import keep_the_loop_answering
from server.settings import read_settings
from server.storage.sqlite import database_path
from sync.messages import PAGE_ROWS_MAX

TICK_SECONDS = 0.001
_ROWS = "SELECT body FROM item WHERE record_id = ? AND seq > 0 ORDER BY seq LIMIT ?"


class Figures(msgspec.Struct, frozen=True):
    """What the worker has used. The stalls are the longest since the watch began.

    `stall_wall` is how late a tick of the loop came. `stall_own` is the part of such a delay that a busy
    machine does not explain: less the time the loop's thread waited for a processor, and no more than the
    time that this process ran.
    """

    cpu_seconds: float
    resident_peak_bytes: int
    stall_wall: float
    stall_own: float
    collection_longest: float


class BenchApp:
    """Held behind `/`, the handlers it is measured against and the worker's figures behind `/bench/`."""

    def __init__(self) -> None:
        self._parts: Parts | None = None
        self._held: FrontDoor | None = None
        self._body = b""
        self._database: sqlite3.Connection | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stall_wall = 0.0
        self._stall_own = 0.0
        self._collection_began = 0.0
        self._collection_longest = 0.0
        gc.callbacks.append(self._time_collection)
        self._handlers: dict[str, Callable[[Scope, Receive], Awaitable[bytes]]] = {
            "/bench/bare": self._bare,
            "/bench/checked": self._checked,
            "/bench/rows": self._rows,
            "/bench/body": self._keep_body,
            "/bench/watch": self._begin_watch,
            "/bench/figures": self._figures,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._held is None:
            self._parts = await open_parts(read_settings(os.environ))
            self._held = create_app(self._parts)
            load_models(CATALOGUE)
            keep_the_loop_answering()
        handler = self._handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            await self._held(scope, receive, send)
            return
        body = await handler(scope, receive)
        headers = [
            (b"content-type", b"application/fhir+json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _bare(self, scope: Scope, receive: Receive) -> bytes:
        return self._body

    async def _checked(self, scope: Scope, receive: Receive) -> bytes:
        """As bare, after the check of a proof: what a proof costs by itself."""
        assert self._parts is not None
        headers = dict(scope["headers"])
        identity = self._parts.identity.parts
        token = headers[b"authorization"].decode().removeprefix("DPoP ")
        url = f"{identity.base_url}/bench/checked"
        now = identity.clock.last_known()
        proof = identity.proofs.check(
            headers[b"dpop"].decode(), Expected(method="GET", url=url, now=now, access_token=token)
        )
        await identity.spend_proof(proof)
        return self._body

    async def _rows(self, scope: Scope, receive: Receive) -> bytes:
        """The rows of a record as they lie in the database, sealed, joined and nothing else."""
        if self._database is None:
            self._database = sqlite3.connect(database_path(read_settings(os.environ).database_url))
        record = scope["query_string"].decode()
        return b",".join(body for (body,) in self._database.execute(_ROWS, (record, PAGE_ROWS_MAX)))

    async def _keep_body(self, scope: Scope, receive: Receive) -> bytes:
        message = await receive()
        self._body = message["body"]
        while message["more_body"]:
            message = await receive()
            self._body += message["body"]
        return b""

    async def _begin_watch(self, scope: Scope, receive: Receive) -> bytes:
        self._stall_wall = self._stall_own = self._collection_longest = 0.0
        self._watch = asyncio.create_task(self._tick())
        return b""

    async def _figures(self, scope: Scope, receive: Receive) -> bytes:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        used = resource.getrusage(resource.RUSAGE_SELF)
        return msgspec.json.encode(
            Figures(
                cpu_seconds=used.ru_utime + used.ru_stime,
                resident_peak_bytes=_resident_peak(),
                stall_wall=self._stall_wall,
                stall_own=self._stall_own,
                collection_longest=self._collection_longest,
            )
        )

    def _time_collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collection_began = time.thread_time()
        else:
            longest = max(self._collection_longest, time.thread_time() - self._collection_began)
            self._collection_longest = longest

    async def _tick(self) -> None:
        while True:
            began, ran, queued = time.perf_counter(), time.process_time(), _seconds_queued()
            await asyncio.sleep(TICK_SECONDS)
            late = time.perf_counter() - began - TICK_SECONDS
            own = min(late - (_seconds_queued() - queued), time.process_time() - ran)
            self._stall_wall = max(self._stall_wall, late)
            self._stall_own = max(self._stall_own, own)


def bench_app() -> BenchApp:
    """For the server to make in its worker."""
    return BenchApp()


def _seconds_queued() -> float:
    """How long this thread has been ready to run without a processor to run on (the kernel's schedstat)."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def _resident_peak() -> int:
    """The most memory this process has had resident; `ru_maxrss` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024
