"""Once `end` has answered, nothing discloses any more: over four processes on PostgreSQL (THREATS e).

Requests run while the grant is ended. Those that start after the answer are judged: tokens, page links and
ETags from before must open nothing, in whichever process they arrive.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import httpx
import pytest

from server.commands.held_client import ACCESS_GRANT, HeldClient
from server.development.people import keep_people, people_file
from server.identity.clients import Clients, integrator
from server.intake.organisations import Organisation, register_organisation
from server.secret_files import make_missing_secrets
from server.settings import Settings, read_settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from tests.postgres_server import PostgresServer
from tests.server_process import free_port, server_process
from tests.world import (
    AMINA,
    EVERYONE,
    PATEL,
    PRACTICE,
    Integrator,
    extract_for,
    offer,
    push,
    record_id_of,
    redeem,
)

REPLAYED = 1_000
AT_ONCE = 4
WORKERS = 4


@pytest.mark.postgres
@pytest.mark.slow
async def test_after_end_answers_none_of_a_thousand_replayed_requests_discloses(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = await postgres_server.fresh_database()
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "HELD_DATABASE_URL": database.app_url,
        "HELD_WORKERS": str(WORKERS),
        "HELD_PORT": str(port),
        "HELD_BASE_URL": address,
    }
    settings = read_settings({"HELD_MODE": "development", "HELD_DATA_DIR": str(tmp_path), **environment})
    practice = await _prepare(settings)
    async with server_process(tmp_path, **environment), httpx.AsyncClient(timeout=30) as http:
        citizen, doctor = HeldClient(http, address), HeldClient(http, address)
        record_id = await _record(citizen, http, practice)
        await doctor.sign_in(
            {"client_id": "held-portal", "redirect_uri": f"{address}/portal/signed-in"}, PATEL.held_subject
        )
        shared = await redeem(
            citizen, doctor, await offer(citizen, {"current": True, "categories": ["results"]})
        )
        replays, before = await _requests_worth_replaying(shared.client)
        assert before >= 4

        under_way = [asyncio.create_task(_discloses(shared.client, one)) for one in replays * 10]
        ended = await citizen.call("POST", f"/records/{record_id}/grants/{shared.grant_id}/end", json={})
        assert ended.status_code == 200
        await asyncio.gather(*under_way)

        disclosed = await _replay(shared.client, replays)
        renewed = await doctor.exchange(shared.grant_id, ACCESS_GRANT)
        workers = await _workers_seen(tmp_path)
    print(f'{{"test":"e","processes":{workers},"replayed":{REPLAYED},"disclosed":{disclosed}}}')
    assert workers == WORKERS
    assert disclosed == 0
    assert renewed.status_code == 400


async def _prepare(settings: Settings) -> Integrator:
    """What an operator does before the start."""
    make_missing_secrets(settings)
    keep_people(people_file(settings), EVERYONE)
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


async def _record(citizen: HeldClient, http: httpx.AsyncClient, practice: Integrator) -> str:
    phone = {"client_id": "held-phone", "redirect_uri": f"{citizen.base_url}/app/signed-in"}
    await citizen.sign_in(phone, AMINA.held_subject)
    record_id = await record_id_of(citizen)
    await citizen.refresh(record_id=record_id)
    await citizen.expect(201, "POST", f"/records/{record_id}/links", json={"organisation": PRACTICE})
    sender = HeldClient(http, citizen.base_url)
    await sender.sign_in_integrator(practice.client_id, practice.key, practice.kid)
    assert (await push(sender, extract_for(AMINA, "AMINA")))["state"] == "done"
    return record_id


async def _requests_worth_replaying(reader: HeldClient) -> tuple[list[tuple[str, dict[str, str]]], int]:
    """Reads, searches, a page link and an ETag that all disclose now."""
    found = await reader.expect(200, "GET", "/fhir/Observation?_count=2")
    next_page = next(link["url"] for link in found["link"] if link["relation"] == "next")
    item = f"/fhir/Observation/{found['entry'][0]['resource']['id']}"
    etag = (await reader.call("GET", item)).headers["ETag"]
    replays = [
        (item, {}),
        (item, {"If-None-Match": etag}),
        (next_page, {}),
        ("/fhir/Condition", {}),
        (f"{item}/_history", {}),
    ]
    return replays, sum([await _discloses(reader, one) for one in replays])


async def _discloses(reader: HeldClient, request: tuple[str, dict[str, str]]) -> bool:
    path, headers = request
    response = await reader.call("GET", path, headers=headers)
    return b"AMINA" in response.content or response.status_code in (200, 304)


async def _replay(reader: HeldClient, replays: list[tuple[str, dict[str, str]]]) -> int:
    waiting = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> bool:
        async with waiting:
            return await _discloses(reader, replays[number % len(replays)])

    tasks: list[Awaitable[bool]] = [one(number) for number in range(REPLAYED)]
    return sum(await asyncio.gather(*tasks))


async def _workers_seen(folder: Path) -> int:
    """How many workers the server says it started."""
    lines = (folder / "server.log").read_text().splitlines()
    return len(
        {line.split("worker-")[1].split()[0].strip('"') for line in lines if "Started worker-" in line}
    )
