"""A record is opened once for each person, however often and from wherever they sign in."""

import asyncio

import pytest

from server.errors import RuleBroken
from server.identity.principal import Person
from server.records.service import Records
from server.storage.engine import Storage
from tests.world import nhs_number


def _person(index: int, subject: str | None = None) -> Person:
    return Person(
        subject=subject or f"login:{index}",
        kind="citizen",
        name=f"Person {index}",
        nhs_number=nhs_number(index),
        birth_date="1980-01-01",
    )


async def test_two_first_sign_ins_at_once_open_one_record(storage: Storage) -> None:
    records = Records(storage)
    opened = await asyncio.gather(*(records.open_record_for(_person(1)) for _ in range(8)))
    assert len(set(opened)) == 1
    assert (await records.profile(opened[0])).nhs_number == nhs_number(1)


async def test_a_person_with_a_new_sign_in_keeps_the_record_of_their_nhs_number(storage: Storage) -> None:
    records = Records(storage)
    before = await records.open_record_for(_person(1, "login:old"))
    assert await records.open_record_for(_person(1, "login:new")) == before
    assert await records.open_record_for(_person(2)) != before


async def test_a_household_that_is_full_takes_nobody_more(storage: Storage) -> None:
    records = Records(storage, people_max=2)
    for index in (1, 2):
        await records.open_record_for(_person(index))
    with pytest.raises(RuleBroken, match="full"):
        await records.open_record_for(_person(3))
    assert await records.open_record_for(_person(2))
    with pytest.raises(RuleBroken, match="full"):
        await records.open_record_for(_person(3))
