"""A phone in a test: a signed-in owner's client that speaks the sync protocol over HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from server.commands.held_client import HeldClient
from sync.messages import MEDIA_TYPE
from tests.held_app import PHONE, served_held
from tests.world import AMINA, EVERYONE, World, extract_for, record_id_of

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


class Phone:
    """One registered phone of one person."""

    def __init__(self, client: HeldClient, record_id: str, name: str) -> None:
        self.client = client
        self.record_id = record_id
        self.name = name
        self.device_id = ""
        self.registered: dict[str, Any] = {}

    @property
    def base(self) -> str:
        """Where its calls are."""
        return f"/sync/v1/records/{self.record_id}"

    async def register(self) -> "Phone":
        """Makes it known."""
        body = {"key": self.client.key.jwk, "name": self.name, "platform": "test"}
        self.registered = await self.client.expect(201, "POST", f"{self.base}/devices", json=body)
        self.device_id = self.registered["deviceId"]
        return self

    async def changes(self, since: str | None = None, **query: Any) -> dict[str, Any]:
        """One page."""
        asked = {"since": since} if since is not None else {}
        return await self.client.expect(200, "GET", f"{self.base}/changes", params=asked | query)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any call below its record."""
        return await self.client.call(method, f"{self.base}/{path}", **options)

    async def push(self, *mutations: dict[str, Any], since: str | None = None) -> dict[str, Any]:
        """What it did."""
        response = await self.send(*mutations, since=since)
        assert response.status_code == 200, response.text
        return response.json()

    async def send(self, *mutations: dict[str, Any], since: str | None = None) -> httpx.Response:
        """A push, however it ends."""
        body = {"deviceId": self.device_id, "mutations": list(mutations)}
        if since is not None:
            body["since"] = since
        headers = {"Content-Type": MEDIA_TYPE}
        return await self.call("POST", "mutations", content=json.dumps(body).encode(), headers=headers)

    async def one(self, mutation: dict[str, Any]) -> dict[str, Any]:
        """The result of one mutation."""
        return (await self.push(mutation))["results"][0]


class Scene(NamedTuple):
    """Amina with two phones and a filled record."""

    world: World
    owner: HeldClient
    phone: Phone
    other: Phone
    patient_id: str

    @property
    def client(self) -> HeldClient:
        """The first phone's client."""
        return self.phone.client


@asynccontextmanager
async def opened_scene(folder: Path) -> AsyncIterator[Scene]:
    """A scene in a running application."""
    async with served_held(folder, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        await world.link(owner)
        await world.push(extract_for(AMINA, "AMINA"))
        me = await owner.expect(200, "GET", "/me")
        phone = await new_phone(world, AMINA, "Amina's phone")
        other = await new_phone(world, AMINA, "Amina's tablet")
        yield Scene(world, owner, phone, other, me["records"][0]["patient_id"])


async def new_phone(world: World, person: Any, name: str = "Test phone") -> Phone:
    """A phone with a key of its own, signed in and registered."""
    client = world.held.client()
    await client.sign_in(PHONE, person.held_subject)
    record_id = await record_id_of(client)
    await client.refresh(record_id=record_id)
    return await Phone(client, record_id, name).register()


def mid() -> str:
    """A new mutation's id."""
    return str(uuid4())


def create(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A mutation that makes this resource."""
    resource_id = more.pop("id", None) or str(uuid4())
    made = {"mid": mid(), "op": "create", "type": body["resourceType"], "id": resource_id, "body": body}
    return made | more


def patch(of: dict[str, Any], version: int, members: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A mutation that changes members of what another made."""
    base = {"version": version}
    made = {"mid": mid(), "op": "patch", "type": of["type"], "id": of["id"], "base": base, "patch": members}
    return made | more


def delete(of: dict[str, Any], version: int, **more: Any) -> dict[str, Any]:
    """A mutation that deletes what another made."""
    base = {"version": version}
    return {"mid": mid(), "op": "delete", "type": of["type"], "id": of["id"], "base": base} | more


def command(kind: str, item_id: str, name: str, /, **args: Any) -> dict[str, Any]:
    """A command of the person."""
    more = args.pop("mutation", {})
    return {
        "mid": mid(),
        "op": "command",
        "type": kind,
        "id": item_id,
        "args": {"command": name, **args},
    } | more


def weight(value: float, day: int = 20) -> dict[str, Any]:
    """A reading of one's own weight."""
    quantity = {"value": value, "unit": "kg", "system": UCUM, "code": "kg"}
    return _reading("29463-7", "Body weight", day) | {"valueQuantity": quantity}


def blood_pressure(upper: int, lower: int, day: int = 20) -> dict[str, Any]:
    """A reading of one's own blood pressure."""
    parts = [("8480-6", "Systolic blood pressure", upper), ("8462-4", "Diastolic blood pressure", lower)]
    components = [
        {
            "code": {"coding": [{"system": LOINC, "code": code}], "text": text},
            "valueQuantity": {"value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"},
        }
        for code, text, value in parts
    ]
    return _reading("85354-9", "Blood pressure panel", day) | {"component": components}


def _reading(code: str, text: str, day: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}], "text": text},
        "effectiveDateTime": f"2026-11-{day:02}T08:00:00Z",
    }
