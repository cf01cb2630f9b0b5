"""Phones come and go: registering, listing, ending, and what an ended phone is told (SYNC 3.2, I24)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from server.commands.held_client import HeldClient, ProofKey
from server.devices_sync.device import DEVICES_MAX
from tests.api.phones import Phone, Scene, create, new_phone, opened_scene, weight
from tests.held_app import PHONE
from tests.world import AMINA, BEN


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


async def test_a_phone_is_told_what_it_needs_when_it_registers(scene: Scene) -> None:
    told = scene.phone.registered
    assert set(told) == {"deviceId", "epoch", "limits", "digestKey"}
    assert told["limits"]["mutationsPerPush"] == 100
    assert told["digestKey"] == scene.other.registered["digestKey"]
    assert told["deviceId"] != scene.other.device_id


async def test_registering_again_finds_the_same_phone(scene: Scene) -> None:
    first = scene.phone.registered
    assert (await scene.phone.register()).registered == first
    scene.world.held.parts.storage.clock_offset = timedelta(minutes=6)
    scene.phone.client.key.seconds_ahead = 360
    await scene.phone.client.refresh(record_id=scene.phone.record_id)
    assert (await scene.phone.register()).registered == first


async def test_two_registrations_at_once_make_one_phone(scene: Scene) -> None:
    client = await scene.world.sign_in(AMINA)
    phone = Phone(client, scene.phone.record_id, "Twice")
    await asyncio.gather(*(phone.register() for _ in range(3)))
    listed = await client.expect(200, "GET", f"/records/{phone.record_id}/devices")
    assert [one["name"] for one in listed["devices"]].count("Twice") == 1


async def test_a_new_phone_needs_a_sign_in_of_the_last_five_minutes(scene: Scene) -> None:
    client = await scene.world.sign_in(AMINA)
    scene.world.held.parts.storage.clock_offset = timedelta(minutes=6)
    client.key.seconds_ahead = 360
    await client.refresh(record_id=scene.phone.record_id)
    path = f"{scene.phone.base}/devices"
    refused = await client.call("POST", path, json={"key": client.key.jwk})
    assert (refused.status_code, refused.json()["code"]) == (401, "step-up-needed")


async def test_only_the_key_of_the_token_can_be_registered(scene: Scene) -> None:
    client = await scene.world.sign_in(AMINA)
    path = f"{scene.phone.base}/devices"
    other = await client.call("POST", path, json={"key": ProofKey().jwk})
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")
    for key in ({}, {"kty": "EC"}, {**client.key.jwk, "d": "AAAA"}, {**client.key.jwk, "x": "AA"}):
        refused = await client.call("POST", path, json={"key": key})
        assert (refused.status_code, refused.json()["code"]) == (422, "business-rule")
    named = {"key": client.key.jwk, "name": "x" * 101}
    assert (await client.call("POST", path, json=named)).status_code == 422


async def test_a_key_that_is_no_phone_s_is_told_to_register(scene: Scene) -> None:
    client = await scene.world.sign_in(AMINA)
    for method, path, body in calls(scene.phone):
        refused = await client.call(method, f"{scene.phone.base}/{path}", **body)
        assert (refused.status_code, refused.json()["code"]) == (403, "device-unknown"), path
    assert (await client.call("GET", "/sync/v1/heads")).json()["code"] == "device-unknown"
    assert (await client.call("GET", "/fhir/Condition")).status_code == 200


async def test_nobody_else_may_call(scene: Scene) -> None:
    ben = await new_phone(scene.world, BEN)
    for method, path, body in calls(scene.phone):
        assert (await ben.client.call(method, f"{scene.phone.base}/{path}", **body)).status_code == 404, path
    ended = await ben.client.call("DELETE", f"{scene.phone.base}/devices/{scene.phone.device_id}")
    assert ended.status_code == 404
    ended = await ben.client.call("DELETE", f"{ben.base}/devices/{scene.phone.device_id}")
    assert ended.status_code == 404
    await scene.phone.changes()


async def test_the_owner_sees_each_phone_and_which_one_asks(scene: Scene) -> None:
    path = f"/records/{scene.phone.record_id}/devices"
    listed = (await scene.client.expect(200, "GET", path))["devices"]
    assert [(one["name"], one["this"]) for one in listed] == [
        ("Amina's phone", True),
        ("Amina's tablet", False),
    ]
    await scene.client.expect(204, "DELETE", f"{scene.phone.base}/devices/{scene.other.device_id}")
    listed = (await scene.client.expect(200, "GET", path))["devices"]
    assert [one["device_id"] for one in listed] == [scene.phone.device_id]
    gone = await scene.client.call("DELETE", f"{scene.phone.base}/devices/{scene.other.device_id}")
    assert gone.status_code == 204
    never = await scene.client.call("DELETE", f"{scene.phone.base}/devices/{uuid4()}")
    assert never.status_code == 404


async def test_an_eleventh_phone_is_refused_until_one_is_ended(scene: Scene) -> None:
    for number in range(DEVICES_MAX - 2):
        await new_phone(scene.world, AMINA, f"Phone {number}")
    client = await scene.world.sign_in(AMINA)
    path = f"{scene.phone.base}/devices"
    refused = await client.call("POST", path, json={"key": client.key.jwk})
    assert (refused.status_code, refused.json()["code"]) == (429, "limit-reached")
    await scene.client.expect(204, "DELETE", f"{path}/{scene.other.device_id}")
    await client.expect(201, "POST", path, json={"key": client.key.jwk})


async def test_a_phone_that_was_refused_needs_a_new_sign_in_to_come_later(scene: Scene) -> None:
    for number in range(DEVICES_MAX - 2):
        await new_phone(scene.world, AMINA, f"Phone {number}")
    client = await scene.world.sign_in(AMINA)
    path = f"{scene.phone.base}/devices"
    assert (await client.call("POST", path, json={"key": client.key.jwk})).status_code == 429
    await scene.client.expect(204, "DELETE", f"{path}/{scene.other.device_id}")
    scene.world.held.parts.storage.clock_offset = timedelta(minutes=6)
    client.key.seconds_ahead = 360
    await client.refresh(record_id=scene.phone.record_id)
    refused = await client.call("POST", path, json={"key": client.key.jwk})
    assert (refused.status_code, refused.json()["code"]) == (401, "step-up-needed")


async def test_an_ended_phone_gets_nothing_but_the_order_to_wipe(scene: Scene) -> None:
    await scene.other.changes()
    await scene.client.expect(204, "DELETE", f"{scene.phone.base}/devices/{scene.other.device_id}")
    lost = scene.other.client
    for method, path, body in calls(scene.other):
        refused = await lost.call(method, f"{scene.other.base}/{path}", **body)
        assert (refused.status_code, refused.json()["code"]) == (403, "wipe"), path
        assert "AMINA" not in refused.text
    for path in ("/fhir/Condition", f"/records/{scene.phone.record_id}/log", "/sync/v1/heads", "/me"):
        refused = await lost.call("GET", path)
        assert refused.status_code == 403, path
        assert "wipe" in refused.text
        assert "AMINA" not in refused.text
    renewed = await lost.token_request(refresh_form(lost, scene.phone.record_id))
    assert (renewed.status_code, renewed.json()["error"], renewed.json()["code"]) == (
        400,
        "invalid_grant",
        "wipe",
    )
    await scene.phone.changes()


async def test_an_ended_phone_confirms_that_it_is_empty_and_its_key_stays_dead(scene: Scene) -> None:
    lost = scene.other.client
    wiped = f"{scene.other.base}/devices/self/wiped"
    assert (await lost.call("POST", wiped, json={})).status_code == 404
    await scene.client.expect(204, "DELETE", f"{scene.phone.base}/devices/{scene.other.device_id}")
    lost.token = None
    assert (await lost.call("POST", wiped, json={})).status_code == 401
    stranger = ProofKey()
    for key, status in ((stranger, 404), (lost.key, 204), (lost.key, 404)):
        proof = {"DPoP": key.proof("POST", f"{lost.base_url}{wiped}")}
        assert (await lost.call("POST", wiped, json={}, headers=proof)).status_code == status
    renewed = await lost.token_request(refresh_form(lost, scene.phone.record_id))
    assert renewed.json()["error"] == "invalid_grant"
    assert "code" not in renewed.json()
    again = HeldClient(lost.http, lost.base_url, key=lost.key)
    form = await again.sign_in_form(PHONE, AMINA.held_subject)
    assert (await again.token_request(form)).json()["error"] == "invalid_grant"


async def test_coming_and_going_stand_in_the_log_and_syncing_once_a_day(scene: Scene) -> None:
    for _ in range(3):
        await scene.phone.changes()
    await scene.phone.one(create(weight(71)))
    await scene.other.one(create(weight(72)))
    await scene.client.expect(204, "DELETE", f"{scene.phone.base}/devices/{scene.other.device_id}")
    assert await sentences(scene) == [
        "You let your phone 'Amina's phone' keep a copy of your record.",
        "You let your phone 'Amina's tablet' keep a copy of your record.",
        "Your phone 'Amina's phone' brought its copy of your record up to date.",
        "Your phone 'Amina's tablet' brought its copy of your record up to date.",
        "You ended the access of your phone 'Amina's tablet'. It is told to delete its copy.",
    ]
    scene.world.held.parts.storage.clock_offset = timedelta(days=1)
    scene.client.key.seconds_ahead = 24 * 3600
    await scene.client.refresh(record_id=scene.phone.record_id)
    for _ in range(2):
        await scene.phone.changes()
    assert (await sentences(scene))[-1].startswith("Your phone 'Amina's phone'")
    assert len(await sentences(scene)) == 6


@pytest.mark.parametrize("path", ["snapshot", "digest", "changes"])
async def test_the_log_has_its_line_whatever_a_phone_asks_first(scene: Scene, path: str) -> None:
    head = (await scene.client.expect(200, "GET", "/sync/v1/heads"))[scene.phone.record_id]
    assert not [line for line in await sentences(scene) if "up to date" in line]
    asked = {"at": head, "prefix": "00"} if path == "digest" else {}
    assert (await scene.phone.call("GET", path, params=asked)).status_code == 200
    assert (await sentences(scene))[-1].startswith("Your phone 'Amina's phone' brought its copy")


async def sentences(scene: Scene) -> list[str]:
    """What the log says of phones."""
    log = await scene.client.expect(200, "GET", f"/records/{scene.phone.record_id}/log?limit=200")
    said = [entry["sentence"] for entry in log["entries"]]
    return [sentence for sentence in said if "phone" in sentence]


def refresh_form(client: HeldClient, record_id: str) -> dict[str, str]:
    """A request for a new token."""
    return {
        "grant_type": "refresh_token",
        "refresh_token": client.refresh_token or "",
        "client_id": client.client_id,
        "resource": f"{client.base_url}/records/{record_id}",
    }


def calls(phone: Phone) -> list[tuple[str, str, dict[str, Any]]]:
    """Every call of a phone, below its record."""
    return [
        ("GET", "changes", {}),
        ("GET", "snapshot", {}),
        ("GET", "segments/x", {}),
        ("GET", "digest", {"params": {"at": "x"}}),
        ("POST", "fetch", {"json": {"items": [["Condition", "x"]]}}),
        ("POST", "mutations", {"json": {"deviceId": phone.device_id, "mutations": []}}),
    ]
