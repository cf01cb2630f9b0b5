"""Calls with a token: who is let in, and the table of who is not (THREATS T11)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from server.errors import StepUpNeeded
from server.identity.authenticate import require_recent_sign_in
from server.identity.principal import Principal
from tests.api.identity_world import ALEX, BASE_URL, PATEL, SAM, Sender, World, open_world


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture
async def phone(world: World) -> Sender:
    return Sender(world)


async def token_of(phone: Sender) -> str:
    return (await phone.sign_in(ALEX))["access_token"]


async def test_every_answer_brings_a_nonce(world: World, phone: Sender) -> None:
    token = await token_of(phone)
    answers = [
        await phone.call(token),
        await world.http.get("/me"),
        await phone.refresh("guess"),
        await world.http.get("/.well-known/jwks.json"),
    ]
    nonces = [answer.headers["dpop-nonce"] for answer in answers]
    assert all(nonces)
    assert (await phone.call(token, nonce=nonces[1])).status_code == 200


async def test_call_without_a_token_is_refused(world: World) -> None:
    answer = await world.http.get("/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("DPoP ")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", "", "DPoPX", "Token"])
async def test_bound_token_under_another_scheme_is_refused(world: World, phone: Sender, scheme: str) -> None:
    token = await token_of(phone)
    headers = {"Authorization": f"{scheme} {token}".strip(), "DPoP": phone.proof("GET", "/me", token)}
    answer = await world.http.get("/me", headers=headers)
    assert answer.status_code == 401
    assert 'DPoP error="invalid_token"' in answer.headers["www-authenticate"]


async def test_token_without_a_proof_is_refused(world: World, phone: Sender) -> None:
    answer = await world.http.get("/me", headers={"Authorization": f"DPoP {await token_of(phone)}"})
    assert answer.status_code == 401
    assert 'error="invalid_dpop_proof"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("doubled", ["Authorization", "DPoP"])
async def test_doubled_header_is_refused(world: World, phone: Sender, doubled: str) -> None:
    token = await token_of(phone)
    pairs = [("Authorization", f"DPoP {token}"), ("DPoP", phone.proof("GET", "/me", token))]
    pairs.append(next(pair for pair in pairs if pair[0] == doubled))
    assert (await world.http.get("/me", headers=pairs)).status_code == 401


async def test_doubled_proof_at_the_token_endpoint_is_refused(world: World, phone: Sender) -> None:
    pairs = [("DPoP", phone.proof("POST", "/oauth/token")) for _ in range(2)]
    answer = await world.http.post("/oauth/token", data={"grant_type": "refresh_token"}, headers=pairs)
    assert answer.json()["error"] == "invalid_dpop_proof"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"htm": "POST"}, "invalid_dpop_proof"),
        ({"htu": f"{BASE_URL}/other"}, "invalid_dpop_proof"),
        ({"htu": "https://evil.test/me"}, "invalid_dpop_proof"),
        ({"ath": "wrong"}, "invalid_dpop_proof"),
        ({"ath": None}, "invalid_dpop_proof"),
        ({"iat": 0}, "invalid_dpop_proof"),
        ({"jti": ""}, "invalid_dpop_proof"),
        ({"nonce": "guess"}, "use_dpop_nonce"),
        ({"header": {"typ": "JWT"}}, "invalid_dpop_proof"),
        ({"header": {"jku": "https://evil.test"}}, "invalid_dpop_proof"),
        ({"padding": "x" * 9000}, "invalid_dpop_proof"),
    ],
)
async def test_wrong_proof_is_refused(phone: Sender, changes: dict[str, Any], error: str) -> None:
    answer = await phone.call(await token_of(phone), **changes)
    assert answer.status_code == 401
    assert f'error="{error}"' in answer.headers["www-authenticate"]


async def test_old_nonce_is_refused_and_the_new_one_taken(world: World, phone: Sender) -> None:
    nonce = (await world.http.get("/me")).headers["dpop-nonce"]
    world.storage.clock_offset = timedelta(seconds=302)
    token = await token_of(phone)
    refused = await phone.call(token, nonce=nonce)
    assert 'error="use_dpop_nonce"' in refused.headers["www-authenticate"]
    assert (await phone.call(token, nonce=refused.headers["dpop-nonce"])).status_code == 200


async def test_token_with_another_key_is_refused(world: World, phone: Sender) -> None:
    answer = await Sender(world).call(await token_of(phone))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_proof_used_twice_is_refused_even_at_once(world: World, phone: Sender) -> None:
    token = await token_of(phone)
    headers = {"Authorization": f"DPoP {token}", "DPoP": phone.proof("GET", "/me", token)}
    answers = await asyncio.gather(*(world.http.get("/me", headers=headers) for _ in range(30)))
    assert sorted(answer.status_code for answer in answers) == [200, *[401] * 29]


async def test_proof_spent_at_the_token_endpoint_is_spent(world: World, phone: Sender) -> None:
    token = (await phone.sign_in(ALEX))["refresh_token"]
    headers = {"DPoP": phone.proof("POST", "/oauth/token")}
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "held-phone"}
    assert (await world.http.post("/oauth/token", data=form, headers=headers)).status_code == 200
    replayed = await world.http.post("/oauth/token", data=form, headers=headers)
    assert replayed.json()["error"] == "invalid_dpop_proof"


async def test_two_phones_may_choose_the_same_identifier(world: World, phone: Sender) -> None:
    other = Sender(world)
    tokens = await token_of(phone), (await other.sign_in(SAM))["access_token"]
    assert (await phone.call(tokens[0], jti="same")).status_code == 200
    assert (await other.call(tokens[1], jti="same")).status_code == 200
    assert (await phone.call(tokens[0], jti="same")).status_code == 401


@pytest.mark.parametrize(("seconds", "status"), [(298, 200), (301, 401)])
async def test_token_dies_after_five_minutes(world: World, phone: Sender, seconds: int, status: int) -> None:
    token = await token_of(phone)
    assert (await phone.call(token)).status_code == 200
    world.storage.clock_offset = timedelta(seconds=seconds)
    assert (await phone.call(token)).status_code == status


async def test_citizen_is_not_a_professional(phone: Sender) -> None:
    assert (await phone.call(await token_of(phone), "/professionals")).status_code == 403


async def test_query_and_odd_spelling_of_an_address_do_not_matter_to_the_proof(phone: Sender) -> None:
    token = await token_of(phone)
    address = "/elsewhere/a%20b"
    assert (await phone.call(token, address, "POST")).status_code == 200
    assert (await phone.call(token, address, "POST", htu=f"{BASE_URL}{address}?x=1")).status_code == 200
    assert (await phone.call(token, address, "POST", htu=f"{BASE_URL}/elsewhere/a%20c")).status_code == 401


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30.AAAA", "x" * 9000])
async def test_what_is_not_a_token_is_refused(world: World, phone: Sender, text: str) -> None:
    assert (await phone.call(text)).status_code == 401


async def test_nonce_can_be_demanded_of_a_client(tmp_path: Path) -> None:
    async with open_world(tmp_path, nonce_clients=frozenset({"held-phone"})) as world:
        phone = Sender(world)
        refused = await phone.redeem(await phone.code(ALEX))
        assert (refused.status_code, refused.json()["error"]) == (400, "use_dpop_nonce")
        nonce = refused.headers["dpop-nonce"]
        form = {
            "grant_type": "authorization_code",
            "code": await phone.code(ALEX),
            "code_verifier": phone.verifier,
            "client_id": "held-phone",
            "redirect_uri": phone.redirect_uri,
        }
        token = (await phone.form(form, nonce=nonce)).json()["access_token"]
        without = await phone.call(token)
        assert 'error="use_dpop_nonce"' in without.headers["www-authenticate"]
        assert (await phone.call(token, nonce=without.headers["dpop-nonce"])).status_code == 200
        portal = Sender(world, "held-portal")
        assert (await portal.call((await portal.sign_in(PATEL))["access_token"])).status_code == 200


async def test_step_up_is_asked_after_five_minutes(world: World, phone: Sender) -> None:
    token = await token_of(phone)
    headers = [
        (b"authorization", f"DPoP {token}".encode()),
        (b"dpop", phone.proof("GET", "/me", token).encode()),
    ]
    principal: Principal = await world.identity.authenticate("GET", "/me", headers)
    assert principal.signed_in_at is not None
    require_recent_sign_in(principal, principal.signed_in_at + timedelta(seconds=300))
    with pytest.raises(StepUpNeeded):
        require_recent_sign_in(principal, principal.signed_in_at + timedelta(seconds=301))
