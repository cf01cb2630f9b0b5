"""Integrators: tokens for whoever signs with a registered key, and for nobody else."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from server.errors import Conflict, NotFound
from server.identity.clients import integrator
from server.identity.signing_keys import new_signing_key, private_jwk
from server.identity.tokens import Jwk, TokenRefused
from tests.api.identity_world import (
    BASE_URL,
    IntegratorSender,
    Sender,
    World,
    open_world,
    registered_integrator,
)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


async def test_integrator_gets_a_token_naming_its_organisation(world: World) -> None:
    system = await registered_integrator(world)
    answer = await system.ask()
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert "refresh_token" not in tokens
    assert (tokens["scope"], tokens["token_type"]) == ("system/Bundle.c system/Task.rus", "DPoP")
    me = (await system.call(tokens["access_token"])).json()
    assert (me["subject"], me["kind"], me["name"]) == ("gp-system", "integrator", "Beeston's system")
    now = await world.identity.clock.now()
    claims = world.identity.parts.access_tokens.verify(tokens["access_token"], now)
    assert (claims.organisation, claims.record) == ("A81001", None)


@pytest.mark.parametrize("algorithm", ["ES384", "RS384", "ES256"])
async def test_each_algorithm_is_taken(world: World, algorithm: str) -> None:
    signing = new_signing_key(algorithm)
    jwk = msgspec.convert(signing.public_jwk(), Jwk)
    await world.identity.clients.register(integrator("other", name="Other", organisation="B1", jwk=jwk))
    assert (await IntegratorSender(world, "other", signing).ask()).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "other"},
        {"sub": "other"},
        {"iss": "held-phone", "sub": "held-phone"},
        {"aud": "https://elsewhere.test/oauth/token"},
        {"aud": BASE_URL},
        {"aud": [f"{BASE_URL}/oauth/token", "https://elsewhere.test"]},
        {"aud": None},
        {"exp": 1},
        {"exp": 4_000_000_000},
        {"exp": None},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 257},
        {"nbf": 4_000_000_000},
    ],
)
async def test_wrong_assertion_is_refused(world: World, changes: dict[str, Any]) -> None:
    system = await registered_integrator(world)
    answer = await system.ask(**changes)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_assertion_is_taken_once(world: World) -> None:
    system = await registered_integrator(world)
    form = {"grant_type": "client_credentials", **system.credentials()}
    assert (await system.form(form)).status_code == 200
    assert (await system.form(form)).json()["error"] == "invalid_client"


async def test_assertion_of_another_key_is_refused(world: World) -> None:
    system = await registered_integrator(world)
    impostor = IntegratorSender(world, "gp-system", new_signing_key("ES384"))
    assert (await impostor.ask()).status_code == 401
    named = msgspec.structs.replace(new_signing_key("ES384"), kid=system.signing.kid)
    assert (await IntegratorSender(world, "gp-system", named).ask()).status_code == 401
    for client_id in ("held-phone", "nobody"):
        assert (await IntegratorSender(world, client_id, system.signing).ask()).status_code == 401


async def test_client_without_an_assertion_is_refused(world: World) -> None:
    phone = Sender(world)
    for form in (
        {"grant_type": "client_credentials", "client_id": "gp-system"},
        {"grant_type": "client_credentials", "client_assertion": "guess"},
        {"grant_type": "client_credentials", "client_assertion": "x" * 9000},
    ):
        answer = await phone.form(form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_integrator_may_not_sign_people_in(world: World) -> None:
    system = await registered_integrator(world)
    fields: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "code": "guess",
        "client_id": "gp-system",
        "code_verifier": "x" * 43,
    }
    assert (await system.form(fields)).json()["error"] == "unauthorized_client"


async def test_scope_is_never_more_than_registered(world: World) -> None:
    system = await registered_integrator(world)
    asked = {"grant_type": "client_credentials", **system.credentials()}
    assert (await system.form({**asked, "scope": "system/*.cruds"})).json()["error"] == "invalid_scope"
    asked |= system.credentials()
    narrowed = await system.form({**asked, "scope": "system/*.cruds system/Bundle.c"})
    assert narrowed.json()["scope"] == "system/Bundle.c"


async def test_rotated_key_overlaps_for_a_day(world: World) -> None:
    system = await registered_integrator(world)
    newer = new_signing_key("ES384")
    await world.identity.clients.rotate("gp-system", msgspec.convert(newer.public_jwk(), Jwk))
    assert (await system.ask()).status_code == 200
    assert (await IntegratorSender(world, "gp-system", newer).ask()).status_code == 200
    world.storage.clock_offset = timedelta(hours=24, seconds=1)
    assert (await system.ask()).status_code == 401
    assert (await IntegratorSender(world, "gp-system", newer).ask()).status_code == 200


async def test_leaked_key_can_be_retired_at_once(world: World) -> None:
    system = await registered_integrator(world)
    jwk = msgspec.convert(new_signing_key("ES384").public_jwk(), Jwk)
    await world.identity.clients.rotate("gp-system", jwk, overlap_seconds=0)
    assert (await system.ask()).status_code == 401


async def test_registration_refuses_what_cannot_be_used(world: World) -> None:
    system = await registered_integrator(world)
    key = new_signing_key("ES384")
    for members in (
        private_jwk(key),
        {**key.public_jwk(), "kid": ""},
        {**key.public_jwk(), "alg": "ES256"},
        {**key.public_jwk(), "alg": "HS256"},
        new_signing_key("EdDSA").public_jwk(),
    ):
        with pytest.raises(TokenRefused):
            integrator("x", name="X", organisation="B1", jwk=msgspec.convert(members, Jwk))
    jwk = msgspec.convert(key.public_jwk(), Jwk)
    for taken in (system.client_id, "held-phone"):
        with pytest.raises(Conflict):
            await world.identity.clients.register(integrator(taken, name="X", organisation="B1", jwk=jwk))
    with pytest.raises(NotFound):
        await world.identity.clients.rotate("nobody", jwk)
