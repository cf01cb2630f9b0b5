"""What two phones sent while they were away arrives in every order: an end is never undone (SYNC I15).

The judge is a slow second reading of the rules, which shares no code with them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from fhir_profiles.slices import Slice
from server.errors import Conflict, NotSignedIn, Stale
from server.sharing import store
from server.sharing.authorise import authorise
from server.sharing.authority import Authority
from server.sharing.grant import Grant
from server.sharing.rules import Narrowing
from server.storage.command import Command, carry_out
from server.storage.engine import Storage
from server.storage.session import WriteSession
from tests.contract.sharing_world import SharingWorld, holder
from tests.unit.sharing.making import active

BASE = 3
DAY = timedelta(days=1)
WHOLE = Slice(current=False, categories=("medicines", "results", "documents"))


class Standing(msgspec.Struct):
    """What should stand, worked out step by step."""

    categories: frozenset[str]
    days: float
    version: int = BASE
    is_over: bool = False
    answer: str = ""

    def narrow(self, categories: set[str], days: float) -> None:
        before = (self.categories, self.days)
        if not self.is_over:
            self.categories, self.days = self.categories & categories, min(self.days, days)
            self.version += (self.categories, self.days) != before
        self.answer = "done"

    def extend(self, days: float) -> None:
        may = not self.is_over and self.version == BASE
        self.answer = "done" if may else "Conflict" if self.is_over else "Stale"
        if may:
            self.days, self.version = days, self.version + 1

    def end(self) -> None:
        self.version += not self.is_over
        self.is_over, self.answer = True, "done"


class Phones:
    """Two phones of one citizen, each of which saw version 3 of the grant."""

    def __init__(self, world: SharingWorld, record_id: UUID, grant: Grant, owner: Authority) -> None:
        assert grant.redeemed_at is not None
        self.storage, self.sharing = world.storage, world.sharing
        self.record_id, self.grant_id, self.since = record_id, grant.grant_id, grant.redeemed_at
        self.owner = msgspec.structs.replace(owner, record_id=record_id)
        self.receipts: list[Any] = []

    async def narrow(self, categories: tuple[str, ...] | None, days: float | None) -> None:
        shared = Slice(current=False, categories=categories) if categories is not None else None
        ends_at = self.since + days * DAY if days is not None else None
        asked = Narrowing(base_version=BASE, slice=shared, ends_at=ends_at)
        await self._send(await self.sharing.prepare_narrow(self.owner, self.grant_id, asked))

    async def extend(self, days: float) -> None:
        later = self.since + days * DAY
        await self._send(await self.sharing.prepare_extend(self.owner, self.grant_id, BASE, later))

    async def end(self) -> None:
        command = await self.sharing.prepare_end(self.owner, self.grant_id, None)
        self.receipts.append(await self._send(command))

    async def end_all(self) -> None:
        self.receipts += await self._send(await self.sharing.prepare_end_all(self.owner))

    async def _send(self, command: Command[Any]) -> Any:
        return await carry_out(self.storage, self.record_id, command)

    async def stands(self) -> Grant:
        return (await self.sharing.one(self.record_id, self.grant_id)).grant


Step = tuple[Callable[[Phones], Awaitable[None]], Callable[[Standing], None]]
STEPS: dict[str, Step] = {
    "a narrows the slice": (
        lambda phones: phones.narrow(("medicines", "documents"), None),
        lambda standing: standing.narrow({"medicines", "documents"}, 99),
    ),
    "b narrows both": (
        lambda phones: phones.narrow(("medicines", "results"), 0.5),
        lambda standing: standing.narrow({"medicines", "results"}, 0.5),
    ),
    "a extends": (lambda phones: phones.extend(3), lambda standing: standing.extend(3)),
    "b extends": (lambda phones: phones.extend(7), lambda standing: standing.extend(7)),
    "a ends": (lambda phones: phones.end(), lambda standing: standing.end()),
    "b ends everything": (lambda phones: phones.end_all(), lambda standing: standing.end()),
}


@pytest_asyncio.fixture
async def world(storage: Storage) -> SharingWorld:
    return await SharingWorld(storage).begin()


def live(now: datetime) -> Grant:
    """A grant that was said yes to just now."""
    return msgspec.structs.replace(
        active(slice=WHOLE), grant_id=uuid4(), created_at=now, redeemed_at=now, ends_at=now + DAY
    )


async def enter(world: SharingWorld, record_id: UUID, grants: list[Grant]) -> None:
    def add(session: WriteSession) -> None:
        for grant in grants:
            store.add_grant(session, grant)

    await world.storage.write(record_id, add)


async def outcome(call: Awaitable[None]) -> str:
    try:
        await call
    except Conflict as refused:
        return type(refused).__name__
    return "done"


async def follow(phones: Phones, order: tuple[str, ...]) -> None:
    """Plays the order, and judges every answer and what stands after it."""
    standing = Standing(frozenset(WHOLE.categories), 1)
    for number, name in enumerate(order):
        send, expect = STEPS[name]
        expect(standing)
        assert await outcome(send(phones)) == standing.answer, order[: number + 1]
        grant = await phones.stands()
        found = (grant.version, frozenset(grant.slice.categories), grant.ends_at, grant.state == "ended")
        ends_at = phones.since + standing.days * DAY
        expected = (standing.version, standing.categories, ends_at, standing.is_over)
        assert found == expected, order[: number + 1]
    assert len({receipt.jws for receipt in phones.receipts}) <= 1


@pytest.mark.parametrize(
    "first", ["a narrows the slice", "b narrows both", "a extends", "b extends", "a ends"]
)
async def test_an_end_stands_in_every_order_of_arrival(world: SharingWorld, first: str) -> None:
    rest = [name for name in STEPS if name not in {first, "b ends everything"}]
    owner, now = await world.owner(), await world.now()
    orders = [(first, *others) for others in permutations(rest)]
    grants = [live(now) for _ in orders]
    await enter(world, world.record_id, grants)
    for grant, order in zip(grants, orders, strict=True):
        await follow(Phones(world, world.record_id, grant, owner), order)
    assert {one.state for one in await world.sharing.every(world.record_id)} == {"ended"}


async def test_an_end_of_everything_stands_in_every_order_of_arrival(world: SharingWorld) -> None:
    owner, now = await world.owner(), await world.now()
    names = ["a narrows the slice", "a extends", "a ends", "b ends everything"]
    for order in permutations(names):
        record_id, grant = uuid4(), live(now)
        await world.storage.create_record(record_id, lambda session: None)
        await enter(world, record_id, [grant])
        await follow(Phones(world, record_id, grant, owner), order)


async def test_an_end_among_changes_at_the_same_moment_stands(world: SharingWorld) -> None:
    owner, now = await world.owner(), await world.now()
    grants = [live(now) for _ in range(12)]
    await enter(world, world.record_id, grants)
    everyone = [Phones(world, world.record_id, grant, owner) for grant in grants]
    await asyncio.gather(
        *(
            outcome(send(phones))
            for phones in everyone
            for name, (send, _) in STEPS.items()
            if "ends" in name
        ),
        *(outcome(send(phones)) for phones in everyone for name, (send, _) in STEPS.items() if "s n" in name),
        *(outcome(send(phones)) for phones in everyone for name, (send, _) in STEPS.items() if "ext" in name),
    )
    for phones in everyone:
        grant = await phones.stands()
        assert grant.state == "ended"
        assert set(grant.slice.categories) <= set(WHOLE.categories)


async def test_no_version_of_an_ended_grant_opens_anything(world: SharingWorld) -> None:
    grant, answer, _ = await world.grant_live(shared=WHOLE)
    owner = await world.owner()
    shown = (await world.sharing.one(world.record_id, grant.grant_id)).grant
    phones = Phones(world, world.record_id, shown, owner)
    for name in ("b narrows both", "a ends", "a extends", "b extends", "a narrows the slice"):
        await outcome(STEPS[name][0](phones))
    last = (await phones.stands()).version
    for version in range(last + 3):
        with pytest.raises(NotSignedIn):
            await authorise(world.storage, holder(world, answer, grant_version=version), world.record_id)
    with pytest.raises(Stale):
        await world.sharing.extend(owner, (await world.grant_live())[0].grant_id, BASE + 1, shown.created_at)
