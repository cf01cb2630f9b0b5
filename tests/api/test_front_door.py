"""What a hostile caller tries on the door itself: odd paths, methods and headers, bodies that never end."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlencode

import pytest
from litestar.types import Message

from server.commands.held_client import HeldClient
from server.http.front_door import ANSWERS, AnswerCutShort, FrontDoor
from server.settings import read_settings
from server.storage.migrating import migrate
from tests.held_app import ServedHeld, served_held
from tests.server_process import server_process
from tests.world import AMINA, EVERYONE, PATEL, World, extract_for, record_id_of

SECRET = "Qzvxsecret"
ODD_PATHS = [
    "//me",
    "/me/",
    "/me//",
    "/./me",
    "/fhir/../me",
    "/fhir/%2e%2e/me",
    "/fhir/%2E/me",
    "/%6de",
    "/m%65",
    "/fhir//Condition",
    "/fhir/Condition/",
    "/fhir%2FCondition",
    "/fhir%2fCondition",
    "/fhir/Condition%5cx",
    "/fhir/Condition\\x",
    "/fhir/Condition%00",
    "/fhir/Condition%0a",
    "/fhir/%43ondition",
    "//[/me",
    "",
    "*",
    "me",
]


class Answer(NamedTuple):
    """What came back from the application called without any client in between."""

    status: int
    headers: dict[str, str]
    body: bytes


class Scene(NamedTuple):
    """A filled record, its owner, and the id of one of its items."""

    held: ServedHeld
    world: World
    owner: HeldClient
    condition: str


@asynccontextmanager
async def opened_scene(folder: Path) -> AsyncIterator[Scene]:
    """A scene in a running application."""
    async with served_held(folder, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        await world.link(owner)
        await world.push(extract_for(AMINA, "AMINA"))
        found = await owner.expect(200, "GET", "/fhir/Condition")
        yield Scene(held, world, owner, found["entry"][0]["resource"]["id"])


async def called(
    app: Any,
    method: str,
    raw_path: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    messages: Iterable[dict[str, Any]] = ({"type": "http.request", "body": b"", "more_body": False},),
) -> Answer:
    """Calls the application as a server would, with exactly these bytes."""
    path, _, query = raw_path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "server": ("held.test", 80),
        "client": ("127.0.0.1", 1),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    coming, sent = iter(messages), list[Message]()

    async def receive() -> Any:
        return next(coming, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start: Any = sent[0]
    parts: list[Any] = [message for message in sent if message["type"] == "http.response.body"]
    answered = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], answered, b"".join(part.get("body", b"") for part in parts))


def signed(client: HeldClient, method: str, path: str) -> list[tuple[str, str]]:
    """The headers of someone signed in."""
    proof = client.key.proof(method, client.base_url + path, token=client.token)
    return [("Authorization", f"DPoP {client.token}"), ("DPoP", proof)]


async def test_a_path_in_any_spelling_but_its_own_leads_nowhere(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        for path in ODD_PATHS:
            answer = await called(scene.held.app, "GET", path, headers=signed(scene.owner, "GET", path))
            assert answer.status == 404, path
            content = json.loads(answer.body)
            assert (
                "resourceType" in content
                if unquote(path).startswith("/fhir/")
                else content["code"] == "not-found"
            ), path
        for path in ("/me", f"/fhir/Condition/{scene.condition}"):
            assert (
                await called(scene.held.app, "GET", path, headers=signed(scene.owner, "GET", path))
            ).status == 200
        for path in ("/ME", "/FHIR/Condition", "/Fhir/Condition"):
            assert (await scene.owner.call("GET", path)).status_code == 404
        assert (await scene.owner.call("GET", "/fhir/condition")).status_code == 400


async def test_an_escaped_dollar_is_still_a_dollar(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        path = f"/fhir/Condition/{scene.condition}/%24source"
        assert (
            await called(scene.held.app, "GET", path, headers=signed(scene.owner, "GET", path))
        ).status == 200


async def test_head_and_304_have_no_body_and_the_headers_of_a_get(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        path = f"/fhir/Condition/{scene.condition}"
        got = await scene.owner.call("GET", path)
        for wanted, address in ((200, path), (404, "/fhir/Condition/absent")):
            head = await called(scene.held.app, "HEAD", address, headers=signed(scene.owner, "HEAD", address))
            assert (head.status, head.body) == (wanted, b"")
        head = await called(scene.held.app, "HEAD", path, headers=signed(scene.owner, "HEAD", path))
        assert int(head.headers["content-length"]) == len(got.content)
        assert head.headers["etag"] == got.headers["ETag"]
        same = [*signed(scene.owner, "GET", path), ("If-None-Match", got.headers["ETag"])]
        unchanged = await called(scene.held.app, "GET", path, headers=same)
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["etag"] == got.headers["ETag"]
        assert "content-length" not in unchanged.headers
        too_long = await called(scene.held.app, "HEAD", path, headers=[("X-Filler", "x" * 17_000)])
        assert (too_long.status, too_long.body) == (431, b"")


async def test_methods_we_do_not_offer_are_refused_and_counted_as_one(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        for number in range(30):
            answer = await called(scene.held.app, f"BREW{number}", "/me")
            assert answer.status == 405
            assert "GET" in answer.headers["allow"]
        for method in ("TRACE", "CONNECT", "PUT", "PATCH", "DELETE"):
            assert (await called(scene.held.app, method, "/me")).status == 405
        labels = {sample.labels["method"] for metric in ANSWERS.collect() for sample in metric.samples}
        assert not any(label.startswith("BREW") for label in labels)
        options = await called(scene.held.app, "OPTIONS", "/me")
        assert (options.status, options.body) == (204, b"")
        assert "access-control-allow-origin" not in options.headers


async def test_every_answer_carries_the_common_headers(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        for path, headers in (
            ("/me", []),
            ("/nothing", []),
            ("//me", []),
            ("/me", [("X-Filler", "x" * 17_000)]),
            ("/fhir/metadata", []),
        ):
            answer = await called(scene.held.app, "GET", path, headers=headers)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            assert answer.headers["dpop-nonce"]


async def test_a_header_sent_twice_is_not_chosen_from(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        once, again = signed(scene.owner, "GET", "/me"), signed(scene.owner, "GET", "/me")
        for headers in ([*once, again[0]], [*once, again[1]], [again[0], *once]):
            assert (await called(scene.held.app, "GET", "/me", headers=headers)).status == 401
        assert (await called(scene.held.app, "GET", "/me", headers=again)).status == 200


async def test_a_body_that_breaks_off_is_a_refusal_and_no_fault_of_ours(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        sender = await scene.world.integrator_client(scene.world.practice)
        record_id = await record_id_of(scene.owner)
        begun: list[dict[str, Any]] = [{"type": "http.request", "body": b'{"a":', "more_body": True}]
        for client, path in ((sender, "/extracts"), (scene.owner, f"/records/{record_id}/end-all")):
            headers = [*signed(client, "POST", path), ("Content-Type", "application/json")]
            answer = await called(scene.held.app, "POST", path, headers=headers, messages=begun)
            assert answer.status == 400
            assert json.loads(answer.body)["code"] == "body-refused"


async def test_a_fault_that_nobody_caught_is_answered_without_its_words() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError(SECRET)

    async def failing_later(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(SECRET)

    answer = await called(FrontDoor(failing, lambda: "nonce"), "GET", "/me")  # type: ignore[arg-type]
    assert answer.status == 500
    assert SECRET.encode() not in answer.body
    with pytest.raises(AnswerCutShort) as cut_short:
        await called(FrontDoor(failing_later, lambda: "nonce"), "GET", "/me")  # type: ignore[arg-type]
    assert str(cut_short.value) == ""
    assert cut_short.value.__suppress_context__


async def test_json_is_the_only_format_and_anyone_who_takes_it_gets_it(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        path = f"/fhir/Condition/{scene.condition}"
        for accept, status in (
            ("", 200),
            ("*/*", 200),
            ("application/*", 200),
            ("application/fhir+json; fhirVersion=4.0", 200),
            ("text/html, application/json;q=0.1", 200),
            ("application/fhir+xml", 406),
            ("text/html", 406),
            ("json;" * 1_000, 200),
        ):
            assert (await scene.owner.call("GET", path, headers={"Accept": accept})).status_code == status, (
                accept
            )
        for wanted, status in (("json", 200), ("application/fhir%2Bjson", 200), ("xml", 406), ("", 406)):
            assert (await scene.owner.call("GET", f"{path}?_format={wanted}")).status_code == status, wanted
        assert (await scene.owner.call("GET", f"{path}?_format=json&_format=xml")).status_code == 400


async def test_a_page_link_is_worth_nothing_changed_moved_or_in_other_hands(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        doctor = await scene.world.sign_in(PATEL)
        shared = await scene.world.share(scene.owner, {"current": False, "categories": ["results"]}, doctor)
        link = await _next_page(scene.owner, "/fhir/Observation?_count=2")
        page = link.partition("_page=")[2]
        assert (await scene.owner.call("GET", link)).status_code == 200
        for bad in (
            f"/fhir/Condition?_page={page}",
            f"/fhir/Observation?_page={page}&_count=2",
            f"/fhir/Observation?_page={page}&_page={page}",
            f"/fhir/Observation?_page={page[:-4]}",
            f"/fhir/Observation?_page={page}AAAA",
            f"/fhir/Observation?_page={'A' * len(page)}",
            f"/fhir/Observation?_page={'A' * 9_000}",
            "/fhir/Observation?_page=",
            "/fhir/Observation?_page=%00%ff",
        ):
            assert (await scene.owner.call("GET", bad)).status_code == 400, bad[:60]
        assert (await shared.client.call("GET", link)).status_code == 400
        assert (
            await shared.client.call("GET", await _next_page(shared.client, "/fhir/Observation?_count=2"))
        ).status_code == 200


async def test_a_long_search_gets_a_page_link_that_it_can_follow(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        found = await scene.owner.expect(200, "GET", "/fhir/Observation")
        ids = [entry["resource"]["id"] for entry in found["entry"]] + [
            f"absent-{number}" for number in range(340)
        ]
        query = urlencode({"_id": ",".join(ids), "_count": "2"}, safe=",")
        assert len(query) > 3_800
        link = await _next_page(scene.owner, f"/fhir/Observation?{query}")
        assert len((await scene.owner.expect(200, "GET", link))["entry"]) == 2


async def test_an_error_never_names_what_is_hidden_or_says_back_what_was_sent(tmp_path: Path) -> None:
    async with opened_scene(tmp_path) as scene:
        doctor = await scene.world.sign_in(PATEL)
        shared = await scene.world.share(scene.owner, {"current": True, "categories": ["results"]}, doctor)
        record_id = await record_id_of(scene.owner)
        found = await scene.owner.expect(200, "GET", "/fhir/Condition")
        hidden = next(
            entry["resource"]["id"]
            for entry in found["entry"]
            if "depression" in entry["resource"]["code"]["text"]
        )
        told: set[str] = set()
        for logical_id in (hidden, "absent"):
            for way in ("", "/_history", "/_history/1", "/$source", "/$everything"):
                answer = await shared.client.call("GET", f"/fhir/Condition/{logical_id}{way}")
                assert answer.status_code == 404
                told.add(answer.text)
        assert len(told) == 1
        assert hidden not in told.pop()
        for body in (
            {SECRET: 1},
            {"to": {SECRET: 1}},
            {"to": {"open": SECRET}},
            {"purpose": SECRET, "to": {"open": True}},
        ):
            refused = await scene.owner.call("POST", f"/records/{record_id}/grants", json=body)
            assert 400 <= refused.status_code < 500
            assert SECRET not in refused.text


@pytest.mark.slow
async def test_a_real_server_refuses_what_is_no_sound_http_and_goes_on(tmp_path: Path) -> None:
    settings = read_settings({"HELD_MODE": "development", "HELD_DATA_DIR": str(tmp_path)})
    await migrate(settings.database_url)
    async with server_process(tmp_path) as address:
        port = int(address.rpartition(":")[2])
        for name, sent, expected in _on_the_wire():
            answer = await _spoken(port, sent)
            assert answer == b"" or answer.split(b" ")[1] in expected, (name, answer[:200])
            alive = await _spoken(port, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert alive.startswith(b"HTTP/1.1 200"), name
        assert "unexpected_error" not in (tmp_path / "server.log").read_text()


def _on_the_wire() -> Iterable[tuple[str, bytes, set[bytes]]]:
    form = b"Host: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    post = b"POST /oauth/revoke HTTP/1.1\r\n" + form
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    refused = {b"400", b"404", b"408", b"413", b"414", b"431"}
    yield "chunks without end", post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 200, refused
    yield "two lengths", post + b"Content-Length: 5\r\nContent-Length: 9\r\n\r\ntoken", refused
    yield (
        "a length and chunks",
        post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        refused,
    )
    yield "a length too large", post + b"Content-Length: 65537\r\n\r\ntoken=x", refused
    yield "a length that is no number", post + b"Content-Length: two\r\n\r\ntoken=x", refused
    yield "a bad chunk", post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n", refused
    yield (
        "headers too large",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 20_000 + b"\r\n\r\n",
        refused,
    )
    yield "headers without end", b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: x\r\n" * 30_000, refused
    yield (
        "an escaped slash",
        b"GET /fhir%2FCondition HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        refused,
    )
    yield "two slashes", b"GET //me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", refused
    yield "rubbish", bytes(range(256)) * 20, refused


async def _spoken(port: int, sent: bytes) -> bytes:
    """The beginning of what a server says to these bytes; nothing when it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            # It may answer and hang up before it has read everything.
            drained = asyncio.create_task(writer.drain())
            answer = await reader.read(4_096)
            drained.cancel()
            await asyncio.gather(drained, return_exceptions=True)
        return answer
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _next_page(client: HeldClient, path: str) -> str:
    found = await client.expect(200, "GET", path)
    return next(link["url"] for link in found["link"] if link["relation"] == "next")
