"""What holds on SQLite alone: its settings, its one writer, what it does when the file cannot be had."""

import asyncio
import os
import sqlite3
import time
from uuid import uuid4

import pytest

from server.errors import Busy
from server.storage import sqlite, sqlite_writer
from server.storage.backend import StorageUnsafe
from server.storage.engine import Storage
from server.storage.session import WriteSession
from server.storage.sqlite import PRAGMAS, SpentIdentifiers, connect
from tests.storages import new_keys, sqlite_storage, sqlite_url


@pytest.fixture
async def storage(tmp_path):
    async with sqlite_storage(tmp_path) as opened:
        yield opened


@pytest.fixture
async def record_id(storage: Storage):
    made = uuid4()
    await storage.create_record(made, lambda session: None)
    return made


def add_log_entry(session: WriteSession) -> int:
    head = session.lock_log()
    session.hot.append_log(head.size + 1, b"sealed", b"leaf", root=b"root")
    return head.size + 1


def test_every_connection_is_durable_and_leaves_no_deleted_bytes(tmp_path):
    connection = connect(tmp_path / "held.db")
    answers = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout")
    }
    connection.close()
    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "busy_timeout": 2000,
    }
    assert answers == expected


async def test_the_connections_in_use_have_those_settings(storage):
    for held in (storage._backend._written, storage._backend._reader):
        assert held.raw.execute("PRAGMA synchronous").fetchone() == (2,)
        assert held.raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_setting_that_does_not_hold_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.setitem(PRAGMAS, "synchronous", ("NORMAL", 2))
    with pytest.raises(StorageUnsafe, match="synchronous"):
        connect(tmp_path / "held.db")


async def test_commands_that_wait_together_share_one_commit(storage, record_id):
    commits = []
    storage._backend._written.raw.set_trace_callback(
        lambda text: commits.append(text) if text == "COMMIT" else None
    )
    numbers = await asyncio.gather(*(storage.append(record_id, add_log_entry) for _ in range(200)))
    assert sorted(numbers) == list(range(1, 201))
    assert len(commits) <= 20


async def test_an_answer_comes_after_its_commit(storage, record_id, tmp_path):
    outside = sqlite3.connect(tmp_path / "held.db")
    try:
        for expected in range(1, 20):
            await storage.append(record_id, add_log_entry)
            assert outside.execute("SELECT size FROM log_head").fetchone() == (expected,)
    finally:
        outside.close()


async def test_a_large_command_does_not_hold_up_the_answers_before_it(storage, record_id, monkeypatch):
    """A batch commits once its time is up, and the rest run in the next, in order."""
    monkeypatch.setattr(sqlite_writer, "BATCH_SECONDS_MAX", 0.0)
    commits = []
    storage._backend._written.raw.set_trace_callback(
        lambda text: commits.append(text) if text == "COMMIT" else None
    )
    numbers = await asyncio.gather(*(storage.append(record_id, add_log_entry) for _ in range(10)))
    assert numbers == list(range(1, 11))
    assert len(commits) == 10


async def test_a_locked_file_is_busy_within_the_limit_and_then_served_again(storage, record_id, tmp_path):
    other = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    waiting = [storage.append(record_id, add_log_entry) for _ in range(20)]
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, Busy) for outcome in outcomes)
    assert time.monotonic() - started < 6
    assert await storage.read(record_id, lambda session: session.hot.log_head().size) == 0
    other.execute("ROLLBACK")
    other.close()
    assert await storage.append(record_id, add_log_entry) == 1


async def test_a_full_disk_is_busy_and_loses_nothing_acknowledged(storage, record_id):
    raw = storage._backend._written.raw
    await storage.append(record_id, add_log_entry)
    (pages,) = raw.execute("PRAGMA page_count").fetchone()
    raw.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    def large(session: WriteSession) -> int:
        head = session.lock_log()
        session.hot.append_log(head.size + 1, os.urandom(200_000), b"leaf", root=b"root")
        return head.size + 1

    outcomes = await asyncio.gather(
        *(storage.append(record_id, large) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, Busy) for outcome in outcomes)
    assert await storage.read(record_id, lambda session: session.hot.log_head().size) == 1
    raw.execute("PRAGMA max_page_count = 1000000").fetchall()
    assert await storage.append(record_id, large) == 2


async def test_what_was_acknowledged_is_there_when_opened_again(tmp_path):
    keys, url, record_id = new_keys(tmp_path), await sqlite_url(tmp_path), uuid4()
    storage = await Storage.open(url, keys)
    await storage.create_record(record_id, add_log_entry)
    await storage.close()
    again = await Storage.open(url, keys)
    assert await again.append(record_id, add_log_entry) == 2
    await again.close()


async def test_snapshots_beyond_the_limit_are_busy(storage, record_id, monkeypatch):
    monkeypatch.setattr(sqlite, "LOCK_SECONDS_MAX", 0.05)
    monkeypatch.setattr(storage._backend, "_snapshots", asyncio.Semaphore(1))
    async with storage.snapshot(record_id):
        with pytest.raises(Busy):
            async with storage.snapshot(record_id):
                pass
    async with storage.snapshot(record_id) as snapshot:
        assert await snapshot.run(lambda session: session.record_id) == record_id


async def test_a_closed_storage_takes_no_more_commands(tmp_path):
    async with sqlite_storage(tmp_path) as storage:
        record_id = uuid4()
        await storage.create_record(record_id, add_log_entry)
        await storage.close()
        with pytest.raises(Busy):
            await storage.append(record_id, add_log_entry)


def test_a_full_store_of_spent_identifiers_refuses_rather_than_forgets():
    spent = SpentIdentifiers(most=2)
    assert spent.spend(b"a", 10, now=0)
    assert spent.spend(b"b", 20, now=0)
    with pytest.raises(Busy):
        spent.spend(b"c", 10, now=9.9)
    assert not spent.spend(b"a", 10, now=9.9)
    assert spent.spend(b"c", 10, now=10)
    assert not spent.spend(b"b", 10, now=19.9)
