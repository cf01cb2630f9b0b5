"""The limits of THREATS section 4, one below, at, and one above: what is over is refused before any work."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from server.commands.held_client import HeldClient
from server.devices_sync import limits
from server.http import front_door, places, receiving
from server.identity.tokens import TOKEN_CHARACTERS_MAX, TokenRefused, take_apart
from server.records.service import ANSWER_BYTES_MAX
from tests.api.matrix import PLAIN
from tests.api.phones import Phone, delete, mid, new_phone
from tests.extracts import bundle, encoded, observation, patient
from tests.held_app import served_held
from tests.world import AMINA, EVERYONE, World, extract_for, push

FHIR_JSON = {"Content-Type": "application/fhir+json"}
MB = 1024 * 1024
YEAR = 365 * 24 * 3600
OVER = "over"
WITHIN = "within"


class Scene:
    """A filled record, its owner, a doctor, a sender."""

    def __init__(self, world: World, owner: HeldClient, sender: HeldClient, phone: Phone) -> None:
        self.world = world
        self.owner = owner
        self.sender = sender
        self.phone = phone
        self.record_id = phone.record_id

    async def send(self, content: bytes, query: str = "?dry_run=true") -> httpx.Response:
        """An extract that nothing is kept of."""
        return await self.sender.call("POST", f"/extracts{query}", content=content, headers=FHIR_JSON)

    async def log_size(self) -> int:
        """How many entries the log has."""
        checkpoint = await self.owner.expect(200, "GET", f"/records/{self.record_id}/log?limit=200")
        return len(checkpoint["entries"])


class Limit(NamedTuple):
    """One row: the most that is taken, how to send so many, and what one more is answered."""

    most: int
    send: Callable[[Scene, int], Awaitable[httpx.Response]]
    status: int
    code: str = ""


@asynccontextmanager
async def opened_scene(folder: Path) -> AsyncIterator[Scene]:
    """A scene in a running application."""
    async with served_held(folder, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        await world.link(owner)
        await world.push(extract_for(AMINA, "AMINA"))
        sender = await world.integrator_client(world.practice)
        yield Scene(world, owner, sender, await new_phone(world, AMINA))


async def with_headers(scene: Scene, size: int) -> httpx.Response:
    headers = {
        "Authorization": f"DPoP {scene.owner.token}",
        "DPoP": scene.owner.key.proof("GET", f"{scene.owner.base_url}/me", token=scene.owner.token),
        "X-Filler": "",
    }
    request = scene.owner.http.build_request("GET", "/me", headers=headers)
    there = len("/me") + sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
    request.headers["X-Filler"] = "x" * (size - there)
    response = await scene.owner.http.send(request)
    if response.status_code == 431:
        # The proof was not spent, so that nothing was looked at.
        del request.headers["X-Filler"]
        assert (await scene.owner.http.send(request)).status_code == 200
    return response


async def with_body(scene: Scene, size: int) -> httpx.Response:
    path = f"/records/{scene.record_id}/end-all"
    body = b"{" + b" " * (size - 2) + b"}"
    return await scene.owner.call("POST", path, content=body, headers={"Content-Type": "application/json"})


async def with_length_unsaid(scene: Scene, size: int) -> httpx.Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"{" + b" " * (size - 2)
        yield b"}"

    path = f"/records/{scene.record_id}/end-all"
    return await scene.owner.call("POST", path, content=parts(), headers={"Content-Type": "application/json"})


async def with_form(scene: Scene, size: int) -> httpx.Response:
    form = "token=".ljust(size - len("&client_id=held-phone"), "x") + "&client_id=held-phone"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return await scene.owner.http.post("/oauth/revoke", content=form, headers=headers)


async def with_push(scene: Scene, size: int) -> httpx.Response:
    body = json.dumps({"deviceId": scene.phone.device_id, "mutations": []}).encode()
    headers = {"Content-Type": "application/json"}
    return await scene.phone.call("POST", "mutations", content=body.ljust(size), headers=headers)


async def with_mutations(scene: Scene, count: int) -> httpx.Response:
    first = delete({"type": "Observation", "id": PLAIN}, 1)
    return await scene.phone.send(*[first | {"mid": mid()} for _ in range(count)])


async def with_items(scene: Scene, count: int) -> httpx.Response:
    items = [["Condition", f"c{number}"] for number in range(count)]
    return await scene.phone.call("POST", "fetch", json={"items": items})


def pulling(query: Callable[[int], str]) -> Callable[[Scene, int], Awaitable[httpx.Response]]:
    """Pulls with a query made for this size."""

    async def send(scene: Scene, size: int) -> httpx.Response:
        return await scene.phone.call("GET", f"changes?{query(size)}")

    return send


def in_extract(value: Callable[[int], str]) -> Callable[[Scene, int], Awaitable[httpx.Response]]:
    """Sends JSON of this size where an extract is expected: its reading rules are judged first."""

    async def send(scene: Scene, size: int) -> httpx.Response:
        return await scene.send(f'{{"resourceType":"Bundle","x":{value(size)}}}'.encode())

    return send


def getting(path: Callable[[int], str]) -> Callable[[Scene, int], Awaitable[httpx.Response]]:
    """Gets an address made for this size."""

    async def send(scene: Scene, size: int) -> httpx.Response:
        return await scene.owner.call("GET", path(size).replace("RECORD", scene.record_id))

    return send


def granting(terms: Callable[[int], dict[str, Any]]) -> Callable[[Scene, int], Awaitable[httpx.Response]]:
    """Offers a grant on terms made for this size."""

    async def send(scene: Scene, size: int) -> httpx.Response:
        body = {"to": {"open": True}, "slice": {"current": True}} | terms(size)
        return await scene.owner.call("POST", f"/records/{scene.record_id}/grants", json=body)

    return send


def number_of(characters: int) -> str:
    """One number of few digits, that many characters long."""
    return "0." + "0" * (characters - 3) + "1"


LIMITS = {
    "header block": Limit(16 * 1024, with_headers, 431, "too-large"),
    "body": Limit(64 * 1024, with_body, 413, "too-large"),
    "body of unsaid length": Limit(64 * 1024, with_length_unsaid, 413, "too-large"),
    "form": Limit(64 * 1024, with_form, 413),
    "depth": Limit(64, in_extract(lambda n: "[" * (n - 1) + "]" * (n - 1)), 400, "body-refused"),
    "keys": Limit(512, in_extract(lambda n: json.dumps({f"k{i}": i for i in range(n)})), 400, "body-refused"),
    "array": Limit(10_000, in_extract(lambda n: json.dumps([1] * n)), 413, "too-large"),
    "string": Limit(MB, lambda scene, size: scene.send(extract_saying(size)), 400, "body-refused"),
    "number's characters": Limit(40, in_extract(number_of), 400, "body-refused"),
    "number's digits": Limit(18, in_extract(lambda n: "9" * n), 400, "body-refused"),
    "exponent": Limit(30, in_extract(lambda n: f"1e{n}"), 400, "body-refused"),
    "negative exponent": Limit(30, in_extract(lambda n: f"1e-{n}"), 400, "body-refused"),
    "id": Limit(64, getting(lambda n: f"/fhir/Condition/{'x' * n}"), 400),
    "page of a search": Limit(200, getting(lambda n: f"/fhir/Condition?_count={n}"), 400),
    "page of everything": Limit(200, getting(lambda n: f"/fhir/Patient/x/$everything?_count={n}"), 400),
    "page of the log": Limit(200, getting(lambda n: f"/records/RECORD/log?limit={n}"), 400, "bad-request"),
    "search parameters": Limit(10, getting(lambda n: "/fhir/Condition?" + "&".join(["code=x"] * n)), 400),
    "search text": Limit(4_096, getting(lambda n: f"/fhir/Condition?code={'x' * (n - 4)}"), 400),
    "grant length": Limit(YEAR, granting(lambda n: {"seconds": n}), 422, "business-rule"),
    "open offer's life": Limit(600, granting(lambda n: {"offer_seconds": n}), 422, "business-rule"),
    "push": Limit(512 * 1024, with_push, 413, "limits"),
    "mutations of a push": Limit(100, with_mutations, 413, "limits"),
    "items of a fetch": Limit(500, with_items, 413, "limits"),
    "rows of a sync page": Limit(500, pulling(lambda n: f"limit={n}"), 400, "bad-request"),
    "bytes of a sync page": Limit(MB, pulling(lambda n: f"bytes={n}"), 400, "bad-request"),
    "wait for changes": Limit(50, pulling(lambda n: f"wait={n}"), 400, "bad-request"),
    "reason": Limit(1_000, granting(lambda n: {"reason": "x" * n}), 422, "business-rule"),
}
HEAVY = {
    "extract": Limit(20 * MB, lambda scene, size: scene.send(extract_of(size)), 413, "too-large"),
    "entries": Limit(10_000, lambda scene, size: scene.send(extract_with(size)), 413, "too-large"),
}


async def test_every_limit_holds_at_its_edge(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        table = {name: await judged(scene, limit) for name, limit in LIMITS.items()}
    tell(table)
    assert [name for name, row in table.items() if row != [WITHIN, WITHIN, OVER]] == []


@pytest.mark.slow
async def test_every_limit_of_an_extract_holds_at_its_edge(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        table = {name: await judged(scene, limit) for name, limit in HEAVY.items()}
    tell(table)
    assert [name for name, row in table.items() if row != [WITHIN, WITHIN, OVER]] == []


def test_a_token_over_its_limit_is_refused_before_it_is_decoded() -> None:
    told: list[str] = []
    for size in (TOKEN_CHARACTERS_MAX - 1, TOKEN_CHARACTERS_MAX, TOKEN_CHARACTERS_MAX + 1):
        with pytest.raises(TokenRefused) as refused:
            take_apart("x" * size)
        told.append(str(refused.value))
    assert ["too long" in one for one in told] == [False, False, True]
    assert TOKEN_CHARACTERS_MAX == 8 * 1024


async def test_a_sixth_live_offer_is_refused(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        statuses = [(await granting(lambda _: {})(scene, 0)).status_code for _ in range(6)]
        assert statuses[:5] == [201] * 5
        assert 400 <= statuses[5] < 500


@pytest.mark.slow
async def test_an_answer_of_ten_megabytes_is_given_and_a_byte_more_is_not(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        await scene.owner.call("POST", f"/records/{scene.record_id}/end-all", json={})
        large = [note_of(f"large-{number}", 1_000_000) for number in range(10)]
        await send_items(scene, large)
        found = await scene.owner.expect(200, "GET", "/fhir/Observation?code=long&_count=50")
        ids = [entry["resource"]["id"] for entry in found["entry"]]
        sizes = [len((await scene.owner.call("GET", f"/fhir/Observation/{one}")).content) for one in ids]
        await send_items(scene, [note_of("last", 100_000)])
        last = next(iter(await others(scene, ids)))
        around = len((await scene.owner.call("GET", f"/fhir/Observation/{last}")).content) - 100_000
        statuses: list[int] = []
        for step in (-1, 0, 1):
            await send_items(scene, [note_of("last", ANSWER_BYTES_MAX - sum(sizes) - around + step)])
            before = await scene.log_size()
            statuses.append(
                (await scene.owner.call("GET", "/fhir/Observation?code=long&_count=50")).status_code
            )
            assert await scene.log_size() - before == (1 if statuses[-1] == 200 else 0)
        assert statuses == [200, 200, 413]


async def test_the_sixty_first_push_of_a_minute_has_to_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits.PUSHES_PER_MINUTE == 60
    async with opened_scene(tmp_path) as scene:
        sync, minute = scene.world.held.parts.devices_sync, [1_000.0]
        monkeypatch.setattr(sync, "push_pace", limits.Pace(limits.PUSHES_PER_MINUTE, lambda: minute[0]))
        statuses = [(await scene.phone.send()).status_code for _ in range(60)]
        assert set(statuses) == {200}
        slow = await scene.phone.send()
        assert (slow.status_code, slow.json()["code"], slow.headers["Retry-After"]) == (429, "slow", "20")
        assert (await scene.phone.call("GET", "changes")).status_code == 200
        minute[0] += 20
        assert (await scene.phone.send()).status_code == 200


async def test_what_is_over_a_limit_of_sync_is_told_the_limits(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        for refused in (await with_push(scene, 512 * 1024 + 1), await with_mutations(scene, 101)):
            assert refused.json()["limits"] == json.loads(refused.headers["Sync-Limits"])
            assert refused.json()["limits"] == scene.phone.registered["limits"]


async def test_a_fifth_request_of_one_token_has_to_wait(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        async with held_open(scene, [scene.sender] * (places.PER_TOKEN_MAX - 1)):
            assert (await scene.sender.call("GET", "/me")).status_code == 200
        async with held_open(scene, [scene.sender] * places.PER_TOKEN_MAX):
            await is_told_to_wait(scene.sender.call("GET", "/me"))
            assert (await scene.owner.call("GET", "/me")).status_code == 200
        assert (await scene.sender.call("GET", "/me")).status_code == 200
        assert len(scene.world.held.app.places) == 0


async def test_a_ninth_request_of_one_integrator_has_to_wait(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        senders = [await scene.world.integrator_client(scene.world.practice) for _ in range(3)]
        other = await scene.world.integrator_client(scene.world.hospital)
        eight = (senders[:2] * places.PER_TOKEN_MAX)[: places.PER_INTEGRATOR_MAX]
        async with held_open(scene, eight[:-1]):
            assert (await senders[2].call("GET", "/me")).status_code == 200
        async with held_open(scene, eight):
            await is_told_to_wait(senders[2].call("GET", "/me"))
            assert (await other.call("GET", "/me")).status_code == 200
        assert len(scene.world.held.app.places) == 0


async def test_the_two_hundred_and_first_request_has_to_wait(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        nobody = scene.world.held.client()
        async with held_open(scene, [nobody] * (places.PER_PROCESS_MAX - 1), "/oauth/revoke"):
            assert (await nobody.call("GET", "/health")).status_code == 200
        async with held_open(scene, [nobody] * places.PER_PROCESS_MAX, "/oauth/revoke"):
            await is_told_to_wait(nobody.call("GET", "/health"))
            await is_told_to_wait(nobody.call("GET", "/fhir/metadata"))
            await is_told_to_wait(nobody.call("POST", "/oauth/token"))


async def test_a_body_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert receiving.BODY_SECONDS_MAX == 30
    async with opened_scene(tmp_path) as scene:
        monkeypatch.setattr(receiving, "BODY_SECONDS_MAX", 0.1)
        refused = await scene.sender.call("POST", "/extracts", content=never(), headers=FHIR_JSON)
        assert (refused.status_code, refused.json()["code"]) == (408, "too-slow")


async def test_a_request_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert front_door.REQUEST_SECONDS_MAX == 60
    async with opened_scene(tmp_path) as scene:
        monkeypatch.setattr(front_door, "REQUEST_SECONDS_MAX", 0.1)
        await is_told_to_wait(scene.sender.call("POST", "/extracts", content=never(), headers=FHIR_JSON))


async def judged(scene: Scene, limit: Limit) -> list[str]:
    """What one below, the limit itself and one above come to."""
    row: list[str] = []
    for size in (limit.most - 1, limit.most, limit.most + 1):
        response = await limit.send(scene, size)
        code = response.json().get("code", "") if response.content else ""
        is_over = response.status_code == limit.status and (not limit.code or code == limit.code)
        row.append(OVER if is_over else WITHIN if response.status_code < 500 else str(response.status_code))
    return row


def tell(table: dict[str, list[str]]) -> None:
    """One line of JSON."""
    held = sum(row == [WITHIN, WITHIN, OVER] for row in table.values())
    print(json.dumps({"test": "l", "limits": len(table), "held_at_their_edge": held, "table": table}))


def extract_of(size: int) -> bytes:
    """An extract of exactly that many bytes."""
    filler = [{"resourceType": "Basic", "id": f"b{number}", "text": ""} for number in range(20)]
    person = patient(str(AMINA.nhs_number), str(AMINA.birth_date))
    left = size - len(encoded(bundle([person, *filler])))
    for item in filler:
        item["text"] = "x" * min(left, MB)
        left -= len(item["text"])
    made = encoded(bundle([person, *filler]))
    assert len(made) == size
    return made


def extract_saying(characters: int) -> bytes:
    """An extract with one string of that many characters."""
    return encoded(bundle([{"resourceType": "Basic", "text": "x" * characters}]))


def extract_with(entries: int) -> bytes:
    """An extract of that many resources."""
    person = patient(str(AMINA.nhs_number), str(AMINA.birth_date))
    return encoded(bundle([person, *([{"resourceType": "Basic"}] * (entries - 1))]))


def note_of(source_id: str, characters: int) -> dict[str, Any]:
    """An observation with that much text, found by the code `long`."""
    coding = [{"system": "https://codes.example", "code": "long"}]
    return observation(source_id, code={"coding": coding}, note=[{"text": "x" * characters}])


async def send_items(scene: Scene, items: list[dict[str, Any]]) -> None:
    """Pushes items and waits."""
    person = patient(str(AMINA.nhs_number), str(AMINA.birth_date))
    report = await push(scene.sender, encoded(bundle([person, *items])))
    assert report["counts"]["quarantined"] == 0, report


async def others(scene: Scene, ids: list[str]) -> list[str]:
    """The found items that are not among these."""
    found = await scene.owner.expect(200, "GET", "/fhir/Observation?code=long&_count=50")
    return [entry["resource"]["id"] for entry in found["entry"] if entry["resource"]["id"] not in ids]


@asynccontextmanager
async def held_open(scene: Scene, clients: list[HeldClient], path: str = "/extracts") -> AsyncIterator[None]:
    """Requests of these clients whose bodies do not end before the block does."""
    go_on = asyncio.Event()
    waiting = 0

    async def slow() -> AsyncIterator[bytes]:
        nonlocal waiting
        waiting += 1
        yield b"token=x"
        await go_on.wait()

    content_type = "application/fhir+json" if path == "/extracts" else "application/x-www-form-urlencoded"
    headers = {"Content-Type": content_type}
    tasks = [
        asyncio.create_task(client.call("POST", path, content=slow(), headers=headers)) for client in clients
    ]
    try:
        while waiting < len(tasks):
            await asyncio.sleep(0.01)
        yield
    finally:
        go_on.set()
        answers = await asyncio.gather(*tasks)
    assert {answer.status_code for answer in answers} <= {400, 401, 422}, answers


async def is_told_to_wait(call: Awaitable[httpx.Response]) -> None:
    """503 with Retry-After."""
    response = await call
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) >= 1


async def never() -> AsyncIterator[bytes]:
    """A body of which only the beginning comes."""
    yield b"{"
    await asyncio.sleep(30)
