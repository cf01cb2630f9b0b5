"""Signs a demo citizen in over HTTP, opens their record and links organisations to it."""

import httpx
import msgspec

from server.commands.demo_file import DemoCitizen, DemoClients
from server.commands.held_client import HeldClient


class DemoDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where the demo's people sign in."""

    http: httpx.AsyncClient
    base_url: str
    clients: DemoClients


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """A citizen as their sign-in provider knows them."""

    subject: str
    nhs_number: str
    birth_date: str


async def open_record(door: DemoDoor, person: Proved) -> DemoCitizen:
    """Signs someone in, which opens their record the first time, and says which it is."""
    client = HeldClient(door.http, door.base_url)
    await client.sign_in(msgspec.to_builtins(door.clients.phone), person.subject)
    me = await client.expect(200, "GET", "/me")
    own = next(record for record in me["records"] if record["relation"] == "self")
    return DemoCitizen(
        subject=person.subject,
        name=me["name"],
        nhs_number=person.nhs_number,
        birth_date=person.birth_date,
        record_id=own["record_id"],
        patient_id=own["patient_id"],
    )


async def as_citizen(door: DemoDoor, citizen: DemoCitizen) -> HeldClient:
    """A client signed in for the citizen's own record."""
    client = HeldClient(door.http, door.base_url)
    phone = msgspec.to_builtins(door.clients.phone)
    await client.sign_in(phone, citizen.subject, record_id=citizen.record_id)
    return client


async def link(door: DemoDoor, citizen: DemoCitizen, organisation: str) -> None:
    """Lets an organisation push to the citizen's record, as the citizen. Already linked: nothing changes."""
    client = await as_citizen(door, citizen)
    await client.expect(
        201, "POST", f"/records/{citizen.record_id}/links", json={"organisation": organisation}
    )
