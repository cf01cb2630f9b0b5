"""Phones at once, and a phone ended in between, the same on SQLite and PostgreSQL (I1, I9, I24)."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import pytest_asyncio

from server.devices_sync.visitor import phone_of
from server.errors import DeviceEnded, HeldError
from server.records import pulling
from server.storage import feed
from server.storage.engine import Snapshot, Storage
from server.storage.session import WriteSession
from tests.api.phones import create, delete, patch, weight
from tests.contract.sync_world import ServicePhone, SyncWorld, new_signer

T = TypeVar("T")


@pytest_asyncio.fixture
async def world(storage: Storage, tmp_path: Path) -> SyncWorld:
    return await SyncWorld(storage, new_signer(tmp_path)).begin()


async def test_one_push_sent_many_times_at_once_has_one_effect(world: SyncWorld) -> None:
    phone, other = await world.phone(), await world.phone("Tablet")
    made = [create(weight(70 + number)) for number in range(3)]
    pushes = [phone.push(*made) for _ in range(4)] + [other.push(*reversed(made)) for _ in range(4)]
    answers = await asyncio.gather(*pushes)
    results = [result for answer in answers for result in answer.results]
    assert {result.outcome for result in results} == {"applied"}
    assert sum(not result.repeat for result in results) == 3
    assert await seqs(world) == list(range(1, 5))


async def test_many_phones_writing_one_item_lose_nothing(world: SyncWorld) -> None:
    phones = [await world.phone(f"Phone {number}") for number in range(4)]
    made = create(weight(70))
    await phones[0].one(made)
    notes = [f"note {number}" for number in range(12)]
    await asyncio.gather(
        *(
            phones[number % 4].one(patch(made, 1, {"note": [{"text": text}]}))
            for number, text in enumerate(notes)
        )
    )
    page = await phones[0].changes()
    body = next(bytes(row.body) for row in page.changes if row.id == made["id"])
    assert all(text.encode() in body for text in notes)
    assert await seqs(world) == [1, 14]


async def test_a_plan_overtaken_by_another_phone_is_made_again(world: SyncWorld) -> None:
    phone, other = await world.phone(), await world.phone("Tablet")
    made, dropped = create(weight(70)), create(weight(71))
    await phone.push(made, dropped)

    async def overtake() -> None:
        await other.push(patch(made, 1, {"valueQuantity": {"value": 99}}), delete(dropped, 1))

    phone.world = overtaken_by(world, overtake)
    results = (
        await phone.push(
            patch(made, 1, {"effectiveDateTime": "2026-11-21"}),
            patch(dropped, 1, {"note": [{"text": "x"}]}),
            patch(made, 1, {"valueQuantity": {"value": 1}}),
        )
    ).results
    assert [(one.outcome, one.code) for one in results] == [
        ("merged", None),
        ("conflict", "gone"),
        ("conflict", "changed"),
    ]
    body = bytes(results[0].body)
    assert b'"value":99' in body
    assert b'"effectiveDateTime":"2026-11-21"' in body


async def test_a_phone_that_is_ended_while_it_pulls_gets_nothing(world: SyncWorld) -> None:
    phone, other = await world.phone(), await world.phone("Tablet")
    await phone.changes()
    authority = await phone.authority()

    async def read(snapshot: Snapshot) -> pulling.Rows:
        found = await pulling.rows(snapshot, pulling.Span(0, 100, 500, 1_000_000))
        await world.sync.end_device(await other.authority(), phone.device_id)
        return found

    with pytest.raises(DeviceEnded):
        await pulling.pull(world.storage, authority, phone_of(authority), read)


async def test_a_phone_that_was_let_in_before_its_end_gets_nothing_after_it(world: SyncWorld) -> None:
    phone, other = await world.phone(), await world.phone("Tablet")
    made = create(weight(70))
    await phone.one(made)
    cursor = (await phone.changes()).cursor
    authority = await phone.authority()
    await world.sync.end_device(await other.authority(), phone.device_id)
    sync, message = world.sync, phone.pushing(patch(made, 1, {"note": [{"text": "too late"}]}))
    calls: list[Callable[[], Any]] = [
        lambda: sync.changes(authority),
        lambda: sync.snapshot(authority),
        lambda: sync.segment(authority, "x"),
        lambda: sync.digest(authority, cursor, "", 1),
        lambda: sync.head(authority),
        lambda: sync.push(authority, message),
    ]
    for call in calls:
        with pytest.raises(DeviceEnded):
            await call()
    page = await other.changes()
    row = next(row for row in page.changes if row.id == made["id"])
    assert row.version == 1


async def test_a_push_overtaken_by_the_end_of_its_phone_does_nothing(world: SyncWorld) -> None:
    phone, other = await world.phone(), await world.phone("Tablet")
    await phone.changes()
    ender = await other.authority()
    phone.world = overtaken_by(world, lambda: world.sync.end_device(ender, phone.device_id))
    with pytest.raises(DeviceEnded):
        await phone.one(create(weight(70)))
    assert await seqs(world) == [1]


async def test_ending_and_pushing_at_once_leave_one_order(world: SyncWorld) -> None:
    keeper = await world.phone("Keeper")
    for _ in range(3):
        phone = await world.phone()
        pushes = [send(phone, create(weight(70))) for _ in range(4)]
        done = await asyncio.gather(
            *pushes[:2], world.sync.end_device(await keeper.authority(), phone.device_id), *pushes[2:]
        )
        applied = {made for made in done if made is not None}
        held = {row.id for row in (await keeper.changes()).changes}
        assert applied <= held
        with pytest.raises(HeldError):
            await phone.push(create(weight(1)))


class Overtaken(Storage):
    """Storage before whose first write somebody else comes in."""

    def __init__(self, storage: Storage) -> None:
        self.__dict__ = dict(storage.__dict__)
        self.first: Callable[[], Any] | None = None

    async def write(self, record_id: UUID, command: Callable[[WriteSession], T]) -> T:
        """As Storage does, but later."""
        first, self.first = self.first, None
        if first is not None:
            await first()
        return await super().write(record_id, command)


def overtaken_by(world: SyncWorld, first: Callable[[], Any]) -> SyncWorld:
    """The same record, where `first` comes in before the first write."""
    storage = Overtaken(world.storage)
    storage.first = first
    slow = SyncWorld(storage, world.signer)
    slow.record_id = world.record_id
    return slow


async def send(phone: ServicePhone, mutation: dict[str, Any]) -> str | None:
    """The id of what was made, or None when the phone was refused."""
    try:
        result = await phone.one(mutation)
    except DeviceEnded:
        return None
    return str(mutation["id"]) if result.outcome == "applied" else None


async def seqs(world: SyncWorld) -> list[int]:
    """The numbers of the feed's rows."""
    rows = await world.storage.read(world.record_id, lambda session: feed.changes(session, 0, 500))
    return [row.seq for row in rows]
