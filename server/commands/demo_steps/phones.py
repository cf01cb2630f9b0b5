"""The phones of the journey: reference phones in folders that go when the demo ends."""

import tempfile
from pathlib import Path
from typing import Any

import httpx
import msgspec

from server.commands.demo_steps.journey import Journey, must
from server.commands.held_client import HeldClient
from server.commands.phone_app.device_key import device_key
from server.commands.phone_app.folder import PhoneFacts, PhoneFolder
from server.commands.phone_app.online import OnlinePhone, online
from sync.phone import Report

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def new_phone(journey: Journey, name: str) -> PhoneFolder:
    """An empty phone of the citizen's. When the demo ends it is ended with the server and deleted."""
    # The folder outlives this function, and is deleted with everything in it by `_leave`.
    place = tempfile.TemporaryDirectory(prefix="held-demo-phone-")
    folder = PhoneFolder(Path(place.name))
    phone, person = journey.demo.clients.phone, journey.person
    facts = PhoneFacts(
        base_url=journey.demo.base_url,
        client_id=phone.client_id,
        redirect_uri=phone.redirect_uri,
        subject=person.subject,
        person=person.name,
        record_id=person.record_id,
        patient_id=person.patient_id,
        device_name=f"{name} of the demo",
    )
    folder.keep_facts(facts)

    async def leave() -> None:
        await _leave(journey, folder)
        place.cleanup()

    journey.afterwards.append(leave)
    return folder


async def synced(folder: PhoneFolder, *, is_proved: bool = True) -> Report:
    """An exchange of this phone with the server, which must end with the proof that both hold the same."""
    async with online(folder) as phone:
        report = await phone.engine.sync()
    if is_proved:
        must(report.trouble is None, f"the phone could not sync: {report.detail}")
        must(report.status.is_proved, "the phone is not proved equal to the record")
        must(not report.status.waiting, f"{report.status.waiting} changes still wait")
        must(not report.status.attention, "something needs attention")
    return report


def as_device(journey: Journey, folder: PhoneFolder) -> HeldClient:
    """A client with this phone's key and token, for calls that a phone would not make."""
    client = HeldClient(journey.http, journey.demo.base_url, key=device_key(folder))
    signed_in = folder.signed_in()
    client.token = None if signed_in is None else signed_in.access_token
    return client


def answer_to(phone: OnlinePhone, mid: str) -> dict[str, Any]:
    """What the server answered to a command of this phone."""
    found = [result for result in phone.engine.answers() if result.mid == mid and result.answer]
    must(len(found) == 1, "the phone's command was not answered")
    return msgspec.json.decode(bytes(found[0].answer))


def encoded(value: object) -> bytes:
    """JSON with every number as it was written."""
    return _ENCODER.encode(value)


def problem_code(response: httpx.Response) -> str:
    """The stable word of a refusal."""
    return msgspec.json.decode(response.content).get("code", "")


async def _leave(journey: Journey, folder: PhoneFolder) -> None:
    """Ends the device, if it still stands, so that phones of the demo do not add up."""
    if not hasattr(journey, "citizen"):
        return
    name = folder.facts().device_name if folder.is_begun else ""
    listed = await journey.citizen.expect(200, "GET", f"{journey.record}/devices")
    for device in listed["devices"]:
        if device["name"] == name:
            path = f"/sync/v1{journey.record}/devices/{device['device_id']}"
            await journey.citizen.expect(204, "DELETE", path)
