"""Refresh tokens: rotation, the grace for a lost answer, theft, idle and absolute ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from tests.api.identity_world import ALEX, PATEL, Sender, World, open_world

DAY = 24 * 3600


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


def later(world: World, seconds: float) -> None:
    world.storage.clock_offset += timedelta(seconds=seconds)


async def test_refresh_gives_a_new_token_and_a_successor(world: World) -> None:
    phone = Sender(world)
    first = await phone.sign_in(ALEX, resource=None)
    answer = await phone.refresh(first["refresh_token"], resource=world.resource(ALEX))
    second = answer.json()
    assert second["record"] == str(world.records.record_of(ALEX))
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert (await phone.call(second["access_token"])).status_code == 200
    assert (await phone.refresh(second["refresh_token"])).status_code == 200


async def test_signing_in_stays_when_it_was_after_a_refresh(world: World) -> None:
    phone = Sender(world)
    first = await phone.sign_in(ALEX)
    later(world, 1000)
    second = (await phone.refresh(first["refresh_token"])).json()
    now = await world.identity.clock.now()
    claims = world.identity.parts.access_tokens.verify(second["access_token"], now)
    assert claims.auth_time is not None
    assert 999 <= now.timestamp() - claims.auth_time <= 1010


@pytest.mark.parametrize("seconds", [0, 59])
async def test_lost_answer_is_answered_again_with_the_same_successor(world: World, seconds: int) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    first = (await phone.refresh(token)).json()
    later(world, seconds)
    again = (await phone.refresh(token)).json()
    assert again["refresh_token"] == first["refresh_token"]
    assert (await phone.refresh(again["refresh_token"])).status_code == 200


async def test_rotated_token_brought_later_ends_the_whole_sign_in(world: World) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    newest = (await phone.refresh(token)).json()
    later(world, 61)
    assert (await phone.refresh(token)).json()["error"] == "invalid_grant"
    assert (await phone.refresh(newest["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await phone.call(newest["access_token"])).status_code == 401


async def test_parallel_refreshes_give_one_successor(world: World) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    answers = await asyncio.gather(*(phone.refresh(token) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_token_is_worth_nothing_with_another_key_or_client(world: World) -> None:
    phone, thief = Sender(world), Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    assert (await thief.refresh(token)).json()["error"] == "invalid_grant"
    assert (await phone.refresh(token, client_id="held-portal")).json()["error"] == "invalid_grant"
    used = (await phone.refresh(token)).json()
    assert (await thief.refresh(token)).json()["error"] == "invalid_grant"
    assert (await phone.refresh(used["refresh_token"])).status_code == 200


@pytest.mark.parametrize("token", ["held_rt_guess", "x", "x" * 10_000])
async def test_guessed_token_is_refused(world: World, token: str) -> None:
    assert (await Sender(world).refresh(token)).json()["error"] == "invalid_grant"


@pytest.mark.parametrize(("days", "status"), [(29.99, 200), (30.01, 400)])
async def test_idle_token_dies_after_thirty_days(world: World, days: float, status: int) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    later(world, days * DAY)
    assert (await phone.refresh(token)).status_code == status


async def test_sign_in_dies_after_ninety_days_however_busy(world: World) -> None:
    phone = Sender(world)
    token = (await phone.sign_in(ALEX))["refresh_token"]
    for _ in range(3):
        later(world, 29.9 * DAY)
        answer = await phone.refresh(token)
        assert answer.status_code == 200
        token = answer.json()["refresh_token"]
    later(world, 0.4 * DAY)
    assert (await phone.refresh(token)).json()["error"] == "invalid_grant"


async def test_professional_can_refresh_too(world: World) -> None:
    portal = Sender(world, "held-portal")
    token = (await portal.sign_in(PATEL))["refresh_token"]
    answer = (await portal.refresh(token)).json()
    assert (await portal.call(answer["access_token"], "/professionals")).status_code == 200


async def test_secrets_stand_in_the_database_only_as_hashes(world: World, tmp_path: Path) -> None:
    phone = Sender(world)
    code = await phone.code(ALEX)
    tokens = (await phone.redeem(code)).json()
    await phone.refresh(tokens["refresh_token"])
    await world.storage.close()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("held.db"))
    for secret in (code, tokens["refresh_token"], "Alex", "nhs-login:alex", ALEX.nhs_number or "-"):
        assert secret.encode() not in files
        assert secret.removeprefix("held_ac_").removeprefix("held_rt_").encode() not in files
