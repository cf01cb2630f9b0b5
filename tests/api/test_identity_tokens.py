"""The token endpoint at large: exchange, introspection, revocation, discovery, refusals of every shape."""

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.errors import OAuthError
from server.identity.access_tokens import Access, AccessClaims
from server.identity.token_endpoint import TOKEN_EXCHANGE, ExchangeRequest
from tests.api.identity_world import (
    ALEX,
    BASE_URL,
    PATEL,
    Sender,
    World,
    open_world,
    registered_integrator,
)

GRANT = "00000000-0000-4000-8000-000000000001"
RECORD = "00000000-0000-4000-8000-000000000002"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
INTROSPECT = "/oauth/introspect"


class Grants:
    """Stands where sharing does: exchanges the code `good` and knows whether the grant still stands."""

    def __init__(self) -> None:
        self.is_live = True
        self.requests: list[ExchangeRequest] = []

    async def exchange(self, request: ExchangeRequest) -> Mapping[str, Any]:
        self.requests.append(request)
        if request.form.get("subject_token") != "good":
            raise OAuthError("authorization_pending", interval=2, redemption="r1")
        access = Access(
            subject=request.actor.subject,
            client_id=request.actor.client_id,
            kind="professional",
            jkt=request.jkt,
            session_id=request.session_id,
            record_id=RECORD,
            grant_id=GRANT,
            grant_version=1,
            purpose="TREAT",
        )
        return {"access_token": request.issue(access), "token_type": "DPoP", "expires_in": 300}

    async def is_grant_live(self, claims: AccessClaims) -> bool:
        assert claims.grant == GRANT
        return self.is_live


@pytest.fixture
def grants() -> Grants:
    return Grants()


@pytest_asyncio.fixture
async def world(tmp_path: Path, grants: Grants) -> AsyncIterator[World]:
    handlers = {TOKEN_EXCHANGE: grants.exchange}
    async with open_world(tmp_path, grant_handlers=handlers, is_grant_live=grants.is_grant_live) as opened:
        yield opened


async def exchange(portal: Sender, actor_token: str | None, **changes: str | None) -> httpx.Response:
    fields: dict[str, str | None] = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": "good",
        "subject_token_type": "urn:held:params:oauth:token-type:offer-code",
        "actor_token": actor_token,
        "actor_token_type": ACCESS_TOKEN_TYPE,
    }
    return await portal.form(fields | changes)


async def test_exchange_reaches_sharing_with_the_person_who_asks(world: World, grants: Grants) -> None:
    portal = Sender(world, "held-portal")
    tokens = await portal.sign_in(PATEL)
    answer = await exchange(portal, tokens["access_token"])
    assert answer.status_code == 200, answer.text
    (request,) = grants.requests
    assert (request.actor.subject, request.actor.kind) == ("cis2:555000000001", "professional")
    assert request.actor.jkt == request.jkt
    assert (await portal.call(answer.json()["access_token"])).status_code == 200


async def test_waiting_is_told_with_its_extra_members(world: World) -> None:
    portal = Sender(world, "held-portal")
    actor = (await portal.sign_in(PATEL))["access_token"]
    answer = await exchange(portal, actor, subject_token="waiting")
    assert answer.status_code == 400
    told = answer.json()
    assert (told["error"], told["interval"], told["redemption"]) == ("authorization_pending", 2, "r1")


async def test_exchange_is_refused_before_sharing_hears_of_it(world: World, grants: Grants) -> None:
    portal, thief = Sender(world, "held-portal"), Sender(world, "held-portal")
    actor = (await portal.sign_in(PATEL))["access_token"]
    grant_token = (await exchange(portal, actor)).json()["access_token"]
    grants.requests.clear()
    refusals = [
        (await exchange(thief, actor), "invalid_grant"),
        (await exchange(portal, "guess"), "invalid_grant"),
        (await exchange(portal, None), "invalid_request"),
        (await exchange(portal, actor, actor_token_type=None), "invalid_request"),
        (await exchange(portal, actor, actor_token_type="urn:x"), "invalid_request"),
        (await exchange(portal, actor, client_id="held-phone"), "invalid_grant"),
        (await exchange(portal, grant_token), "invalid_grant"),
    ]
    for answer, error in refusals:
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    world.storage.clock_offset = timedelta(seconds=301)
    assert (await exchange(portal, actor)).json()["error"] == "invalid_grant"
    assert grants.requests == []


async def test_citizens_record_token_is_no_actor_token(world: World, grants: Grants) -> None:
    phone = Sender(world)
    await phone.sign_in(ALEX)
    token = (await phone.sign_in(ALEX, resource=world.resource(ALEX)))["access_token"]
    assert (await exchange(phone, token)).json()["error"] == "invalid_grant"
    assert grants.requests == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({"grant_type": "implicit"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "client_id": "held-phone"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x"}, "invalid_request"),
        ({"grant_type": "authorization_code", "code": "x", "client_id": "nobody"}, "invalid_client"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
)
async def test_malformed_requests_have_their_own_errors(
    world: World, fields: dict[str, str | None], error: str
) -> None:
    answer = await Sender(world).form(fields)
    assert (answer.status_code, answer.json()["error"]) == (401 if error == "invalid_client" else 400, error)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")


async def test_token_endpoint_wants_a_proof_and_a_form(world: World) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    assert (await world.http.post("/oauth/token", data=form)).json()["error"] == "invalid_dpop_proof"
    for body in ({"json": form}, {"content": b"a=b&a=b", "headers": {"Content-Type": "text/plain"}}):
        assert (await world.http.post("/oauth/token", **body)).json()["error"] == "invalid_request"
    doubled = b"grant_type=refresh_token&grant_type=refresh_token"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await world.http.post("/oauth/token", content=doubled, headers=headers)
    assert answer.json()["error"] == "invalid_request"


async def test_token_is_never_taken_from_the_query(world: World) -> None:
    token = (await Sender(world).sign_in(ALEX))["access_token"]
    assert (await world.http.get("/me", params={"access_token": token})).status_code == 401
    assert (await world.http.post(f"/oauth/token?access_token={token}")).status_code == 400


async def test_introspection_tells_a_living_token(world: World) -> None:
    portal = Sender(world, "held-portal")
    system = await registered_integrator(world)
    actor = (await portal.sign_in(PATEL))["access_token"]
    token = (await exchange(portal, actor)).json()["access_token"]
    answer = (await system.form({"token": token, **system.credentials()}, INTROSPECT)).json()
    assert answer["active"] is True
    assert (answer["sub"], answer["grant"], answer["grant_version"]) == (PATEL.held_subject, GRANT, 1)
    assert (answer["token_type"], answer["client_id"]) == ("DPoP", "held-portal")
    assert await introspected(portal, actor, token) == answer


async def introspected(sender: Sender, own_token: str, token: str) -> Any:
    """The answer to a person asking with a token of their own."""
    ath = _ath(own_token)
    headers = {"Authorization": f"DPoP {own_token}", "DPoP": sender.proof("POST", INTROSPECT, ath=ath)}
    answer = await sender.world.http.post(INTROSPECT, data={"token": token}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_introspection_says_nothing_of_dead_tokens(world: World, grants: Grants) -> None:
    portal = Sender(world, "held-portal")
    system = await registered_integrator(world)
    tokens = await portal.sign_in(PATEL)
    grant_token = (await exchange(portal, tokens["access_token"])).json()["access_token"]
    grants.is_live = False

    async def told(token: str) -> Any:
        return (await system.form({"token": token, **system.credentials()}, INTROSPECT)).json()

    for dead in (grant_token, tokens["refresh_token"], "guess", "x" * 9000, "a.b.c"):
        assert await told(dead) == {"active": False}
    assert (await told(tokens["access_token"]))["active"] is True
    world.storage.clock_offset = timedelta(seconds=301)
    assert await told(tokens["access_token"]) == {"active": False}


async def test_introspection_is_not_for_strangers(world: World) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["access_token"]
    for fields in ({"token": token}, {"token": token, "client_id": "held-phone"}):
        answer = await world.http.post(INTROSPECT, data=fields)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
async def test_revoking_ends_the_whole_sign_in(world: World, which: str) -> None:
    phone = Sender(world)
    tokens = await phone.sign_in(ALEX)
    assert (await phone.call(tokens["access_token"])).status_code == 200
    form = {"token": tokens[which], "client_id": "held-phone"}
    assert (await world.http.post("/oauth/revoke", data=form)).status_code == 200
    assert (await phone.call(tokens["access_token"])).status_code == 401
    assert (await phone.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_revoking_leaves_other_sign_ins_alone(world: World) -> None:
    phone, tablet = Sender(world), Sender(world)
    tokens, others = await phone.sign_in(ALEX), await tablet.sign_in(ALEX)
    await world.http.post("/oauth/revoke", data={"token": tokens["access_token"], "client_id": "held-phone"})
    assert (await tablet.call(others["access_token"])).status_code == 200


async def test_grant_token_dies_with_the_sign_in_it_came_from(world: World) -> None:
    portal = Sender(world, "held-portal")
    tokens = await portal.sign_in(PATEL)
    token = (await exchange(portal, tokens["access_token"])).json()["access_token"]
    form = {"token": tokens["refresh_token"], "client_id": "held-portal"}
    await world.http.post("/oauth/revoke", data=form)
    assert (await portal.call(token)).status_code == 401


@pytest.mark.parametrize("token", ["guess", "held_rt_guess", "a.b.c", "x" * 9000])
async def test_revoking_what_nobody_knows_is_no_error(world: World, token: str) -> None:
    answer = await world.http.post("/oauth/revoke", data={"token": token, "client_id": "held-phone"})
    assert (answer.status_code, answer.json()) == (200, {})


async def test_revoking_another_clients_token_does_nothing(world: World) -> None:
    phone = Sender(world)
    tokens = await phone.sign_in(ALEX)
    for token in tokens["access_token"], tokens["refresh_token"]:
        answer = await world.http.post("/oauth/revoke", data={"token": token, "client_id": "held-portal"})
        assert answer.status_code == 200
    assert (await phone.call(tokens["access_token"])).status_code == 200
    answer = await world.http.post("/oauth/revoke", data={"token": tokens["access_token"]})
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("name", ["oauth-authorization-server", "smart-configuration"])
async def test_discovery_lists_only_what_is_there(world: World, name: str) -> None:
    answer = await world.http.get(f"/.well-known/{name}", headers={"Accept": "text/html"})
    assert answer.headers["content-type"].startswith("application/json")
    told = answer.json()
    assert told["issuer"] == BASE_URL
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert TOKEN_EXCHANGE in told["grant_types_supported"]
    for member in ("token", "revocation", "introspection"):
        path = told[f"{member}_endpoint"].removeprefix(BASE_URL)
        assert (await world.http.post(path)).status_code in {400, 401}
    assert (await world.http.get(told["authorization_endpoint"])).status_code == 400
    keys = (await world.http.get(told["jwks_uri"])).json()["keys"]
    assert [key["alg"] for key in keys] == ["ES256"]
    assert all("d" not in key for key in keys)


async def test_smart_configuration_has_capabilities(world: World) -> None:
    told = (await world.http.get("/.well-known/smart-configuration")).json()
    assert "client-confidential-asymmetric" in told["capabilities"]


def _ath(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
