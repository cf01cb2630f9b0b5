"""Every operation of the OpenAPI document, called by Schemathesis as someone signed in (THREATS f1).

The document describes bodies and parameters; a real server answers. None of the answers may be a fault of
ours, and nearly every operation must be seen to succeed: by what Schemathesis made up, or else by the calls
with which this test signs in, sends, shares and reads. The figures tell the two apart.
"""

import asyncio
import json
import re
import threading
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import GenerationMode

from server.commands.held_client import HeldClient
from server.development.people import keep_people, people_file
from server.identity.clients import Clients, integrator
from server.intake.organisations import Organisation, register_organisation
from server.secret_files import make_missing_secrets
from server.settings import read_settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from server.storage.migrating import migrate
from tests.api.correction_world import moved, with_identifiers
from tests.server_process import free_port, server_process
from tests.world import (
    AMINA,
    EVERYONE,
    HOSPITAL,
    PATEL,
    PRACTICE,
    Integrator,
    extract_for,
    nhs_number,
    offer,
    push,
    record_id_of,
    redeem,
)

EXAMPLES = 60
SECONDS_PER_OPERATION_MAX = 4
REACHED_SHARE_MIN = 0.95
REDIRECTS = {"/oauth/authorize", "/oauth/callback"}
ENDINGS = ("/end-all", "/end", "/revoke")


class Operation(NamedTuple):
    """One method of one path of the document."""

    method: str
    path: str


class Seen:
    """What was answered, by operation."""

    def __init__(self, paths: list[str]) -> None:
        self.by_fuzz: dict[Operation, Counter[int]] = defaultdict(Counter)
        self.by_hand: dict[Operation, Counter[int]] = defaultdict(Counter)
        self._patterns = {path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path) + r"\Z") for path in paths}

    def note_call(self, response: httpx.Response) -> None:
        """Counts a call that the test itself made, under the operation it was of."""
        path = response.request.url.path
        names = [name for name, pattern in self._patterns.items() if pattern.match(path)]
        if names:
            name = min(names, key=lambda one: one.count("{"))
            self.by_hand[Operation(response.request.method.lower(), name)][response.status_code] += 1

    def faults(self) -> list[str]:
        """The operations that answered with a fault of ours."""
        both = [*self.by_fuzz.items(), *self.by_hand.items()]
        return [f"{operation}: {status}" for operation, seen in both for status in seen if status >= 500]

    def reached(self, seen: dict[Operation, Counter[int]]) -> set[Operation]:
        """The operations that succeeded. A redirect is all the success that the two of a sign-in have."""
        return {
            operation
            for operation, statuses in seen.items()
            if any(200 <= one < 300 or (one == 302 and operation.path in REDIRECTS) for one in statuses)
        }


class Prover(AuthBase):
    """Signs a call in as someone, with a proof for exactly the address that is called."""

    def __init__(self, client: HeldClient | None) -> None:
        self._client = client

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._client is not None and self._client.token is not None:
            assert request.method
            assert request.url
            request.headers["Authorization"] = f"DPoP {self._client.token}"
            request.headers["DPoP"] = self._client.key.proof(
                request.method, request.url, token=self._client.token
            )
        return request


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_operation_answers_with_a_fault_of_ours_and_nearly_all_succeed(tmp_path: Path) -> None:
    figures, seen, log = asyncio.run(_fuzz_held(tmp_path))
    print(json.dumps(figures))
    assert not seen.faults()
    assert "unexpected_error" not in log, log[-2000:]
    assert figures["reached"] >= figures["operations"] * REACHED_SHARE_MIN, figures["unreached"]


def test_a_server_that_fails_on_some_input_is_found_out() -> None:
    with _FailingServer() as address:
        document = {
            "openapi": "3.1.0",
            "info": {"title": "Failing", "version": "1"},
            "paths": {
                "/x": {
                    "get": {
                        "parameters": [
                            {"name": "n", "in": "query", "required": True, "schema": {"type": "integer"}}
                        ],
                        "responses": {"200": {"description": "Fine."}},
                    }
                }
            },
        }
        seen = Seen(["/x"])
        _fuzz_operation(document, Operation("get", "/x"), [Prover(None)], {}, address=address, seen=seen)
    assert seen.faults() == ["Operation(method='get', path='/x'): 500"]


async def _fuzz_held(folder: Path) -> tuple[dict[str, Any], Seen, str]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    practice = await _prepare(folder, address)
    started = time.monotonic()
    async with server_process(folder, HELD_PORT=str(port)), httpx.AsyncClient(timeout=30) as http:
        document = (await http.get(f"{address}/docs/openapi.json")).json()
        operations = _operations(document)
        seen = Seen([operation.path for operation in operations])

        async def noted(response: httpx.Response) -> None:
            seen.note_call(response)

        http.event_hooks["response"].append(noted)
        provers, values = await _open_world(http, address, practice)

        def run() -> None:
            for operation in operations:
                who = _who(operation, provers)
                _fuzz_operation(document, operation, who, values, address=address, seen=seen)

        await asyncio.to_thread(run)
        log = (folder / "server.log").read_text()
    fuzzed, by_hand = seen.reached(seen.by_fuzz), seen.reached(seen.by_hand)
    reached = {one for one in fuzzed | by_hand if one in operations}
    figures: dict[str, Any] = {
        "test": "f1",
        "operations": len(operations),
        "examples": sum(statuses.total() for statuses in seen.by_fuzz.values()),
        "server_errors": len(seen.faults()),
        "reached": len(reached),
        "reached_by_fuzz": len(fuzzed),
        "reached_by_hand_only": sorted(f"{one.method} {one.path}" for one in reached - fuzzed),
        "unreached": sorted(f"{one.method} {one.path}" for one in set(operations) - reached),
        "seconds": round(time.monotonic() - started),
    }
    return figures, seen, log


async def _prepare(folder: Path, address: str) -> Integrator:
    """What an operator does before the start."""
    settings = read_settings(
        {"HELD_MODE": "development", "HELD_DATA_DIR": str(folder), "HELD_BASE_URL": address}
    )
    make_missing_secrets(settings)
    await migrate(settings.database_url)
    keep_people(people_file(settings), EVERYONE)
    practice = Integrator("practice-system", PRACTICE)
    storage = await Storage.open(settings.database_url, KeyFile.open(settings.key_file))
    try:
        for code, name in ((PRACTICE, "Beeston Practice"), (HOSPITAL, "Leeds Hospital")):
            await register_organisation(storage, Organisation(organisation=code, name=name))
        client = integrator(
            practice.client_id, name="Beeston Practice", organisation=PRACTICE, jwk=practice.public_jwk()
        )
        await Clients(storage, address).register(client)
    finally:
        await storage.close()
    return practice


async def _open_world(
    http: httpx.AsyncClient, address: str, practice: Integrator
) -> tuple[dict[str, Prover], dict[str, str]]:
    """A filled record, a live grant, and who calls; the calls made on the way are the ones made by hand."""
    owner, doctor, sender = (HeldClient(http, address) for _ in range(3))
    phone = {"client_id": "held-phone", "redirect_uri": f"{address}/app/signed-in"}
    await owner.sign_in(phone, AMINA.held_subject)
    record_id = await record_id_of(owner)
    await owner.refresh(record_id=record_id)
    for code in (PRACTICE, HOSPITAL):
        await owner.expect(201, "POST", f"/records/{record_id}/links", json={"organisation": code})
    await sender.sign_in_integrator(practice.client_id, practice.key, practice.kid)
    report = await push(sender, extract_for(AMINA, "AMINA"))
    await doctor.sign_in(
        {"client_id": "held-portal", "redirect_uri": f"{address}/portal/signed-in"}, PATEL.held_subject
    )
    shared = await redeem(owner, doctor, await offer(owner, {"current": True, "categories": ["results"]}))
    ended = await redeem(owner, doctor, await offer(owner, {"current": True}))
    path = f"/records/{record_id}/grants/{ended.grant_id}"
    longer = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    less = {"base_version": 4, "slice": {"current": False}}
    await owner.expect(200, "POST", f"{path}/extend", json={"base_version": 3, "ends_at": longer})
    await owner.expect(200, "POST", f"{path}/narrow", json=less)
    await owner.expect(200, "POST", f"{path}/end", json={})
    found = await owner.expect(200, "GET", "/fhir/Condition")
    person = {"name": "New Person", "nhs_number": nhs_number(5), "birth_date": "2000-01-01"}
    await owner.expect(201, "POST", "/development/people", json=person)
    alias = {"record_id": record_id, "organisation": PRACTICE, "system": "urn:x", "value": "1"}
    await owner.expect(204, "POST", "/development/aliases", json=alias)
    await _come_back_from_a_provider(http, address)
    await http.post(f"{address}/oauth/revoke", data={"token": "unknown", "client_id": "held-phone"})
    answered = await _correct_something(owner, sender, shared.client, doctor, record_id=record_id)
    values = await _use_phones(owner, await _another_phone(http, address, record_id), record_id)
    values |= {
        "record_id": record_id,
        "grant_id": shared.grant_id,
        "extract_id": report["extract_id"],
        "organisation": HOSPITAL,
        "resource_type": "Condition",
        "logical_id": found["entry"][0]["resource"]["id"],
        "patient_id": shared.patient_id,
        "version_id": "1",
        **answered,
    }
    provers = {"owner": Prover(owner), "reader": Prover(shared.client), "sender": Prover(sender)}
    provers["doctor"] = Prover(doctor)
    return provers | {"nobody": Prover(None)}, values


async def _correct_something(
    owner: HeldClient, sender: HeldClient, reader: HeldClient, doctor: HeldClient, *, record_id: str
) -> dict[str, str]:
    """Every call of a correction: one is refused and disagreed with, one amended, one taken back."""
    path, extract = f"/records/{record_id}/corrections", with_identifiers(extract_for(AMINA, "AMINA"))
    await push(sender, extract)
    await reader.expect(200, "GET", "/fhir/Condition")
    found = await owner.expect(200, "GET", "/fhir/Condition?_count=50&identifier=item-4")
    body = {
        "kind": "wrong",
        "target": f"Condition/{found['entry'][0]['resource']['id']}",
        "should_say": "Bronchitis",
    }
    refused, amended, back = [
        (await owner.expect(201, "POST", path, json=body))["correction_id"] for _ in range(3)
    ]
    await owner.expect(200, "POST", f"{path}/{back}/message", json={"text": "More."})
    await owner.expect(200, "POST", f"{path}/{back}/withdraw", json={})
    extract["entry"][4]["resource"]["code"]["text"] = "AMINA-bronchitis"
    await push(sender, extract)
    ways = {refused: ("in-review", "denied"), amended: ("in-review", "accepted", "amendment-completed")}
    for task_id, steps in ways.items():
        for business in steps:
            task = await sender.expect(200, "GET", f"/fhir/Task/{task_id}")
            headers = {"If-Match": f'W/"{task["meta"]["versionId"]}"'}
            sent = moved(task, business, "Words.")
            await sender.expect(200, "PUT", f"/fhir/Task/{task_id}", json=sent, headers=headers)
    await owner.expect(201, "POST", f"{path}/{refused}/disagree", json={"statement": "It never was."})
    await owner.expect(200, "GET", f"/records/{record_id}/notices")
    [notice] = (await doctor.expect(200, "GET", "/notices"))["notices"]
    await doctor.expect(200, "POST", f"/notices/{notice['notice_id']}/read", json={})
    return {"correction_id": back, "notice_id": notice["notice_id"]}


async def _another_phone(http: httpx.AsyncClient, address: str, record_id: str) -> HeldClient:
    """The owner on another device."""
    other = HeldClient(http, address)
    phone = {"client_id": "held-phone", "redirect_uri": f"{address}/app/signed-in"}
    await other.sign_in(phone, AMINA.held_subject)
    await other.refresh(record_id=record_id)
    return other


async def _use_phones(owner: HeldClient, other: HeldClient, record_id: str) -> dict[str, str]:
    """Every call of a phone; one is ended and says that it is empty. What paths need to name a phone."""
    base = f"/sync/v1/records/{record_id}"
    for client in (owner, other):
        told = await client.expect(201, "POST", f"{base}/devices", json={"key": client.key.jwk})
    mine = await owner.expect(201, "POST", f"{base}/devices", json={"key": owner.key.jwk})
    cursor = (await owner.expect(200, "GET", f"{base}/changes"))["cursor"]
    pushed = {"deviceId": mine["deviceId"], "mutations": []}
    await owner.expect(200, "POST", f"{base}/mutations", json=pushed)
    await owner.expect(200, "POST", f"{base}/fetch", json={"items": [["Condition", "x"]]})
    await owner.expect(200, "GET", f"{base}/digest", params={"at": cursor})
    name = (await owner.expect(200, "GET", f"{base}/snapshot"))["segments"][0]["hash"]
    assert (await owner.call("GET", f"{base}/segments/{name}")).status_code == 200
    await owner.expect(204, "DELETE", f"{base}/devices/{told['deviceId']}")
    await other.expect(204, "POST", f"{base}/devices/self/wiped", json={})
    return {"device_id": told["deviceId"], "name": name}


async def _come_back_from_a_provider(http: httpx.AsyncClient, address: str) -> None:
    """The way of a browser: to the provider, and from there to our own callback."""
    query = {
        "response_type": "code",
        "client_id": "held-phone",
        "redirect_uri": f"{address}/app/signed-in",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
        "provider": "nhs-login",
    }
    away = await http.get(f"{address}/oauth/authorize", params=query)
    back = await http.get(f"{away.headers['Location']}&login_hint={AMINA.subject}")
    if back.status_code == 302:
        await http.get(back.headers["Location"])


def _operations(document: dict[str, Any]) -> list[Operation]:
    """All of them, those that end something last."""
    found = [Operation(method, path) for path, methods in document["paths"].items() for method in methods]
    return sorted(
        found, key=lambda one: (one.path.endswith(ENDINGS), one.method == "delete", one.path, one.method)
    )


def _who(operation: Operation, provers: dict[str, Prover]) -> list[Prover]:
    """Who may call an operation."""
    if operation.path.startswith("/extracts"):
        return [provers["sender"]]
    if operation.path.startswith("/fhir"):
        return [provers["owner"], provers["reader"], provers["sender"]]
    if operation.path.startswith("/notices"):
        return [provers["doctor"]]
    if operation.path.startswith(("/records", "/sync", "/me", "/oauth/introspect")):
        return [provers["owner"]]
    return [provers["nobody"]]


def _fuzz_operation(
    document: dict[str, Any],
    operation: Operation,
    who: list[Prover],
    values: dict[str, str],
    *,
    address: str,
    seen: Seen,
) -> None:
    described = schemathesis.openapi.from_dict(document)[operation.path][operation.method]
    known = {name: values[name] for name in re.findall(r"\{([^}]+)\}", operation.path) if name in values}
    if "$everything" in operation.path:
        known |= {"resource_type": "Patient", "logical_id": values["patient_id"]}
    made = [described.as_strategy(), described.as_strategy(generation_mode=GenerationMode.NEGATIVE)]
    if known:
        made = [described.as_strategy(path_parameters=known), *made]
    stop_at = time.monotonic() + SECONDS_PER_OPERATION_MAX
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(*made), prover=st.sampled_from(who))
        def one_example(case: Any, prover: Prover) -> None:
            if time.monotonic() > stop_at:
                return
            call = case.as_transport_kwargs(base_url=address)
            response = session.request(
                **call
                | {"auth": prover, "timeout": 30, "allow_redirects": False, "cookies": call.get("cookies")}
            )
            seen.by_fuzz[operation][response.status_code] += 1

        try:
            one_example()
        except schemathesis.errors.InvalidSchema as unusable:
            raise AssertionError(f"{operation} is badly described") from unusable


class _FailingServer:
    """A server that fails on odd numbers."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                digits = urlsplit(self.path).query.rpartition("=")[2].lstrip("-")
                is_odd = digits.isdigit() and digits[-1] in "13579"
                self.send_response(500 if is_odd else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Says nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
