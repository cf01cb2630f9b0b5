"""What must happen once happens once, however many ask at the same moment; on both databases."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fhir_profiles.slices import Slice
from server.audit import service as audit
from server.audit.entry import LogEntry
from server.errors import AccessEnded, Busy, Conflict, LimitReached, OAuthError
from server.identity.people import put_person
from server.identity.principal import Person
from server.sharing.authorise import authorise
from server.sharing.rules import Narrowing
from server.storage.directory_sharing import GUESSES_PER_HOUR, GUESSES_PER_OFFER
from server.storage.engine import Storage
from tests.contract.sharing_world import OKAFOR, PATEL, REFUSED, SharingWorld, holder, written

AT_ONCE = 200


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


async def outcomes(calls: list[Awaitable[Any]]) -> Counter[str]:
    """How the calls ended: by the error's own word, or `done`."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(
            answer, OAuthError | Busy | LimitReached | AccessEnded | Conflict
        ):
            raise answer
    return Counter(_word(answer) for answer in answers)


def _word(answer: object) -> str:
    if isinstance(answer, OAuthError):
        return answer.error
    return type(answer).__name__ if isinstance(answer, Exception) else "done"


async def crowd(world: SharingWorld, count: int) -> list[Person]:
    """Professionals who have all signed in."""
    people = [msgspec.structs.replace(PATEL, subject=f"cis2:{number}") for number in range(count)]

    def keep(session: Any) -> None:
        for person in people:
            put_person(session, person)

    await world.storage.register(keep)
    return people


async def test_of_200_redeems_of_one_code_by_one_professional_exactly_one_succeeds(
    world: SharingWorld,
) -> None:
    grant, offer = await world.offer()
    counted = await outcomes([world.exchange("offer-code", written(offer)) for _ in range(AT_ONCE)])
    assert counted["authorization_pending"] == 1
    assert set(counted) <= {"authorization_pending", "invalid_grant", "Busy"}
    assert (await world.sharing.one(world.record_id, grant.grant_id)).state == "pending"


async def test_of_200_redeems_of_one_code_by_many_professionals_exactly_one_succeeds(
    world: SharingWorld,
) -> None:
    people = await crowd(world, 20)
    grant, offer = await world.offer()
    counted = await outcomes(
        [
            world.exchange("offer-code", written(offer), who=people[number % 20], jkt=f"key-{number}")
            for number in range(AT_ONCE)
        ]
    )
    assert counted["authorization_pending"] == 1
    assert set(counted) <= {"authorization_pending", "invalid_grant", "Busy"}
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert shown.waiting is not None
    assert shown.grant.version == 2


async def test_parallel_guesses_at_one_offer_get_five_tries_in_all(world: SharingWorld) -> None:
    people = await crowd(world, 30)
    _, offer = await world.offer()
    wrong = [f"{offer.typed.name}{secret:06}" for secret in range(30)]
    counted = await outcomes(
        [
            world.exchange("offer-code", code, who=person)
            for code, person in zip(wrong, people, strict=True)
            if code != offer.typed.name + offer.typed.secret
        ]
    )
    assert set(counted) == {"invalid_grant"}
    # The sixth try would have been looked at; the offer is dead for the right code too.
    assert GUESSES_PER_OFFER == 5
    assert await world.refused("offer-code", written(offer)) == REFUSED


async def test_parallel_guesses_by_one_professional_get_five_tries_in_all(world: SharingWorld) -> None:
    _, offer = await world.offer()
    guesses = [f"ZZ{number:02}-000000" for number in range(GUESSES_PER_HOUR + 20)]
    counted = await outcomes([world.exchange("offer-code", guess) for guess in guesses])
    assert set(counted) == {"invalid_grant"}
    assert await world.refused("offer-code", written(offer)) == REFUSED
    await world.redeem(written(offer), who=OKAFOR)


async def test_at_most_five_offers_are_made_at_once(world: SharingWorld) -> None:
    counted = await outcomes([world.offer() for _ in range(12)])
    assert counted == {"done": 5, "LimitReached": 7}


async def test_a_code_is_confirmed_once_whatever_is_answered_at_once(world: SharingWorld) -> None:
    grant, offer = await world.offer()
    pending = await world.redeem(written(offer))
    owner = await world.owner()
    yes = [world.sharing.allow(owner, grant.grant_id, pending.redemption_id, pending.match) for _ in range(5)]
    no = [world.sharing.reject(owner, grant.grant_id, pending.redemption_id) for _ in range(5)]
    counted = await outcomes([*yes, *no])
    assert counted == {"done": 5, "Conflict": 5}
    shown = await world.sharing.one(world.record_id, grant.grant_id)
    assert shown.state in {"active", "rejected"}
    assert shown.grant.version == 3


async def test_ending_at_once_is_one_ending_with_one_receipt(world: SharingWorld) -> None:
    grant, _, _ = await world.grant_live()
    owner = await world.owner()
    receipts = await asyncio.gather(*(world.sharing.end(owner, grant.grant_id, None) for _ in range(10)))
    assert len({receipt.jws for receipt in receipts}) == 1
    log = await audit.entries(world.storage, world.record_id, 0, 50)
    assert [line.entry.kind for line in log.entries].count("end") == 1


@pytest.mark.parametrize("seed", range(4))
async def test_no_disclosure_commits_after_an_ending(world: SharingWorld, seed: int) -> None:
    grant, answer, _ = await world.grant_live()
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    owner = await world.owner()

    async def disclose(number: int) -> None:
        await asyncio.sleep(secrets.randbelow(20) / 1_000)
        entry = LogEntry(
            kind="read",
            who=authority.who,
            sentence="Dr Patel looked at 1 item.",
            grant_id=grant.grant_id,
            items=(("Observation", str(number), "1"),),
        )
        await audit.append(world.storage, world.record_id, entry, authority.still_live)

    async def end() -> Any:
        await asyncio.sleep(secrets.randbelow(20) / 1_000)
        return await world.sharing.end(owner, grant.grant_id, None)

    ending = asyncio.create_task(end())
    counted = await outcomes([disclose(number) for number in range(60)])
    receipt = await ending
    assert set(counted) <= {"done", "AccessEnded"}
    kinds = [
        line.entry.kind for line in (await audit.entries(world.storage, world.record_id, 0, 200)).entries
    ]
    assert "read" not in kinds[kinds.index("end") :]
    assert kinds.count("read") == counted["done"] == len(receipt.seen)


@pytest.mark.parametrize("seed", range(3))
async def test_no_disclosure_of_the_wider_slice_commits_after_a_narrowing(
    world: SharingWorld, seed: int
) -> None:
    grant, answer, _ = await world.grant_live(shared=Slice(categories=("medicines", "results")))
    authority = await authorise(world.storage, holder(world, answer), world.record_id)
    owner = await world.owner()

    async def disclose(number: int) -> None:
        await asyncio.sleep(secrets.randbelow(20) / 1_000)
        entry = LogEntry(
            kind="read",
            who=authority.who,
            sentence="Dr Patel looked at 1 item.",
            grant_id=grant.grant_id,
            items=(("Observation", str(number), "1"),),
        )
        await audit.append(world.storage, world.record_id, entry, authority.still_live)

    async def narrow() -> None:
        await asyncio.sleep(secrets.randbelow(20) / 1_000)
        asked = Narrowing(base_version=3, slice=Slice(categories=("medicines",)))
        await world.sharing.narrow(owner, grant.grant_id, asked)

    narrowing = asyncio.create_task(narrow())
    counted = await outcomes([disclose(number) for number in range(60)])
    await narrowing
    assert set(counted) <= {"done", "AccessEnded"}
    log = await audit.entries(world.storage, world.record_id, 0, 200)
    kinds = [line.entry.kind for line in log.entries]
    narrowed_at = max(number for number, kind in enumerate(kinds) if kind == "grant")
    assert narrowed_at > 1
    assert "read" not in kinds[narrowed_at:]
    assert kinds.count("read") == counted["done"]


async def test_of_many_changes_from_one_version_at_once_exactly_one_is_made(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=Slice(categories=("medicines", "results")))
    owner = await world.owner()
    ends_at = datetime.fromisoformat(answer["ends_at"])
    less = [Narrowing(base_version=3, slice=Slice(categories=(name,))) for name in ("medicines", "results")]
    calls: list[Awaitable[Any]] = [
        world.sharing.extend(owner, grant.grant_id, 3, ends_at + timedelta(hours=hours))
        for hours in range(1, 9)
    ]
    calls += [world.sharing.narrow(owner, grant.grant_id, asked) for asked in less * 4]
    counted = await outcomes(calls)
    assert counted == {"done": 1, "Stale": 15}
    assert (await world.sharing.one(world.record_id, grant.grant_id)).grant.version == 4
