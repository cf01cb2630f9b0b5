"""What a pull costs depends on what changed, and not on how much a record holds (I20)."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from server.storage import feed, hot
from server.storage.engine import Storage
from server.storage.session import ReadSession
from tests.contract.feed_items import observation
from tests.postgres_server import PostgresServer
from tests.storages import postgres_storage, sqlite_storage

CHANGED = 50
ALIKE = 1.1


async def record_of(storage: Storage, items: int) -> UUID:
    record_id = uuid4()
    await storage.create_record(record_id, lambda session: None)
    for start in range(0, items, 1_000):
        some = [observation(str(number)) for number in range(start, min(start + 1_000, items))]
        await storage.write(record_id, lambda session, some=some: feed.put(session, some))
    changed = [observation(str(number)) for number in range(0, items, items // CHANGED)][:CHANGED]
    await storage.write(record_id, lambda session: feed.put(session, changed))
    return record_id


def pull(session: ReadSession) -> int:
    standing = feed.standing(session)
    page = feed.changes(session, standing.seq - CHANGED, 500)
    assert standing.root is not None
    return len(page)


def steps_of(session: ReadSession) -> int:
    """How many instructions SQLite's machine runs for one pull."""
    raw: Any = session._connection.connection.driver_connection
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    raw.set_progress_handler(step, 1)
    try:
        assert pull(session) == CHANGED
    finally:
        raw.set_progress_handler(None, 1)
    return count


@pytest.mark.parametrize("larger", [5_000, pytest.param(50_000, marks=pytest.mark.slow)])
async def test_fifty_changes_cost_sqlite_the_same_in_a_small_and_a_large_record(tmp_path, larger):
    async with sqlite_storage(tmp_path) as storage:
        steps = [
            await storage.read(await record_of(storage, items), steps_of) for items in (larger // 10, larger)
        ]
    assert steps[1] <= ALIKE * steps[0]
    assert steps[0] <= ALIKE * steps[1]


@pytest.mark.postgres
async def test_postgresql_reads_the_changed_rows_by_their_number_and_no_other(
    postgres_server: PostgresServer, tmp_path
):
    async with postgres_storage(postgres_server, tmp_path) as storage:
        record_id = await record_of(storage, 5_000)
        await postgres_server.execute("ANALYZE", database=storage._backend._engine.url.database)
        plan = await storage.read(record_id, lambda session: plan_of(session, record_id))
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    assert [scan.get("Index Name") for scan in scans] == ["item_seq"]
    assert scans[0]["Actual Rows"] == CHANGED
    assert scans[0].get("Rows Removed by Filter", 0) == 0
    assert not [node for node in nodes(plan) if "Sort" in node["Node Type"]]


def plan_of(session: ReadSession, record_id: UUID) -> dict[str, Any]:
    after = feed.standing(session).seq - CHANGED
    places = {"$1": f"'{record_id}'::uuid", "$2": str(after), "$3": "500", "$4": str(hot.SEQ_MAX)}
    text = hot._FEED_PAGE.postgresql
    for place, value in places.items():
        text = text.replace(place, value)
    (answer,) = session._connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}").scalars()
    return (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
