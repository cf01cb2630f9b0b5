"""No row is ever lost to a reader, however many write (I1, I2); and the harness sees it when one is.

The planted writers are what others do: a number from a sequence of the database, or one taken before the
writer's turn has come.
"""

import itertools
import json
import random
from asyncio import sleep
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from server.storage import feed
from server.storage.engine import Storage
from server.storage.feed_rows import KEPT_AS, seal_version
from server.storage.session import WriteSession
from server.storage.tables import ItemRow
from tests.contract.feed_items import body, head
from tests.contract.racing import Race, Write, race, real_writes
from tests.postgres_server import PostgresServer
from tests.storages import postgres_storage, sqlite_storage

COMMITS = [
    200,
    pytest.param(2_000, marks=pytest.mark.slow),
    pytest.param(20_000, marks=[pytest.mark.prove, pytest.mark.timeout(1_200)]),
]
PLANTED_COMMITS = 600


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]):
    """Prints the counts of a race, past what pytest keeps."""

    def print_line(raced: Race, database: str, writer: str) -> None:
        with capsys.disabled():
            print("\n" + json.dumps(raced.line(database, writer)))

    return print_line


@pytest.mark.parametrize("commits", COMMITS)
async def test_no_reader_misses_a_row_while_eight_write(storage, record_id, commits, say):
    raced = await race(storage, record_id, commits, real_writes(storage, record_id))
    say(raced, type(storage._backend).__name__.removesuffix("Backend").lower(), "ours")
    assert raced.lost == 0
    assert raced.seqs == list(range(1, len(raced.seqs) + 1)), "the numbers are dense, and none is given twice"
    assert raced.out_of_order == 0
    for reader in raced.readers:
        assert reader.disagreed == 0
        assert reader.agreed > 0
        assert reader.cursor == len(raced.seqs)


def insert_row(session: WriteSession, name: str, seq: int) -> None:
    """What a writer does that numbers its rows by itself."""
    item_key = session.sealer.item_key("Observation", name)
    sealed = seal_version(session.sealer, item_key, 1, (head(name, 1), body(name, 1)), kept_as=KEPT_AS[0])
    row: dict[str, Any] = {"record_id": session.record_id, "item_key": item_key, "version": 1, "seq": seq}
    session.execute(sa.insert(ItemRow), {**row, "state": feed.LIVE, "batch": None, **sealed})


def numbered_by_a_sequence(storage: Storage, record_id: UUID) -> Write:
    """Takes the number from a sequence and commits a little later, without the record's lock."""

    async def write(number: int, count: int) -> list[int]:
        def command(session: WriteSession) -> list[int]:
            seq: int = session.execute(sa.text("SELECT nextval('planted')")).scalar_one()
            insert_row(session, f"{number}-{count}", seq)
            session.execute(sa.text("SELECT pg_sleep(:seconds)"), {"seconds": random.uniform(0, 0.01)})
            return [seq]

        return await storage.write(record_id, command)

    return write


def numbered_before_their_turn(storage: Storage, record_id: UUID) -> Write:
    """Takes the number in the process, before the one writer takes the command."""
    numbers = itertools.count(1)

    async def write(number: int, count: int) -> list[int]:
        seq = next(numbers)
        for _ in range(random.randint(0, 20)):
            await sleep(0)
        await storage.write(record_id, lambda session: insert_row(session, f"{number}-{count}", seq))
        return [seq]

    return write


@pytest.mark.postgres
async def test_a_sequence_would_lose_rows_and_the_harness_sees_it(
    postgres_server: PostgresServer, tmp_path, say
):
    async with postgres_storage(postgres_server, tmp_path) as storage:
        name = storage._backend._engine.url.database
        await postgres_server.execute(
            "CREATE SEQUENCE planted", "GRANT USAGE ON SEQUENCE planted TO held_app", database=name
        )
        await lose_some(storage, numbered_by_a_sequence, say)


async def test_a_number_taken_before_its_turn_would_lose_rows_and_the_harness_sees_it(tmp_path, say):
    async with sqlite_storage(tmp_path) as storage:
        await lose_some(storage, numbered_before_their_turn, say)


async def lose_some(storage: Storage, planted, say) -> None:
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    raced = await race(storage, record_id, PLANTED_COMMITS, planted(storage, record_id))
    say(raced, type(storage._backend).__name__.removesuffix("Backend").lower(), planted.__name__)
    assert len(raced.truth) == PLANTED_COMMITS, "every row was written"
    assert raced.lost > 0
