"""Held as an operator runs it, with the bench's handlers beside it, and people who may call it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from server.commands.held_client import ACCESS_GRANT, HeldClient
from server.commands.serve import serve
from server.development.people import keep_people, people_file
from server.identity.clients import Clients, integrator
from server.identity.development_provider import DemoPerson
from server.intake.organisations import Organisation, register_organisation
from server.secret_files import make_missing_secrets
from server.settings import Settings, read_settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from server.storage.migrating import migrate
from tests.load.wire import Wire, written
from tests.server_process import free_port
from tests.world import PATEL, PRACTICE, Integrator, citizen, offer, record_id_of, redeem

START_SECONDS_MAX = 60
POLL_SECONDS = 0.05
TOKENS = 4
PEOPLE = [citizen(f"Citizen Number{number}", number) for number in range(32)]


class BenchServer:
    """A running server, empty but for its registered practice."""

    def __init__(
        self, settings: Settings, http: httpx.AsyncClient, wire: Wire, *, practice: Integrator
    ) -> None:
        self.settings = settings
        self.address = settings.base_url
        self.http = http
        self.wire = wire
        self._practice = practice
        self._unused = iter(PEOPLE)

    async def new_citizen(self) -> tuple[DemoPerson, HeldClient]:
        """Someone with an empty record that the practice may fill."""
        person = next(self._unused)
        client = HeldClient(self.http, self.address)
        phone = {"client_id": "held-phone", "redirect_uri": f"{self.address}/app/signed-in"}
        await client.sign_in(phone, person.held_subject)
        record_id = await record_id_of(client)
        await client.refresh(record_id=record_id)
        await client.expect(201, "POST", f"/records/{record_id}/links", json={"organisation": PRACTICE})
        return person, client

    async def push(self, body: bytes) -> dict[str, Any]:
        """Pushes an extract and waits for its report, asking seldom so that the asking costs little."""
        sender = HeldClient(self.http, self.address)
        await sender.sign_in_integrator(self._practice.client_id, self._practice.key, self._practice.kid)
        headers = {"Content-Type": "application/fhir+json"}
        response = await sender.call("POST", "/extracts", content=body, headers=headers)
        assert response.status_code == 202, response.text
        while True:
            await asyncio.sleep(POLL_SECONDS)
            answer = await sender.call("GET", response.headers["Location"])
            assert answer.status_code == 200, answer.text
            if answer.json()["state"] in ("done", "held"):
                report: dict[str, Any] = answer.json()
                assert report["state"] == "done", report
                return report

    async def new_reader(self, owner: HeldClient, slice_: dict[str, Any]) -> "Reader":
        """A doctor with a grant of this slice."""
        doctor = HeldClient(self.http, self.address)
        portal = {"client_id": "held-portal", "redirect_uri": f"{self.address}/portal/signed-in"}
        await doctor.sign_in(portal, PATEL.held_subject)
        shared = await redeem(owner, doctor, await offer(owner, slice_))
        reader = Reader(doctor, shared.client, shared.grant_id)
        await reader.renew()
        return reader

    async def keep_body(self, body: bytes) -> None:
        """What the bare handler answers from now on."""
        assert (await self.wire.one(written("PUT", "/bench/body", body=body))).status == 200


class Reader:
    """A doctor reading under a grant; writes requests beforehand, each with a proof of its own.

    A token may have four requests under way, so that the connections share a few of them.
    """

    def __init__(self, doctor: HeldClient, client: HeldClient, grant_id: str) -> None:
        self._doctor = doctor
        self._grant_id = grant_id
        self._tokens: list[str] = []
        self.client = client

    async def renew(self) -> None:
        """New tokens: they live five minutes."""
        self._tokens = []
        for _ in range(TOKENS):
            answer = await self._doctor.exchange(self._grant_id, ACCESS_GRANT)
            assert answer.status_code == 200, answer.text
            self._tokens.append(answer.json()["access_token"])
        self.client = self._doctor.with_token(self._tokens[0])

    async def requests(self, paths: Sequence[str]) -> list[bytes]:
        """GET requests with fresh proofs that hold for five minutes, under a nonce of the server's."""
        nonce = (await self.client.http.get(f"{self.client.base_url}/ready")).headers["DPoP-Nonce"]
        return [
            self._request(path, self._tokens[number % TOKENS], nonce) for number, path in enumerate(paths)
        ]

    def _request(self, path: str, token: str, nonce: str) -> bytes:
        proof = self.client.key.proof("GET", self.client.base_url + path, token=token, nonce=nonce)
        return written("GET", path, {"Authorization": f"DPoP {token}", "DPoP": proof})


@asynccontextmanager
async def bench_server(folder: Path) -> AsyncIterator[BenchServer]:
    """A server of one worker on a new SQLite database in the folder."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    own = {
        "HELD_MODE": "development",
        "HELD_PORT": str(port),
        "HELD_BASE_URL": address,
        "HELD_DATA_DIR": str(folder),
    }
    practice = await _prepared(own)
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.bench_server"],
            env={name: value for name, value in os.environ.items() if not name.startswith("HELD_")} | own,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    wire = Wire(address)
    try:
        async with httpx.AsyncClient(timeout=120) as http:
            await _ready(http, address, process, log)
            yield BenchServer(read_settings(own), http, wire, practice=practice)
            await wire.close()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _prepared(environment: dict[str, str]) -> Integrator:
    """What an operator does before the start."""
    settings = read_settings(environment)
    make_missing_secrets(settings)
    keep_people(people_file(settings), [*PEOPLE, PATEL])
    await migrate(settings.database_url)
    practice = Integrator("practice-system", PRACTICE)
    storage = await Storage.open(settings.database_url, KeyFile.open(settings.key_file))
    try:
        await register_organisation(storage, Organisation(organisation=PRACTICE, name="Beeston Practice"))
        client = integrator(
            practice.client_id, name="Beeston Practice", organisation=PRACTICE, jwk=practice.public_jwk()
        )
        await Clients(storage, settings.base_url).register(client)
    finally:
        await storage.close()
    return practice


async def _ready(
    http: httpx.AsyncClient, address: str, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up_at:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            if (await http.get(f"{address}/ready")).status_code == 200:
                return
        except httpx.TransportError:
            await asyncio.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])


if __name__ == "__main__":
    serve(read_settings(os.environ), "tests.load.bench_app:bench_app")
