"""The access log on both databases: dense numbers, a chain that proves itself, nothing after an ending."""

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlmodel import col

from server.audit import service
from server.audit.entry import LogEntry
from server.audit.signer import log_id_of
from server.audit.tables import LogEntryRow
from server.audit.verification import verify_record
from server.errors import AccessEnded, NotFound
from server.sharing.tables import AccessGrantRow
from server.storage.engine import Storage
from server.storage.session import LockOrderBroken, ReadSession, WriteSession
from sync.log_verifier import Claim, Mark, Pin, leaf_of, start_of, verify
from sync.signed_note import open_checkpoint
from tests.contract.logs import DR_PATEL, SIGNER, reading, record_with_log
from tests.postgres_server import PostgresServer
from tests.storages import new_keys, sqlite_storage


async def test_entries_appended_at_once_are_numbered_without_gaps(storage: Storage):
    record_id = await record_with_log(storage)
    numbers = await asyncio.gather(*(service.append(storage, record_id, reading()) for _ in range(64)))
    assert sorted(numbers) == list(range(1, 65))
    assert (await verify_record(storage, record_id, SIGNER)).sentence is None


async def test_appends_and_writes_at_once_share_one_order(storage: Storage):
    record_id = await record_with_log(storage)

    def command(session: WriteSession) -> int:
        session.lock_record()
        return service.add(session, reading())

    appends = [service.append(storage, record_id, reading()) for _ in range(16)]
    writes = [storage.write(record_id, command) for _ in range(16)]
    numbers = await asyncio.gather(*(one for pair in zip(appends, writes, strict=True) for one in pair))
    assert sorted(numbers) == list(range(1, 33))
    assert (await verify_record(storage, record_id, SIGNER)).sentence is None


async def test_each_record_counts_for_itself(storage: Storage):
    one, other = await record_with_log(storage, 3), await record_with_log(storage)
    assert await service.append(storage, other, reading()) == 1
    assert await service.append(storage, one, reading()) == 4


async def test_a_command_that_fails_leaves_no_entry_and_no_gap(storage: Storage):
    record_id = await record_with_log(storage)

    def failing(session: WriteSession) -> None:
        service.add(session, reading())
        raise ValueError

    results = await asyncio.gather(
        service.append(storage, record_id, reading()),
        storage.append(record_id, failing),
        storage.write(record_id, failing),
        service.append(storage, record_id, reading()),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, ValueError, ValueError, int]
    assert (await verify_record(storage, record_id, SIGNER)).size == 2


async def test_the_record_is_locked_before_its_log(storage: Storage):
    record_id = await record_with_log(storage)

    def wrong_way_round(session: WriteSession) -> None:
        service.add(session, reading())
        session.lock_record()

    with pytest.raises(LockOrderBroken):
        await storage.write(record_id, wrong_way_round)


async def test_an_unknown_record_has_no_log(storage: Storage):
    with pytest.raises(NotFound):
        await service.append(storage, uuid4(), reading())
    with pytest.raises(NotFound):
        await service.entries(storage, uuid4(), 0, 10)
    with pytest.raises(NotFound):
        await service.checkpoint(storage, uuid4(), SIGNER)


async def test_the_database_says_when_an_entry_was_written(storage: Storage):
    record_id = await record_with_log(storage)
    before = await storage.read(record_id, lambda session: session.now)
    claimed = msgspec.structs.replace(reading(), at=before - timedelta(days=400))
    await service.append(storage, record_id, claimed)
    (opened,) = (await service.entries(storage, record_id, 0, 10)).entries
    assert opened.entry.at is not None
    assert timedelta(0) <= opened.entry.at - before < timedelta(minutes=1)
    assert msgspec.structs.replace(opened.entry, at=None) == reading()


async def test_a_phone_proves_and_opens_what_it_is_sent(storage: Storage):
    record_id = await record_with_log(storage, 7)
    signed = await service.checkpoint(storage, record_id, SIGNER)
    checkpoint = open_checkpoint(signed.note, SIGNER.key)
    pin = start_of(log_id_of(checkpoint))
    for after in (0, 3, 6):
        page = await service.entries(storage, record_id, after, 3)
        assert page.more is (after < 6)
        assert page.entries[0].previous_root == pin.root
        marks = [Mark(one.n, leaf_of(one.sealed), one.leaf, one.root) for one in page.entries]
        moved = verify(pin, marks)
        assert isinstance(moved, Pin)
        pin = moved
        for one in page.entries:
            assert open_as_a_phone(record_id, one.n, one.sealed, page.key)
    assert (pin.size, pin.root) == (checkpoint.size, checkpoint.root)
    assert verify(pin, [], [Claim(checkpoint.size, checkpoint.root, "checkpoint")]) == pin
    assert (await service.entries(storage, record_id, 7, 3)).entries == ()
    assert (await service.entries(storage, record_id, 10_000, 3)).entries == ()


def open_as_a_phone(record_id: UUID, n: int, sealed: bytes, key: bytes) -> bytes:
    """The padded frame inside, by what docs say of the sealed form and by nothing of the server's."""
    bound_to = b"\x01" + b"\0\0\0\x03log" + b"\0\0\0\x10" + record_id.bytes + bytes(8) + n.to_bytes(8, "big")
    return AESGCM(key).decrypt(sealed[1:13], sealed[13:], bound_to)


async def test_a_very_long_list_of_items_fits_one_entry_and_ends_its_page(storage: Storage):
    record_id = await record_with_log(storage)
    items = tuple(("Observation", str(uuid4()), "1") for _ in range(5_000))
    for _ in range(12):
        await service.append(storage, record_id, reading(None, *items))
    page = await service.entries(storage, record_id, 0, 200)
    assert 1 <= len(page.entries) < 12
    assert page.more
    assert page.entries[0].entry.items == items
    assert (await verify_record(storage, record_id, SIGNER)).sentence is None


async def test_what_was_seen_is_told_from_the_log(storage: Storage):
    record_id, grant_id, other = await record_with_log(storage), uuid4(), uuid4()
    first, second = ("Condition", "a", "1"), ("Condition", "a", "2")
    for entry in (
        reading(grant_id, first),
        reading(other, ("Observation", "b", "1")),
        LogEntry(kind="grant", who=DR_PATEL, sentence="You shared.", grant_id=grant_id, items=(second,)),
        reading(grant_id, first, second),
        reading(),
    ):
        await service.append(storage, record_id, entry)
    entries = (await service.entries(storage, record_id, 0, 10)).entries
    found = await service.read_seen(storage, record_id, grant_id)
    assert [(one.type, one.id, one.version, one.first_at) for one in found.items] == [
        (*first, entries[0].entry.at),
        (*second, entries[3].entry.at),
    ]
    assert (found.items_seen, found.last_read_at, found.n) == (1, entries[3].entry.at, 4)
    early = service.Seen(n=1, last_read_at=entries[0].entry.at, items=found.items[:1])
    for known in (service.NOTHING_SEEN, early, found):
        assert await storage.read(record_id, seen_of(grant_id, known)) == found
    assert await service.read_seen(storage, record_id, uuid4()) == service.NOTHING_SEEN


def seen_of(grant_id: UUID, known: service.Seen):
    def query(session: ReadSession) -> service.Seen:
        return service.seen(session, grant_id, known)

    return query


async def test_more_than_a_page_of_readings_is_seen_whole(storage: Storage):
    record_id, grant_id = await record_with_log(storage), uuid4()

    def fill(session: WriteSession) -> None:
        for number in range(450):
            service.add(session, reading(grant_id, ("Observation", str(number), "1")))

    await storage.write(record_id, fill)
    assert (await service.read_seen(storage, record_id, grant_id)).items_seen == 450


async def test_a_checkpoint_is_signed_again_only_when_the_log_has_moved(storage: Storage):
    record_id = await record_with_log(storage, 2)
    first = await service.checkpoint(storage, record_id, SIGNER)
    assert await service.checkpoint(storage, record_id, SIGNER) == first
    await service.append(storage, record_id, reading())
    assert await service.recent_checkpoint(storage, record_id, SIGNER) == first
    moved = await service.checkpoint(storage, record_id, SIGNER)
    assert (first.checkpoint.size, moved.checkpoint.size) == (2, 3)
    assert open_checkpoint(moved.note, SIGNER.key) == moved.checkpoint


async def test_a_checkpoint_sent_along_is_at_most_a_minute_old(tmp_path: Path):
    async with sqlite_storage(tmp_path) as storage:
        record_id = await record_with_log(storage, 1)
        first = await service.recent_checkpoint(storage, record_id, SIGNER)
        await service.append(storage, record_id, reading())
        storage.clock_offset = timedelta(seconds=59)
        assert await service.recent_checkpoint(storage, record_id, SIGNER) == first
        storage.clock_offset = timedelta(seconds=61)
        moved = await service.recent_checkpoint(storage, record_id, SIGNER)
        assert moved.checkpoint.size == 2
        storage.clock_offset = timedelta(hours=13)
        renewed = await service.checkpoint(storage, record_id, SIGNER)
        assert renewed.checkpoint.size == 2
        assert renewed.at - moved.at > timedelta(hours=12)


async def test_checkpoints_asked_for_while_entries_are_added_all_fit(storage: Storage):
    record_id = await record_with_log(storage)

    async def look() -> service.SignedCheckpoint:
        await service.append(storage, record_id, reading())
        return await service.checkpoint(storage, record_id, SIGNER)

    signed = await asyncio.gather(*(look() for _ in range(24)))
    verdict = await verify_record(storage, record_id, SIGNER, [one.checkpoint for one in signed])
    assert verdict.sentence is None


async def make_grant(storage: Storage, record_id: UUID) -> UUID:
    grant_id = uuid4()
    row = {"record_id": record_id, "grant_id": grant_id, "version": 1, "sealed": b""}
    await storage.write(record_id, lambda session: session.execute(sa.insert(AccessGrantRow), row).close())
    return grant_id


def is_live(grant_id: UUID):
    def still_live(session: WriteSession) -> bool:
        statement = sa.select(col(AccessGrantRow.version)).where(
            col(AccessGrantRow.record_id) == session.record_id, col(AccessGrantRow.grant_id) == grant_id
        )
        return session.execute(statement).scalar_one() == 1

    return still_live


def ending(grant_id: UUID):
    def end(session: WriteSession) -> int:
        session.lock_record()
        n = service.add(
            session, LogEntry(kind="end", who=DR_PATEL, sentence="You ended this.", grant_id=grant_id)
        )
        statement = sa.update(AccessGrantRow).where(
            col(AccessGrantRow.record_id) == session.record_id, col(AccessGrantRow.grant_id) == grant_id
        )
        session.execute(statement.values(version=2))
        return n

    return end


@pytest.mark.parametrize("before", [0, 1, 7, 20])
async def test_no_reading_commits_after_the_ending(storage: Storage, before: int):
    record_id = await record_with_log(storage)
    grant_id = await make_grant(storage, record_id)
    commits: list[str] = []

    async def read() -> None:
        await service.append(storage, record_id, reading(grant_id), is_live(grant_id))
        commits.append("read")

    async def end() -> int:
        n = await storage.write(record_id, ending(grant_id))
        commits.append("end")
        return n

    readings = [asyncio.create_task(read()) for _ in range(before)]
    ended = asyncio.create_task(end())
    readings += [asyncio.create_task(read()) for _ in range(24 - before)]
    outcomes = await asyncio.gather(*readings, return_exceptions=True)
    end_n = await ended
    assert {type(outcome) for outcome in outcomes} <= {type(None), AccessEnded}
    with pytest.raises(AccessEnded):
        await read()
    entries = (await service.entries(storage, record_id, 0, 200)).entries
    assert entries[-1].n == end_n
    assert [one.entry.kind for one in entries[:-1]] == ["read"] * commits.count("read")
    assert (await verify_record(storage, record_id, SIGNER)).sentence is None


async def test_a_seen_list_taken_at_the_ending_misses_nothing(storage: Storage):
    record_id = await record_with_log(storage)
    grant_id = await make_grant(storage, record_id)

    def end(session: WriteSession) -> service.Seen:
        ending(grant_id)(session)
        return service.seen(session, grant_id)

    async def read(number: int) -> None:
        entry = reading(grant_id, ("Observation", str(number), "1"))
        await service.append(storage, record_id, entry, is_live(grant_id))

    early = [asyncio.create_task(read(number)) for number in range(10)]
    await asyncio.sleep(0)
    ended = asyncio.create_task(storage.write(record_id, end))
    late = [asyncio.create_task(read(number)) for number in range(10, 20)]
    outcomes = await asyncio.gather(*early, *late, return_exceptions=True)
    done = {str(number) for number, outcome in enumerate(outcomes) if outcome is None}
    assert {item.id for item in (await ended).items} == done


@pytest.mark.postgres
async def test_two_servers_on_one_database_share_one_order(postgres_server: PostgresServer, tmp_path: Path):
    database = await postgres_server.fresh_database()
    one, other = [await Storage.open(database.app_url, new_keys(tmp_path)) for _ in range(2)]
    record_id = await record_with_log(one)
    grant_id = await make_grant(one, record_id)

    async def read(storage: Storage) -> int:
        return await service.append(storage, record_id, reading(grant_id), is_live(grant_id))

    early = [asyncio.create_task(read(storage)) for storage in (one, other) for _ in range(16)]
    await asyncio.wait(early, return_when=asyncio.FIRST_COMPLETED)
    ended = asyncio.create_task(other.write(record_id, ending(grant_id)))
    late = [asyncio.create_task(read(storage)) for storage in (one, other) for _ in range(16)]
    outcomes = await asyncio.gather(*early, *late, return_exceptions=True)
    numbers = sorted(outcome for outcome in outcomes if isinstance(outcome, int))
    assert {type(outcome) for outcome in outcomes} <= {int, AccessEnded}
    assert numbers == list(range(1, len(numbers) + 1))
    assert await ended == len(numbers) + 1
    for storage in (one, other):
        with pytest.raises(AccessEnded):
            await read(storage)
        assert (await verify_record(storage, record_id, SIGNER)).sentence is None
    await one.close()
    await other.close()
    await postgres_server.drop(database)


@pytest.mark.postgres
async def test_a_reading_that_waits_for_an_ending_is_judged_after_it(
    postgres_server: PostgresServer, tmp_path: Path
):
    database = await postgres_server.fresh_database()
    storage = await Storage.open(database.app_url, new_keys(tmp_path))
    record_id = await record_with_log(storage)
    grant_id = await make_grant(storage, record_id)
    elsewhere = await asyncpg.connect(database.superuser_url)
    async with elsewhere.transaction():
        await elsewhere.execute("SELECT 1 FROM log_head WHERE record_id = $1 FOR UPDATE", record_id)
        await elsewhere.execute("UPDATE access_grant SET version = 2 WHERE grant_id = $1", grant_id)
        entry, still_live = reading(grant_id), is_live(grant_id)
        waiting = asyncio.create_task(service.append(storage, record_id, entry, still_live))
        await until_somebody_waits(database.superuser_url)
    with pytest.raises(AccessEnded):
        await waiting
    await elsewhere.close()
    await storage.close()
    await postgres_server.drop(database)


async def until_somebody_waits(url: str) -> None:
    connection = await asyncpg.connect(url)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(2):
        while not await connection.fetchval(waits):
            await asyncio.sleep(0.01)
    await connection.close()


@pytest.mark.parametrize("storage", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [sa.update(LogEntryRow).values(sealed=b"changed"), sa.delete(LogEntryRow)],
    ids=["update", "delete"],
)
async def test_the_server_itself_cannot_change_an_entry(storage: Storage, statement: sa.Executable):
    record_id = await record_with_log(storage, 2)
    with pytest.raises(sa.exc.DBAPIError, match="permission denied"):
        await storage.write(record_id, lambda session: session.execute(statement).close())
