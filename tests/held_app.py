"""The whole application for a test: real settings, keys and database, called over HTTP in this process."""

import asyncio
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from server.app import Parts, create_app, open_parts
from server.audit.signer import create_log_key
from server.commands.held_client import HeldClient
from server.development.people import DemoPeople, keep_people, people_file
from server.http.front_door import FrontDoor
from server.identity.development_provider import DemoPerson
from server.identity.signing_keys import new_signing_key, write_signing_key
from server.settings import Settings, read_settings
from server.storage.keys import KeyFile
from tests.storages import sqlite_url

BASE_URL = "http://held.test"

PHONE = {"client_id": "held-phone", "redirect_uri": f"{BASE_URL}/app/signed-in"}
PORTAL = {"client_id": "held-portal", "redirect_uri": f"{BASE_URL}/portal/signed-in"}


class ServedHeld:
    """A running application and what a test needs to call it."""

    def __init__(self, app: FrontDoor, parts: Parts, http: httpx.AsyncClient) -> None:
        self.app = app
        self.parts = parts
        self.http = http

    def client(self) -> HeldClient:
        """A client with a key of its own."""
        return HeldClient(self.http, self.parts.settings.base_url)


@asynccontextmanager
async def served_held(
    folder: Path, people: list[DemoPerson], *, database_url: str | None = None
) -> AsyncIterator[ServedHeld]:
    """Held on a fresh SQLite database in the folder, or on the database at an address."""
    settings = development_settings(folder, database_url or await sqlite_url(folder))
    keep_people(people_file(settings), people)
    calls_itself = httpx.AsyncClient(transport=_Later(), base_url=BASE_URL)
    parts = await open_parts(settings, calls_itself)
    app = create_app(parts)
    transport = httpx.ASGITransport(app)
    _Later.of(calls_itself).inner = transport
    async with _running(app), httpx.AsyncClient(transport=transport, base_url=BASE_URL) as http:
        yield ServedHeld(app, parts, http)


@asynccontextmanager
async def _running(app: FrontDoor) -> AsyncIterator[None]:
    """The application's lifespan in a task of its own: a fixture begins and ends in different ones."""
    started, stopping = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.application.lifespan():
            started.set()
            await stopping.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not started.is_set():
            await task
        yield
    finally:
        waiting.cancel()
        stopping.set()
        await task


def development_settings(folder: Path, database_url: str) -> Settings:
    """Settings of a development server in the folder, with keys made once for this run of the tests."""
    shutil.copytree(Path(_keys_folder().name) / "keys", folder / "keys", dirs_exist_ok=True)
    return read_settings(
        {
            "HELD_MODE": "development",
            "HELD_DATA_DIR": str(folder),
            "HELD_DATABASE_URL": database_url,
            "HELD_BASE_URL": BASE_URL,
        }
    )


@functools.cache
def _keys_folder() -> "tempfile.TemporaryDirectory[str]":
    """RSA keys take a while to make, so they are made once. Deleted when the run ends."""
    kept = tempfile.TemporaryDirectory(prefix="held-test-keys-")
    folder = Path(kept.name)
    settings = read_settings(
        {"HELD_MODE": "development", "HELD_DATA_DIR": str(folder), "HELD_BASE_URL": BASE_URL}
    )
    settings.key_file.parent.mkdir(parents=True)
    KeyFile.create(settings.key_file)
    write_signing_key(settings.token_key_file, new_signing_key())
    create_log_key(settings.log_key_file)
    DemoPeople(settings)
    return kept


class _Later(httpx.AsyncBaseTransport):
    """The application calls its own development provider over HTTP before the test's transport is known."""

    def __init__(self) -> None:
        self.inner: httpx.AsyncBaseTransport | None = None

    @staticmethod
    def of(client: httpx.AsyncClient) -> "_Later":
        transport = client._transport
        assert isinstance(transport, _Later)
        return transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert self.inner is not None
        return await self.inner.handle_async_request(request)
