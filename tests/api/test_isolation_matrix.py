"""The isolation matrix (THREATS d1): every route, every actor, every state of what is asked for.

The routes come from the application's own table. For each cell three things must hold: the status is one the
route's access class allows this actor, no text of anybody's record appears that the actor may not see, and
what a FHIR answer disclosed is in the record's log, one entry for one answer.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, get

from server.http.access import Access, UnclassifiedRoute, classify_automatic_options, require_access_classes
from tests.api.matrix import PLAIN, Actor, MatrixWorld, Route, Target, routes_of
from tests.held_app import served_held
from tests.world import EVERYONE

ACTORS = [
    "nobody",
    "bearer",
    "thief of a token",
    "owner before choosing a record",
    "another citizen",
    "professional without a grant",
    "reader",
    "reader of another record",
    "reader whose access ended",
    "reader whose access ran out",
    "linked integrator",
    "other integrator",
    "owner",
]
BODIES: dict[str, dict[str, Any]] = {
    "/records/{record_id}/grants": {
        "to": {"open": True},
        "slice": {"current": True},
        "purpose": "TREAT",
        "seconds": 3600,
    },
    "/records/{record_id}/grants/{grant_id}/confirm": {"redemption": PLAIN, "match": "11", "allow": True},
    "/records/{record_id}/grants/{grant_id}/narrow": {"base_version": 1, "slice": {"current": True}},
    "/records/{record_id}/grants/{grant_id}/extend": {"base_version": 1, "ends_at": "2100-01-01T00:00:00Z"},
    "/records/{record_id}/grants/{grant_id}/end": {},
    "/records/{record_id}/end-all": {},
    "/records/{record_id}/links": {"organisation": "RR801"},
    "/sync/v1/records/{record_id}/devices": {"key": {}},
    "/sync/v1/records/{record_id}/devices/self/wiped": {},
    "/sync/v1/records/{record_id}/mutations": {"deviceId": PLAIN, "mutations": []},
    "/sync/v1/records/{record_id}/fetch": {"items": [["Condition", PLAIN]]},
    "/records/{record_id}/corrections": {"kind": "missing", "should_say": "My hay fever is not there."},
    "/records/{record_id}/corrections/{correction_id}/message": {"text": "It was in 2019."},
    "/records/{record_id}/corrections/{correction_id}/withdraw": {},
    "/records/{record_id}/corrections/{correction_id}/disagree": {"statement": "It never was."},
    "/notices/{notice_id}/read": {},
    "/fhir/{resource_type}/{logical_id}": {"resourceType": "Task", "id": PLAIN, "status": "in-progress"},
    "/extracts": {"resourceType": "Bundle", "type": "collection"},
    "/development/people": {"name": "New Person", "nhs_number": "9990000026", "birth_date": "2000-01-01"},
    "/development/aliases": {"record_id": PLAIN, "organisation": "B86001", "system": "urn:x", "value": "1"},
}
"""A body that would be taken from the right caller. A new POST route without one makes the matrix fail."""

MARKERS = [
    f"{person}-{what}"
    for person in ("AMINA", "BEN")
    for what in (
        "address",
        "org",
        "gp",
        "encounter",
        "asthma",
        "depression",
        "penicillin",
        "result",
        "salbutamol",
        "problems",
        "flu-jab",
    )
]


@pytest.mark.parametrize("name", ACTORS)
async def test_every_route_gives_this_actor_what_is_theirs_and_no_more(name: str, tmp_path: Path) -> None:
    async with served_held(tmp_path, EVERYONE) as held:
        matrix = MatrixWorld(held)
        await matrix.build()
        actor = matrix.actors[name]
        held.parts.storage.clock_offset = timedelta(seconds=actor.seconds_ahead)
        actor.client.key.seconds_ahead = actor.seconds_ahead
        wrong: list[str] = []
        cells = 0
        for route in routes_of(held.app.application):
            for target in matrix.targets(route):
                cells += 1
                wrong += [
                    f"{route.method} {route.path} [{target.state}]: {problem}"
                    for problem in await _judge(matrix, actor, route, target)
                ]
    print(f'{{"test":"d1","actor":"{name}","cells":{cells},"wrong":{len(wrong)}}}')
    assert cells > 60
    assert not wrong, "\n".join(wrong)


def test_the_actors_of_the_matrix_are_all_tested() -> None:
    assert len(set(ACTORS)) == len(ACTORS) == 13


async def test_a_route_without_an_access_class_stops_the_start() -> None:
    @get("/forgotten")
    async def forgotten() -> None:
        """Nobody said who may call this."""

    app = Litestar([forgotten], openapi_config=None)
    classify_automatic_options(app)
    with pytest.raises(UnclassifiedRoute, match="/forgotten"):
        require_access_classes(app)


async def _judge(matrix: MatrixWorld, actor: Actor, route: Route, target: Target) -> list[str]:
    before = await _log_sizes(matrix)
    response = await _call(actor, route, target)
    problems: list[str] = []
    allowed = _allowed(actor, route, target)
    if response.status_code not in allowed:
        problems.append(f"answered {response.status_code}, not one of {sorted(allowed)}")
    text = response.text + str(response.headers)
    shown = [marker for marker in MARKERS if marker in text]
    problems += [
        f"shows {marker}" for marker in shown if not any(marker.startswith(own) for own in actor.may_see)
    ]
    if "integrator" not in actor.name:
        problems += await _log_problems(matrix, route, response, before)
    problems += _told_too_much(actor, response)
    return problems


async def _call(actor: Actor, route: Route, target: Target) -> httpx.Response:
    path = route.path.format(**target.values)
    options: dict[str, Any] = {}
    if route.path.endswith("/_search"):
        options["data"] = {"_count": "10"}
    elif route.method in ("POST", "PUT") and not route.path.startswith("/oauth/"):
        options["json"] = BODIES[route.path]
    if route.path.endswith("/digest"):
        options["params"] = {"at": "x"}
    return await actor.client.call(route.method, path, **options)


def _allowed(actor: Actor, route: Route, target: Target) -> set[int]:
    """The statuses the access class leaves this actor; 2xx and the refusals of a body we sent empty alike."""
    done = {200, 201, 202, 204, 400, 404, 409, 415, 422}
    match route.access:
        case Access.PUBLIC:
            return done | {302, 401, 405}
        case _ if not actor.has_token and actor.name != "reader whose access ended":
            return {401}
        case Access.SIGNED_IN:
            return {200}
        case Access.INTEGRATOR:
            return done if "integrator" in actor.name else {403}
        case Access.OWNER:
            return _owner_may(actor, route, target)
        case Access.PROFESSIONAL:
            return {200, 404} if actor.name == "professional without a grant" else {403}
        case Access.TASKS if route.method == "PUT" or "integrator" in actor.name:
            return _task_may(actor, route, target)
        case Access.READER | Access.TASKS:
            return _reader_may(actor, route, target)
        case _:
            raise AssertionError(f"The matrix does not know {route.access}.")


def _owner_may(actor: Actor, route: Route, target: Target) -> set[int]:
    theirs = {"owner": "record_id=own", "another citizen": "record_id=foreign"}.get(actor.name)
    if route.path == "/sync/v1/heads":
        return {200} if theirs else {404}
    # A phone that is not the caller's, and a place where the record is not.
    more = {403, 412} if route.path.startswith("/sync/") else set[int]()
    return {200, 201, 204, 404, 409, 422} | more if theirs and theirs in target.state else {404}


def _task_may(actor: Actor, route: Route, target: Target) -> set[int]:
    """Nobody but an integrator writes there, and it must say which version it read."""
    if route.method != "PUT":
        return {200} if target.state == "task=own" and actor.name == "linked integrator" else {404}
    if "integrator" in actor.name:
        return {400, 405}
    # A reader may not write, so that their grant is not asked for: 405 says the same to every reader.
    if actor.name.startswith("reader whose") and actor.name != "reader whose access ended":
        return {401}
    return (
        {401} if actor.name in ("owner before choosing a record", "professional without a grant") else {405}
    )


def _reader_may(actor: Actor, route: Route, target: Target) -> set[int]:
    if (
        actor.name in ("owner before choosing a record", "professional without a grant")
        or "integrator" in actor.name
    ):
        return {401}
    if actor.name == "reader whose access ended":
        return {401}
    if "logical_id" not in target.values:
        return {200}
    if actor.name == "owner":
        theirs = {"logical_id=visible", "logical_id=hidden", "logical_id=own", "task=own"}
    elif actor.name == "another citizen":
        theirs = {"logical_id=foreign"}
    elif actor.name == "reader":
        theirs = {"logical_id=visible"}
    else:
        theirs = set()
    if actor.name.startswith("reader") and route.path.endswith(("$source", "$everything", "{version_id}")):
        # What the reader sees of the asthma entry is cut, so that its version number is not told.
        return {404}
    return {200} if target.state in theirs else {404}


async def _log_sizes(matrix: MatrixWorld) -> list[int]:
    return [await matrix.log_size(record_id) for record_id in matrix.record_ids]


async def _log_problems(
    matrix: MatrixWorld, route: Route, response: httpx.Response, before: list[int]
) -> list[str]:
    """What was disclosed at /fhir is what one new entry lists; nothing disclosed, nothing listed."""
    if route.access not in (Access.READER, Access.TASKS) or route.method == "PUT":
        return []
    after = await _log_sizes(matrix)
    grown = [
        (record_id, old)
        for record_id, old, new in zip(matrix.record_ids, before, after, strict=True)
        if new > old
    ]
    if response.status_code != 200:
        entries = [entry for record_id, old in grown for entry in await matrix.entries_after(record_id, old)]
        return [f"was refused, and yet the log says {entry.kind}" for entry in entries if entry.items]
    if sum(after) - sum(before) != 1:
        return [f"the log grew by {sum(after) - sum(before)} entries"]
    entry = (await matrix.entries_after(*grown[0]))[0]
    if route.method == "HEAD" or route.path.endswith("$source"):
        return [] if entry.items or "logical_id" not in route.path else ["the log names no item"]
    logged = {(kind, logical_id) for kind, logical_id, _ in entry.items}
    disclosed = _disclosed(response)
    return [] if logged == disclosed else [f"disclosed {disclosed - logged}, logged {logged - disclosed}"]


def _disclosed(response: httpx.Response) -> set[tuple[str, str]]:
    body = response.json()
    resources = (
        [entry["resource"] for entry in body.get("entry", [])] if body["resourceType"] == "Bundle" else [body]
    )
    return {(resource["resourceType"], resource["id"]) for resource in resources}


def _told_too_much(actor: Actor, response: httpx.Response) -> list[str]:
    """Totals for anyone, and 304 or 410 for anyone but an owner, would tell of what is hidden."""
    problems: list[str] = []
    if response.headers.get("content-type", "").startswith("application/fhir+json") and response.content:
        body = response.json()
        if "total" in body:
            problems.append("tells a total")
        if (
            body.get("resourceType") == "OperationOutcome"
            and "reader" in actor.name
            and response.status_code == 404
        ):
            detail = body["issue"][0]["details"]["text"]
            if detail != "There is nothing here that you can see.":
                problems.append(f"says {detail}")
    if response.status_code in (304, 410):
        problems.append(f"answered {response.status_code}")
    return problems
