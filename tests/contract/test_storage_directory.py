"""The shared directory on both databases: what is claimed once, sealed, and found by keyed hash."""

import asyncio
from uuid import uuid4

import pytest
import sqlalchemy as sa

from server.storage import directory
from server.storage.directory_tables import OrganisationRow, SubjectRecordRow


async def test_a_subject_keeps_the_first_record_it_claimed(storage):
    first, second = uuid4(), uuid4()
    assert await storage.look_up(lambda session: directory.record_of_subject(session, "p9:anna")) is None
    claims = [
        await storage.register(
            lambda session, record_id=record_id: directory.claim_subject(session, "p9:anna", record_id)
        )
        for record_id in (first, second)
    ]
    assert claims == [first, first]
    assert await storage.look_up(lambda session: directory.record_of_subject(session, "p9:anna")) == first
    assert await storage.look_up(lambda session: directory.record_of_subject(session, "p9:ben")) is None


async def test_of_many_claims_of_one_nhs_number_all_get_the_same_record(storage):
    async def claim():
        record_id = uuid4()
        return await storage.register(
            lambda session: directory.claim_nhs_number(session, "9990000018", record_id)
        )

    claimed = await asyncio.gather(*(claim() for _ in range(20)))
    assert len(set(claimed)) == 1
    found = await storage.look_up(lambda session: directory.record_of_nhs_number(session, "9990000018"))
    assert found == claimed[0]


@pytest.mark.parametrize(
    ("put", "get"),
    [(directory.put_person, directory.person), (directory.put_client, directory.client)],
)
async def test_people_and_clients_are_kept_sealed_and_replaced(storage, put, get):
    assert await storage.look_up(lambda session: get(session, "one")) is None
    for plain in (b"first", b"second"):
        await storage.register(lambda session, plain=plain: put(session, "one", plain))
    assert await storage.look_up(lambda session: get(session, "one")) == b"second"
    assert await storage.look_up(lambda session: get(session, "two")) is None


async def test_organisations_are_registered_replaced_and_listed(storage):
    for name in (b"Beeston Practice", b"Beeston Surgery"):
        await storage.register(lambda session, name=name: directory.put_organisation(session, "B86001", name))
    await storage.register(lambda session: directory.put_organisation(session, "RR8", b"Leeds Teaching"))
    assert (
        await storage.look_up(lambda session: directory.organisation(session, "B86001")) == b"Beeston Surgery"
    )
    assert await storage.look_up(lambda session: directory.organisation(session, "none")) is None
    assert sorted(await storage.look_up(directory.organisations)) == [b"Beeston Surgery", b"Leeds Teaching"]


async def test_no_name_or_number_stands_in_the_directory(storage):
    record_id = uuid4()
    await storage.register(lambda session: directory.claim_subject(session, "p9:anna", record_id))
    await storage.register(lambda session: directory.put_organisation(session, "B86001", b"Beeston Practice"))

    def rows(session):
        tables = (SubjectRecordRow, OrganisationRow)
        return [str(tuple(row)) for table in tables for row in session.execute(sa.select(table))]

    written = " ".join(await storage.look_up(rows))
    assert not any(word in written for word in ("anna", "B86001", "Beeston"))
