"""`held serve --demo`: a server with made-up people in it, for development alone.

The server runs as a child process, so that the demo is loaded over HTTP exactly as anyone else would.
"""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from types import FrameType

import httpx

from server.commands.demo_cast import Cast, cast
from server.commands.demo_citizens import DemoDoor
from server.commands.demo_file import DEMO_FILE, DemoFile, DemoIntegrator
from server.commands.demo_loading import (
    HTTP_SECONDS_MAX,
    ExtractNotTaken,
    Loading,
    demo_clients,
    load_demo,
)
from server.commands.demo_registration import register_cast
from server.commands.demo_words import how_to_begin
from server.commands.extract_sender import ExtractUnsettled
from server.commands.held_client import Unexpected
from server.ops.one_server import OneServer
from server.settings import Settings
from server.storage.backend import StorageUnsafe
from server.storage.sqlite import database_path

READY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20


class ServerEnded(Exception):
    """The server ended before it was ready. Its own lines above say why."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class _Stopped(Exception):
    """Somebody asked us to stop."""


def serve_demo(settings: Settings) -> int:
    """Prepares, serves and loads the demo; the server's exit status once it is stopped."""
    if not settings.is_development:
        print("A demo is for development: set HELD_MODE=development.", file=sys.stderr)
        return 1
    people = cast()
    try:
        _refuse_a_second_server(settings)
        integrators = asyncio.run(register_cast(settings, people, _say))
    except (StorageUnsafe, OSError) as refused:
        print(f"The demo cannot start: {refused}", file=sys.stderr)
        return 1
    with _asked_to_stop():
        return _serve_and_load(settings, people, integrators)


def _refuse_a_second_server(settings: Settings) -> None:
    """Before anything is written: the new keys of the cast would lock the running demo's senders out."""
    if settings.uses_sqlite:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        right = OneServer(database_path(settings.database_url))
        right.take()
        right.release()


def _serve_and_load(settings: Settings, people: Cast, integrators: list[DemoIntegrator]) -> int:
    # Its own session, so that Ctrl-C reaches the server once, through us, after the demo has been left tidy.
    server = subprocess.Popen([sys.executable, "-m", "server.cli", "serve"], start_new_session=True)
    try:
        demo = asyncio.run(_load(settings, people, integrators, server))
        print(how_to_begin(demo, people, settings.data_folder / DEMO_FILE), flush=True)
        return server.wait()
    except (Unexpected, ExtractNotTaken, ExtractUnsettled, ServerEnded, httpx.HTTPError) as failed:
        print(f"The demo could not be loaded: {failed}", file=sys.stderr)
        return 1
    except (_Stopped, KeyboardInterrupt):
        print("\nStopping.", file=sys.stderr)
        return 0
    finally:
        _stop(server)


async def _load(
    settings: Settings, people: Cast, integrators: list[DemoIntegrator], server: "subprocess.Popen[bytes]"
) -> DemoFile:
    async with httpx.AsyncClient(timeout=HTTP_SECONDS_MAX, trust_env=False) as http:
        await _until_ready(http, settings.base_url, server)
        _say("the server is ready; opening records")
        loading = Loading(
            door=DemoDoor(http=http, base_url=settings.base_url, clients=demo_clients(settings.base_url)),
            integrators=integrators,
            as_on=datetime.now(UTC).date(),
            say=_say,
        )
        return await load_demo(people, loading, settings.data_folder / DEMO_FILE)


async def _until_ready(http: httpx.AsyncClient, base_url: str, server: "subprocess.Popen[bytes]") -> None:
    for _ in range(READY_SECONDS_MAX * 10):
        if server.poll() is not None:
            raise ServerEnded
        with contextlib.suppress(httpx.TransportError):
            if (await http.get(f"{base_url}/ready")).status_code == 200:
                return
        await asyncio.sleep(0.1)
    raise ServerEnded("The server was not ready after a minute.")


@contextlib.contextmanager
def _asked_to_stop() -> Generator[None]:
    """SIGTERM unwinds what is under way, as Ctrl-C does, so that the server is always taken along."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(server: "subprocess.Popen[bytes]") -> None:
    if server.poll() is not None:
        return
    server.terminate()
    try:
        server.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _say(line: str) -> None:
    print(f"  {line}", flush=True)
