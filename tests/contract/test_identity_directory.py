"""Codes, refresh tokens and sign-ins under way: what must happen once does, on both databases."""

import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from server.identity.sign_in_sessions import (
    CodeFacts,
    RefreshFacts,
    SignedIn,
    keep_code,
    new_code,
    new_refresh_token,
    new_session_id,
    redeem_code,
    rotate,
)
from server.storage import directory_identity as rows
from server.storage.engine import Storage
from server.storage.session import DirectorySession

T = TypeVar("T")


def signed_in(session_id: UUID) -> SignedIn:
    return SignedIn(
        subject="nhs-login:alex",
        kind="citizen",
        client_id="held-phone",
        scope="profile",
        signed_in_at=0,
        session_id=session_id,
    )


def anyone(_: CodeFacts | RefreshFacts) -> bool:
    return True


async def kept_code(storage: Storage, session_id: UUID) -> str:
    code = new_code()
    facts = CodeFacts(signed_in=signed_in(session_id), redirect_uri="x", code_challenge="y")
    await storage.register(keep_code(code, facts))
    return code


async def redeem(storage: Storage, code: str, refresh_token: str | None = None) -> SignedIn | None:
    token = refresh_token or new_refresh_token()
    return await storage.register(redeem_code(code, anyone, jkt="k", refresh_token=token))


async def at_once(
    storage: Storage, times: int, command: Callable[[], Callable[[DirectorySession], T]]
) -> list[T]:
    return await asyncio.gather(*(storage.register(command()) for _ in range(times)))


async def test_code_is_redeemed_once_of_fifty(storage: Storage) -> None:
    session_id = new_session_id()
    code = await kept_code(storage, session_id)
    answers = await asyncio.gather(*(redeem(storage, code) for _ in range(50)))
    assert [answer for answer in answers if answer is not None] == [signed_in(session_id)]
    assert not await storage.look_up(lambda session: rows.is_family_live(session, session_id))


async def test_two_codes_do_not_touch_each_other(storage: Storage) -> None:
    first, second = new_session_id(), new_session_id()
    codes = [await kept_code(storage, first), await kept_code(storage, second)]
    for code in (*codes, codes[0]):
        await redeem(storage, code)
    assert not await storage.look_up(lambda session: rows.is_family_live(session, first))
    assert await storage.look_up(lambda session: rows.is_family_live(session, second))


async def test_code_dies_by_the_databases_clock(storage: Storage) -> None:
    code = await kept_code(storage, new_session_id())
    storage.clock_offset = timedelta(seconds=61)
    assert await redeem(storage, code) is None


async def test_refresh_token_has_one_successor_however_often_it_comes(storage: Storage) -> None:
    token = new_refresh_token()
    await redeem(storage, await kept_code(storage, new_session_id()), token)
    answers = await at_once(storage, 30, functools.partial(rotate, token, anyone))
    assert len({answer.refresh_token for answer in answers if answer is not None}) == 1
    assert None not in answers


async def test_refresh_token_that_comes_late_ends_its_family(storage: Storage) -> None:
    token, session_id = new_refresh_token(), new_session_id()
    await redeem(storage, await kept_code(storage, session_id), token)
    await storage.register(rotate(token, anyone))
    storage.clock_offset = timedelta(seconds=61)
    assert await storage.register(rotate(token, anyone)) is None
    assert not await storage.look_up(lambda session: rows.is_family_live(session, session_id))


async def test_sign_in_under_way_is_taken_once(storage: Storage) -> None:
    def keep(session: DirectorySession) -> None:
        rows.put_sign_in(session, b"state", b"sealed", session.now + timedelta(seconds=60))

    await storage.register(keep)
    taken = await at_once(storage, 20, lambda: lambda session: rows.take_sign_in(session, b"state"))
    assert (taken.count(b"sealed"), taken.count(None)) == (1, 19)


async def test_what_expired_is_forgotten_a_day_later(storage: Storage) -> None:
    token = new_refresh_token()
    code = await kept_code(storage, new_session_id())
    await redeem(storage, code, token)
    mac = await storage.look_up(lambda session: rows.secret_mac(session, "authorization-code", code))

    async def is_known() -> bool:
        await storage.register(rows.purge_expired)
        return await storage.look_up(lambda session: rows.authorization_code(session, mac)) is not None

    storage.clock_offset = timedelta(hours=23)
    assert await is_known()
    storage.clock_offset = timedelta(hours=25)
    assert not await is_known()
    assert await storage.register(rotate(token, anyone)) is not None
