"""Bodies nobody should send, to every route that takes one: a clear refusal, without a word of it."""

import gzip
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx

from server.commands.held_client import HeldClient
from server.http.access import Access
from tests.api.matrix import Route, routes_of
from tests.held_app import ServedHeld, served_held
from tests.world import AMINA, EVERYONE, PATEL, World, extract_for, offer, record_id_of

CPU_SECONDS_MAX = 0.1
SECRET = "Qzvxsecret"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


class Sent(NamedTuple):
    """A body and the headers it comes with."""

    body: bytes
    headers: dict[str, str]


def of_json(body: str | bytes, content_type: str = JSON, **headers: str) -> Sent:
    """A body said to be JSON."""
    return Sent(body if isinstance(body, bytes) else body.encode(), {"Content-Type": content_type, **headers})


def of_form(body: str | bytes, content_type: str = FORM, **headers: str) -> Sent:
    """A body said to be a form."""
    return of_json(body, content_type, **headers)


def nested(depth: int) -> str:
    """An object that deep."""
    return '{"a":' * depth + f'"{SECRET}"' + "}" * depth


JSON_BODIES = {
    "empty": of_json(""),
    "cut short": of_json(f'{{"a":"{SECRET}"'),
    "comma too many": of_json(f'{{"a":"{SECRET}",}}'),
    "single quotes": of_json(f"{{'a':'{SECRET}'}}"),
    "comment": of_json(f'{{"a":"{SECRET}"}} // {SECRET}'),
    "two values": of_json("{}{}"),
    "65 deep": of_json(nested(65)),
    "6,000 deep": of_json(nested(6_000)),
    "arrays 60,000 deep": of_json("[" * 60_000),
    "duplicate key": of_json(f'{{"a":"{SECRET}","a":"{SECRET}"}}'),
    "duplicate key, escaped": of_json(f'{{"a":"{SECRET}","\\u0061":1}}'),
    "513 keys": of_json(json.dumps({f"k{number}": SECRET for number in range(513)})),
    "10,001 elements": of_json(json.dumps([1] * 10_001)),
    "NUL": of_json(b'{"a":"' + SECRET.encode() + b'\x00"}'),
    "NUL, escaped": of_json(f'{{"a":"{SECRET}\\u0000"}}'),
    "control character": of_json(f'{{"a":"{SECRET}\\u0007"}}'),
    "lone surrogate": of_json(f'{{"a":"{SECRET}\\ud800"}}'),
    "lone low surrogate": of_json(f'{{"a":"{SECRET}\\udc00"}}'),
    "huge exponent": of_json('{"seconds":1e2000000}'),
    "exponent 31": of_json('{"seconds":1e31}'),
    "19 digits": of_json('{"seconds":1234567890123456789}'),
    "60,000 digits": of_json('{"seconds":' + "9" * 60_000 + "}"),
    "NaN": of_json('{"seconds":NaN}'),
    "infinity": of_json('{"seconds":-Infinity}'),
    "not UTF-8": of_json(b'{"a":"' + SECRET.encode() + b'\xff"}'),
    "byte order mark": of_json(b"\xef\xbb\xbf{}"),
    "UTF-16": of_json(f'{{"a":"{SECRET}"}}'.encode("utf-16")),
    "array": of_json(f'["{SECRET}"]'),
    "string": of_json(f'"{SECRET}"'),
    "number": of_json("1"),
    "null": of_json("null"),
    "unknown field": of_json(f'{{"{SECRET}":"{SECRET}"}}'),
    "plain text": of_json(SECRET, "text/plain"),
    "no content type": of_json("{}", ""),
    "XML": of_json(f"<a>{SECRET}</a>", "application/fhir+xml"),
    "form for JSON": of_json(f"a={SECRET}", FORM),
    "multipart": of_json(f"--x\r\n\r\n{SECRET}\r\n--x--", "multipart/form-data; boundary=x"),
    "compressed": of_json(gzip.compress(b"{}"), **{"Content-Encoding": "gzip"}),
    "said to be compressed": of_json("{}", **{"Content-Encoding": "br"}),
    "length not a number": of_json("{}", **{"Content-Length": "two"}),
    "length of 5,000 digits": of_json("{}", **{"Content-Length": "9" * 5_000}),
    "negative length": of_json("{}", **{"Content-Length": "-1"}),
    "length announced too large": of_json("{}", **{"Content-Length": str(20 * 1024 * 1024 + 1)}),
}
TOO_LARGE_FOR_OTHERS = of_json(b'{"a":"' + b"x" * 65_536 + b'"}')
FORM_BODIES = {
    "not UTF-8": of_form(b"token=\xff\xfe"),
    "not UTF-8, escaped": of_form("token=%ff%fe&_count=%ff"),
    "no equals sign": of_form(SECRET),
    "65 fields": of_form("&".join(f"f{number}={SECRET}" for number in range(65))),
    "a name twice": of_form("grant_type=x&grant_type=x&token=1&token=1&_count=1&_count=1"),
    "too large": of_form("token=" + "x" * 65_536),
    "JSON": of_form(f'{{"token":"{SECRET}"}}', JSON),
    "JSON said to be a form": of_form(f'{{"token":"{SECRET}"}}'),
    "plain text": of_form(f"token={SECRET}", "text/plain"),
    "no content type": of_form("token=x", ""),
    "multipart": of_form("--x--", "multipart/form-data; boundary=x"),
    "compressed": of_form(gzip.compress(b"token=x"), **{"Content-Encoding": "gzip"}),
    "length not a number": of_form("token=x", **{"Content-Length": "two"}),
    "length of 5,000 digits": of_form("token=x", **{"Content-Length": "9" * 5_000}),
    "length announced too large": of_form("token=x", **{"Content-Length": "65537"}),
}


class Desk:
    """Someone entitled to each route that takes a body, so that the body alone is what is refused."""

    def __init__(self, held: ServedHeld) -> None:
        self.held = held
        self.values: dict[str, str] = {"resource_type": "Condition"}
        self.owner = held.client()
        self.integrator = held.client()
        self.professional = held.client()

    async def open(self) -> None:
        world = World(self.held)
        await world.register_integrators()
        self.owner = await world.sign_in(AMINA)
        await world.link(self.owner)
        await world.push(extract_for(AMINA, "AMINA"))
        self.integrator = await world.integrator_client(world.practice)
        self.professional = await world.sign_in(PATEL)
        self.values["record_id"] = await record_id_of(self.owner)
        self.values |= {name: str(uuid4()) for name in ("notice_id", "correction_id", "logical_id")}
        self.values["grant_id"] = (await offer(self.owner, {"current": True}))["grant_id"]

    def client_for(self, route: Route) -> HeldClient:
        if route.access is Access.PUBLIC:
            return self.held.client()
        if route.access is Access.PROFESSIONAL:
            return self.professional
        return self.integrator if route.access in {Access.INTEGRATOR, Access.TASKS} else self.owner

    def body_routes(self) -> list[Route]:
        return [route for route in routes_of(self.held.app.application) if route.method in {"POST", "PUT"}]

    async def send(self, route: Route, sent: Sent) -> httpx.Response:
        values, headers = self.values, sent.headers
        if route.access is Access.TASKS:
            values, headers = values | {"resource_type": "Task"}, headers | {"If-Match": 'W/"1"'}
        path = route.path.format(**values)
        return await self.client_for(route).call(route.method, path, content=sent.body, headers=headers)


@asynccontextmanager
async def opened_desk(folder: Path) -> AsyncGenerator[Desk]:
    """A desk at a running application."""
    async with served_held(folder, EVERYONE) as held:
        desk = Desk(held)
        await desk.open()
        yield desk


async def test_every_route_refuses_every_bad_body_clearly_and_quickly(tmp_path: Path) -> None:
    async with opened_desk(tmp_path) as desk:
        wrong: list[str] = []
        sent, slowest = 0, 0.0
        for route in desk.body_routes():
            for name, body in bodies_for(route).items():
                seconds, response = await timed(desk, route, body)
                sent, slowest = sent + 1, max(slowest, seconds)
                wrong += [
                    f"{route.method} {route.path} {name}: {problem}"
                    for problem in problems_of(route, response, seconds)
                ]
        routes = len(desk.body_routes())
        figures = {
            "test": "l",
            "routes": routes,
            "bodies": sent,
            "wrong": len(wrong),
            "slowest_cpu_ms": round(slowest * 1e3, 1),
        }
        print(json.dumps(figures))
        assert routes >= 11
        assert not wrong, "\n".join(wrong)


async def test_a_body_within_the_rules_is_still_taken(tmp_path: Path) -> None:
    async with opened_desk(tmp_path) as desk:
        record_id = desk.values["record_id"]
        await desk.owner.expect(201, "POST", f"/records/{record_id}/grants", json={"to": {"open": True}})
        await desk.owner.expect(200, "POST", f"/records/{record_id}/end-all", json={})


async def test_a_body_without_an_announced_length_is_cut_while_it_is_read(tmp_path: Path) -> None:
    async with opened_desk(tmp_path) as desk:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(10_000):
                read += 10_000
                yield b" " * 10_000

        for path, most in ((f"/records/{desk.values['record_id']}/grants", 65_536), ("/oauth/token", 65_536)):
            read = 0
            content_type = FORM if "oauth" in path else JSON
            response = await desk.owner.call(
                "POST", path, content=endless(), headers={"Content-Type": content_type}
            )
            assert response.status_code == 413
            assert read <= most + 10_000


async def test_an_extract_without_an_announced_length_is_cut_while_it_is_read(tmp_path: Path) -> None:
    async with opened_desk(tmp_path) as desk:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(1_000):
                read += 1_000_000
                yield b" " * 1_000_000

        headers = {"Content-Type": "application/fhir+json"}
        response = await desk.integrator.call("POST", "/extracts", content=endless(), headers=headers)
        assert response.status_code == 413
        assert read <= 20 * 1024 * 1024 + 1_000_000


def bodies_for(route: Route) -> dict[str, Sent]:
    """What this route must refuse."""
    if "/oauth/" in route.path or route.path.endswith("_search"):
        return FORM_BODIES
    return JSON_BODIES if route.path == "/extracts" else JSON_BODIES | {"too large": TOO_LARGE_FOR_OTHERS}


async def timed(desk: Desk, route: Route, body: Sent) -> tuple[float, httpx.Response]:
    """The processor time of the call, client included; the better of two if the first was slow."""
    best, answer = float("inf"), None
    for _ in range(2):
        before = time.process_time()
        answer = await desk.send(route, body)
        best = min(best, time.process_time() - before)
        if best < CPU_SECONDS_MAX:
            break
    assert answer is not None
    return best, answer


def problems_of(route: Route, response: httpx.Response, seconds: float) -> list[str]:
    """What is wrong with a refusal."""
    problems: list[str] = []
    if not 400 <= response.status_code < 500:
        problems.append(f"answered {response.status_code} {response.text[:100]}")
    if SECRET in response.text + str(response.headers):
        problems.append(f"quotes the body: {response.text}")
    if seconds > CPU_SECONDS_MAX:
        problems.append(f"took {seconds:.3f} s of processor time")
    return problems + shape_problems(route, response)


def shape_problems(route: Route, response: httpx.Response) -> list[str]:
    """Whether a refusal has the form its part of the API speaks in."""
    content: dict[str, Any] = response.json()
    kind = response.headers.get("content-type", "")
    if route.path.startswith("/fhir/"):
        right = (
            kind == "application/fhir+json"
            and content.get("resourceType") == "OperationOutcome"
            and content["issue"]
        )
    elif route.path.startswith("/oauth/"):
        right = kind == JSON and content.get("error")
    else:
        right = kind == "application/problem+json" and content.get("code") and content.get("detail")
    return [] if right else [f"has the wrong shape: {kind} {response.text[:100]}"]
