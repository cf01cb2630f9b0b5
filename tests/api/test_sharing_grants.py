"""The grant calls over HTTP: shapes as the API page writes them, and who may not call them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest_asyncio

from server.commands.held_client import ACCESS_GRANT, OFFER_CODE, REDEMPTION, HeldClient
from tests.held_app import served_held
from tests.world import AMINA, BEN, EVERYONE, OKAFOR, PATEL, World, offer, record_id_of, redeem

GRANT = {
    "to": {"open": True},
    "slice": {"current": True, "categories": ["medicines"], "hide": ["Condition/2"], "sensitive": ["hiv"]},
    "purpose": "TREAT",
    "seconds": 86_400,
}
REFUSED = {"error": "invalid_grant"}


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    # The application's start and end must be in one task, which a fixture's two halves are not.
    started: asyncio.Queue[World] = asyncio.Queue()
    over = asyncio.Event()

    async def serve() -> None:
        async with served_held(tmp_path, EVERYONE) as held:
            await started.put(World(held))
            await over.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(serve())
        yield await started.get()
        over.set()


async def test_a_grant_from_offer_to_receipt(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    grants = f"/records/{await record_id_of(owner)}/grants"

    offered = await owner.expect(201, "POST", grants, json=GRANT)
    assert set(offered) == {"grant_id", "version", "state", "sentence", "recipient_sentence", "offer"}
    assert set(offered["offer"]) >= {"code", "link", "qr_svg", "expires_in"}
    assert (offered["version"], offered["state"], offered["offer"]["expires_in"]) == (1, "offered", 600)
    assert offered["offer"]["link"].startswith("http://held.test/redeem#")

    waiting = await doctor.exchange(offered["offer"]["code"], OFFER_CODE)
    assert waiting.status_code == 400
    assert waiting.json() == waiting.json() | {"error": "authorization_pending", "interval": 2}
    path = f"{grants}/{offered['grant_id']}"
    pending = (await owner.expect(200, "GET", path))["pending"]
    assert pending == {
        "redemption": waiting.json()["redemption"],
        "name": "Asha Patel",
        "role": "GP",
        "organisation": "Beeston Practice",
        "match": waiting.json()["match"],
    }
    assert (await doctor.exchange(pending["redemption"], REDEMPTION)).json()[
        "error"
    ] == "authorization_pending"

    answer = {"redemption": pending["redemption"], "match": pending["match"], "allow": True}
    shown = await owner.expect(200, "POST", f"{path}/confirm", json=answer)
    assert shown["state"] == "active"
    assert shown["redeemer"]["name"] == "Asha Patel"
    assert shown["to"] == {"open": True}
    assert shown["slice"] == {
        "current": True,
        "categories": ["medicines"],
        "conditions": [],
        "add": [],
        "hide": ["Condition/2"],
        "sensitive": ["hiv"],
    }
    assert shown["items_seen"] == 0
    assert "pending" not in shown

    token = (await doctor.exchange(pending["redemption"], REDEMPTION)).json()
    extra = ("grant", "grant_version", "patient", "sentence", "ends_at", "needs", "may_not_be_whole")
    assert all(name in token for name in extra)
    renewed = await doctor.exchange(offered["grant_id"], ACCESS_GRANT)
    assert renewed.status_code == 200

    receipt = (await owner.expect(200, "POST", f"{path}/end", json={"reason": "seen"}))["receipt"]
    assert set(receipt) == {
        "grant_id",
        "effective_at",
        "seen",
        "exports",
        "cannot_undo",
        "sentence",
        "jws",
    }
    assert (await owner.expect(200, "POST", f"{path}/end", json={}))["receipt"] == receipt
    refused = await doctor.exchange(offered["grant_id"], ACCESS_GRANT)
    assert refused.status_code == 400
    assert refused.json().keys() == REFUSED.keys() | (refused.json().keys() & {"error_description"})
    assert refused.json()["error"] == "invalid_grant"
    listed = await owner.expect(200, "GET", grants)
    assert [grant["state"] for grant in listed["grants"]] == ["ended"]


async def test_the_grant_is_a_consent_that_only_its_owner_sees(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    shared = await redeem(owner, doctor, await offer(owner, GRANT["slice"]))
    consent = await owner.expect(200, "GET", f"/fhir/Consent/{shared.grant_id}")
    assert consent["status"] == "active"
    assert "Condition/2" in json.dumps(consent)
    theirs = await shared.client.call("GET", f"/fhir/Consent/{shared.grant_id}")
    absent = await shared.client.call("GET", f"/fhir/Consent/{uuid4()}")
    assert theirs.status_code == absent.status_code == 404
    assert theirs.content == absent.content


async def test_nothing_a_recipient_is_given_says_what_is_kept_back(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    told: list[Any] = []
    for shared_slice in ({"current": True}, {"current": True, "hide": ["Condition/2", "Observation/3"]}):
        shared = await redeem(owner, doctor, await offer(owner, shared_slice))
        payload = json.loads(_decoded(shared.answer["access_token"].split(".")[1]))
        differs = {"access_token", "grant", "ends_at"}
        answer = {name: value for name, value in shared.answer.items() if name not in differs}
        claims = {
            name: value for name, value in payload.items() if name not in {"grant", "jti", "iat", "exp"}
        }
        answer.pop("sentence")
        assert "Condition" not in json.dumps([answer, claims])
        assert "mental" not in shared.answer["sentence"]
        told.append((answer, claims, shared.answer["sentence"].partition(" until ")[0]))
    assert told[0] == told[1]


async def test_nobody_but_the_owner_reaches_the_grants(world: World) -> None:
    owner, other = await world.sign_in(AMINA), await world.sign_in(BEN)
    doctor = await world.sign_in(PATEL)
    shared = await redeem(owner, doctor, await offer(owner, {"current": True}))
    without_record = await world.sign_in(AMINA, with_record=False)
    nobody = world.held.client()
    record = f"/records/{await record_id_of(owner)}"
    path = f"{record}/grants/{shared.grant_id}"
    answer = {"redemption": str(uuid4()), "match": "47", "allow": True}
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"{record}/grants", None),
        ("POST", f"{record}/grants", GRANT),
        ("GET", path, None),
        ("POST", f"{path}/confirm", answer),
        ("POST", f"{path}/narrow", {"base_version": 3, "slice": {"current": False}}),
        ("POST", f"{path}/extend", {"base_version": 3, "ends_at": "2100-01-01T00:00:00Z"}),
        ("POST", f"{path}/end", {}),
        ("POST", f"{record}/end-all", {}),
    ]
    for method, url, body in calls:
        for who in (other, doctor, shared.client, without_record):
            refused = await _call(who, method, url, body)
            assert refused.status_code == 404, (method, url, refused.text)
            assert refused.json()["code"] == "not-found"
        assert (await _call(nobody, method, url, body)).status_code == 401
    shown = await owner.expect(200, "GET", path)
    assert (shown["state"], shown["version"]) == ("active", 3)


async def test_a_body_that_is_not_understood_is_refused(world: World) -> None:
    owner = await world.sign_in(AMINA)
    grants = f"/records/{await record_id_of(owner)}/grants"
    bad: list[tuple[int, dict[str, Any]]] = [
        (400, GRANT | {"forever": True}),
        (400, GRANT | {"seconds": "long"}),
        (400, {"slice": {"current": True}}),
        (400, GRANT | {"slice": {"everything": True}}),
        (422, GRANT | {"to": {}}),
        (422, GRANT | {"to": {"open": True, "professional": {"subject": "x"}}}),
        (422, GRANT | {"to": {"guest": {"name": "Jo"}}}),
        (422, GRANT | {"seconds": 0}),
        (422, GRANT | {"seconds": 366 * 86_400}),
        (422, GRANT | {"offer_seconds": 601}),
        (422, GRANT | {"purpose": "HMARKT"}),
        (422, GRANT | {"unattended": True}),
        (422, GRANT | {"reason": "x" * 1_001}),
        (422, GRANT | {"slice": {"categories": ["gossip"]}}),
        (422, GRANT | {"slice": {"hide": ["../etc"]}}),
    ]
    for status, body in bad:
        refused = await owner.call("POST", grants, json=body)
        assert refused.status_code == status, (body, refused.text)
    assert (await owner.call("GET", f"{grants}?state=active")).status_code == 400
    assert (await owner.call("GET", f"{grants}/not-an-id")).status_code == 404
    assert (await owner.expect(200, "GET", grants)) == {"grants": []}
    answer = {"redemption": "not-an-id", "match": "47", "allow": True}
    assert (await owner.call("POST", f"{grants}/{uuid4()}/confirm", json=answer)).status_code == 422


async def test_an_offer_needs_a_fresh_sign_in_and_an_end_does_not(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    record_id = await record_id_of(owner)
    shared = await redeem(owner, doctor, await offer(owner, {"current": True}))
    world.held.parts.storage.clock_offset += timedelta(seconds=301)
    owner.key.seconds_ahead = 301
    await owner.refresh(record_id=record_id)
    refused = await owner.call("POST", f"/records/{record_id}/grants", json=GRANT)
    assert refused.status_code == 401
    assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
    await owner.expect(200, "POST", f"/records/{record_id}/grants/{shared.grant_id}/end", json={})


async def test_less_is_shown_from_the_moment_it_is_asked_for(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    record_id = await record_id_of(owner)
    shared = await redeem(owner, doctor, await offer(owner, {"categories": ["medicines", "problems"]}))
    path = f"/records/{record_id}/grants/{shared.grant_id}"
    less = {"base_version": 3, "slice": {"categories": ["problems"], "hide": ["Condition/2"]}}
    shown = await owner.expect(200, "POST", f"{path}/narrow", json=less)
    assert shown == await owner.expect(200, "GET", path)
    assert (shown["version"], shown["slice"]["categories"]) == (4, ["problems"])
    assert "the item you kept back" in shown["sentence"]

    stopped = await shared.client.call("GET", "/fhir/Condition")
    assert stopped.status_code == 401
    assert 'error="invalid_token"' in stopped.headers["WWW-Authenticate"]
    renewed = (await doctor.exchange(shared.grant_id, ACCESS_GRANT)).json()
    assert renewed["grant_version"] == 4
    assert "kept back" not in json.dumps(renewed)
    reader = doctor.with_token(renewed["access_token"])
    assert (await reader.call("GET", "/fhir/Condition")).status_code == 200
    consent = await owner.expect(200, "GET", f"/fhir/Consent/{shared.grant_id}")
    assert consent["extension"] == [{"url": "urn:held:extension:grant-version", "valueInteger": 4}]
    logged = (await owner.expect(200, "GET", f"/records/{record_id}/log"))["entries"]
    assert [entry["sentence"] for entry in logged if entry["sentence"].startswith("You reduced access")]


async def test_what_is_not_less_or_not_of_what_stands_is_refused(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    shared = await redeem(owner, doctor, await offer(owner, {"categories": ["medicines"]}))
    path = f"/records/{await record_id_of(owner)}/grants/{shared.grant_id}"
    ends_at = (await owner.expect(200, "GET", path))["ends_at"]
    more = {"categories": ["medicines", "problems"]}
    bad: list[tuple[int, str, dict[str, Any]]] = [
        (422, "narrow", {"base_version": 3, "slice": more}),
        (422, "narrow", {"base_version": 3, "ends_at": "2100-01-01T00:00:00Z"}),
        (422, "narrow", {"base_version": 3, "ends_at": "2020-01-01T00:00:00Z"}),
        (422, "narrow", {"base_version": 3}),
        (409, "narrow", {"base_version": 2, "slice": {"current": False}}),
        (409, "extend", {"base_version": 4, "ends_at": "2100-01-01T00:00:00Z"}),
        (422, "extend", {"base_version": 3, "ends_at": "2100-01-01T00:00:00Z"}),
        (422, "extend", {"base_version": 3, "ends_at": ends_at}),
        (422, "extend", {"base_version": 3, "ends_at": "9999-12-31T23:59:59-12:00"}),
        (422, "extend", {"base_version": 3, "ends_at": "0001-01-01T00:00:00+12:00"}),
        (422, "extend", {"base_version": 3, "ends_at": "2100-01-01T00:00:00"}),
        (422, "extend", {"base_version": 3, "ends_at": "4102444800"}),
        (422, "narrow", {"base_version": 3, "ends_at": "on Friday"}),
        (400, "extend", {"base_version": 3, "ends_at": 4_102_444_800}),
        (400, "extend", {"base_version": 3}),
        (400, "extend", {"base_version": "three", "ends_at": "2100-01-01T00:00:00Z"}),
        (400, "narrow", {"slice": {"current": False}}),
        (400, "narrow", {"base_version": 3, "slice": {"current": False}, "forever": True}),
    ]
    for status, call, body in bad:
        refused = await owner.call("POST", f"{path}/{call}", json=body)
        assert refused.status_code == status, (call, body, refused.text)
    assert (await owner.call("POST", f"{path}/narrow", json=bad[4][2])).json()["code"] == "stale"
    assert (await owner.call("POST", f"{path}/narrow", json=bad[0][2])).json()["code"] == "business-rule"
    assert (await owner.expect(200, "GET", path))["version"] == 3
    assert (await shared.client.call("GET", "/fhir/Condition")).status_code == 200
    await owner.expect(200, "POST", f"{path}/end", json={})
    for call, body in (("narrow", {"slice": {"current": False}}), ("extend", {"ends_at": ends_at})):
        refused = await owner.call("POST", f"{path}/{call}", json={"base_version": 4, **body})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_more_time_needs_a_fresh_sign_in_and_less_does_not(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    record_id = await record_id_of(owner)
    shared = await redeem(owner, doctor, await offer(owner, {"categories": ["medicines"]}))
    path = f"/records/{record_id}/grants/{shared.grant_id}"
    ends_at = datetime.fromisoformat((await owner.expect(200, "GET", path))["ends_at"])
    later = (ends_at + timedelta(days=6)).isoformat()
    shown = await owner.expect(200, "POST", f"{path}/extend", json={"base_version": 3, "ends_at": later})
    assert datetime.fromisoformat(shown["ends_at"]) == ends_at + timedelta(days=6)
    assert (await shared.client.call("GET", "/fhir/Condition")).status_code == 401

    world.held.parts.storage.clock_offset += timedelta(seconds=301)
    owner.key.seconds_ahead = 301
    await owner.refresh(record_id=record_id)
    later = (ends_at + timedelta(days=7)).isoformat()
    refused = await owner.call("POST", f"{path}/extend", json={"base_version": 4, "ends_at": later})
    assert refused.status_code == 401
    assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
    less = {"base_version": 4, "ends_at": ends_at.isoformat()}
    assert (await owner.expect(200, "POST", f"{path}/narrow", json=less))["version"] == 5


async def test_end_all_ends_what_each_professional_holds(world: World) -> None:
    owner = await world.sign_in(AMINA)
    doctor, pharmacist = await world.sign_in(PATEL), await world.sign_in(OKAFOR)
    held = [await redeem(owner, who, await offer(owner, {"current": True})) for who in (doctor, pharmacist)]
    record_id = await record_id_of(owner)
    for shared in held:
        assert (await shared.client.call("GET", "/fhir/Condition")).status_code == 200
    answer = await owner.expect(200, "POST", f"/records/{record_id}/end-all", json={})
    assert {receipt["grant_id"] for receipt in answer["receipts"]} == {one.grant_id for one in held}
    assert answer["devices_ended"] == 0
    for shared in held:
        assert (await shared.client.call("GET", "/fhir/Condition")).status_code == 401


async def test_a_no_gives_nothing(world: World) -> None:
    owner, doctor = await world.sign_in(AMINA), await world.sign_in(PATEL)
    offered = await offer(owner, {"current": True})
    path = f"/records/{await record_id_of(owner)}/grants/{offered['grant_id']}"
    waiting = (await doctor.exchange(offered["offer"]["code"], OFFER_CODE)).json()
    answer = {"redemption": waiting["redemption"], "match": "", "allow": False}
    assert (await owner.expect(200, "POST", f"{path}/confirm", json=answer))["state"] == "rejected"
    refused = await doctor.exchange(waiting["redemption"], REDEMPTION)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


async def _call(who: HeldClient, method: str, url: str, body: Any) -> httpx.Response:
    return await who.call(method, url, json=body) if method == "POST" else await who.call(method, url)


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
