"""Intake on both databases: published once, stale work done again, links in order."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from server.identity.principal import Person
from server.intake.links import Links
from server.intake.organisations import Organisation, register_organisation
from server.intake.service import Intake, Upload
from server.intake.wire import ExtractReport
from server.records.service import Records
from server.storage import feed
from server.storage.engine import Storage
from tests.extracts import NOPAT, bundle, condition, encoded, identified, observation, patient
from tests.world import nhs_number

SENDER = "B86001"


class Desk:
    """One citizen, one organisation, and the service between them."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.records = Records(storage)
        self.intake = Intake(storage, self.records, is_only_process=False)
        self.links = Links(storage, self.records)

    async def open(self, index: int = 0) -> UUID:
        await register_organisation(self.storage, Organisation(organisation=SENDER, name="Beeston Practice"))
        person = Person(
            subject=f"nhs-login:{index}", kind="citizen", name="Amina Yusuf",
            nhs_number=nhs_number(index), birth_date="1980-02-03",
        )  # fmt: skip
        record_id = await self.records.open_record_for(person)
        await self.links.accept(record_id, SENDER)
        return record_id

    async def send(self, body: bytes) -> UUID:
        async def chunks() -> AsyncIterator[bytes]:
            yield body

        report = await self.intake.receive(Upload(organisation=SENDER, extent="partial", chunks=chunks()))
        return UUID(report.extract_id)

    async def report(self, extract_id: UUID) -> ExtractReport:
        await asyncio.wait_for(self.intake.settled(), 60)
        return await self.intake.report(SENDER, extract_id)

    async def seq(self, record_id: UUID) -> int:
        state = await self.storage.read(record_id, lambda session: session.hot.record_state())
        assert state is not None
        return state[0]


def extract(*resources: dict[str, object], index: int = 0) -> bytes:
    return encoded(bundle([patient(nhs_number(index)), *resources]))


async def test_an_extract_is_published_once_and_a_resend_changes_nothing(storage: Storage) -> None:
    desk = Desk(storage)
    record_id = await desk.open()
    many = extract(*[observation(f"o{index}") for index in range(150)], identified(condition(), "c"))
    first = await desk.report(await desk.send(many))
    assert (first.state, first.counts.new) == ("done", 151)
    seq = await desk.seq(record_id)
    again = await desk.report(await desk.send(many))
    assert (again.counts.new, again.counts.changed, again.counts.unchanged) == (0, 0, 152)
    assert await desk.seq(record_id) == seq
    heads = await storage.read(record_id, lambda session: feed.heads(session, 0, 1000))
    assert [head.seq for head in heads] == list(range(1, seq + 1))


async def test_changed_hidden_and_released_items_on_both_databases(storage: Storage) -> None:
    desk = Desk(storage)
    record_id = await desk.open()
    hidden = {"meta": {"security": [NOPAT]}}
    for items, new, changed in (
        ([observation(), condition()], 2, 0),
        ([observation(value="8.1"), condition(**hidden)], 1, 1),
        ([observation(value="8.1"), condition()], 0, 1),
    ):
        report = await desk.report(await desk.send(extract(*items)))
        assert report.state == "done"
        assert (report.counts.new, report.counts.changed) == (new, changed)
    assert await storage.read(record_id, feed.hidden_names) == frozenset()


async def test_extracts_of_several_people_at_once_do_not_mix(storage: Storage) -> None:
    desk = Desk(storage)
    record_ids = [await desk.open(index) for index in range(4)]
    sent = await asyncio.gather(
        *(desk.send(extract(observation(value=f"{index}.5"), index=index)) for index in range(4))
    )
    for extract_id in sent:
        assert (await desk.report(extract_id)).counts.new == 1
    for index, record_id in enumerate(record_ids):
        found = await storage.read(record_id, lambda session: feed.heads(session, 0, 100))
        (key,) = [each.item_key for each in found if each.head.resource_type == "Observation"]
        served = await storage.read(record_id, lambda session, key=key: feed.body(session, key))
        assert served is not None
        assert f'"value":{index}.5,'.encode() in served.body


async def test_two_processes_with_one_record_end_in_one_order(storage: Storage) -> None:
    here, there = Desk(storage), Desk(storage)
    record_id = await here.open()
    sent = await asyncio.gather(
        *(
            (here if index % 2 else there).send(extract(observation(value=f"{index}.0"), condition()))
            for index in range(1, 7)
        )
    )
    await asyncio.gather(here.intake.settled(), there.intake.settled())
    await here.intake._background.take_up_unfinished()
    reports = [await here.report(extract_id) for extract_id in sent]
    assert {report.state for report in reports} == {"done"}
    versions = {
        each.head.resource_type: each.head.version
        for each in await storage.read(record_id, lambda session: feed.heads(session, 0, 100))
    }
    assert (versions["Observation"], versions["Condition"]) == (6, 1)


async def test_changes_of_links_are_numbered_in_order_without_gaps(storage: Storage) -> None:
    desk = Desk(storage)
    record_ids = [await desk.open(index) for index in range(3)]
    before = await desk.links.changes(SENDER, None)
    assert len(before.links) == 3
    await asyncio.gather(*(desk.links.end(record_id, SENDER) for record_id in record_ids))
    after = await desk.links.changes(SENDER, before.cursor)
    assert [one.state for one in after.links] == ["ended"] * 3
    assert (await desk.links.changes(SENDER, after.cursor)).links == []


@pytest.mark.parametrize("limit", [1])
async def test_a_holding_record_has_no_person(storage: Storage, limit: int) -> None:
    desk = Desk(storage)
    await desk.open()
    report = await desk.report(await desk.send(extract(observation(), index=limit)))
    assert (report.state, report.items) == ("held", [])
