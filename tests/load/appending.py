"""Group commit: 64 log entries at once against one transaction for each, on the same file."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

from server.storage.engine import Storage
from server.storage.session import WriteSession
from server.storage.sqlite import connect
from tests.load.measuring import Contender, Line, Threshold, compared, interleaved
from tests.storages import sqlite_storage

AT_ONCE = 64
ENTRIES_PER_ROUND = 640
SEALED, LEAF, ROOT = b"s" * 300, b"l" * 32, b"r" * 32

_SINGLE = (
    "SELECT log_id, size, root FROM log_head WHERE record_id = ?1",
    "UPDATE log_head SET size = ?2, root = ?5 WHERE record_id = ?1 AND size = ?2 - 1",
    "INSERT INTO log_entry (record_id, n, sealed, leaf, root) VALUES (?1, ?2, ?3, ?4, ?5)",
)


async def appending_lines(folder: Path) -> list[Line]:
    """Entries ready to be written, so that both contenders do nothing but write them durably."""
    async with sqlite_storage(folder) as storage:
        grouped_in, single_in = uuid4(), uuid4()
        for record_id in (grouped_in, single_in):
            await storage.create_record(record_id, lambda session: None)
        connection = connect(folder / "held.db")
        try:
            contenders = {
                "single": _single(connection, single_in),
                "grouped": _grouped(storage, grouped_in),
            }
            samples = await interleaved(
                {name: _sampling(contender) for name, contender in contenders.items()}
            )
        finally:
            connection.close()
    return [
        Line(
            measure=f"group commit, {AT_ONCE} entries at once",
            method=(
                "SQLite, synchronous=FULL; wall time per entry, for the wait for the disk is what is shared. "
                "Floor: the same statements, one transaction per entry, on a bare connection to the same file"
            ),
            unit="us",
            threshold=Threshold(4.0, "PERFORMANCE section 7, group commit, 64 writers"),
            **compared(samples, "single", "grouped"),
        )
    ]


def _sampling(entries: Callable[[], object]) -> Contender:
    async def sample() -> float:
        began = time.perf_counter()
        waiting = entries()
        if asyncio.iscoroutine(waiting):
            await waiting
        return (time.perf_counter() - began) / ENTRIES_PER_ROUND * 1e6

    return sample


def _single(connection: sqlite3.Connection, record_id: UUID) -> Callable[[], object]:
    written = 0

    def entries() -> None:
        nonlocal written
        for _ in range(ENTRIES_PER_ROUND):
            written += 1
            values = (record_id.hex, written, SEALED, LEAF, ROOT)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SINGLE[0], values[:1]).fetchall()
            connection.execute(_SINGLE[1], values)
            connection.execute(_SINGLE[2], values)
            connection.execute("COMMIT")

    return entries


def _grouped(storage: Storage, record_id: UUID) -> Callable[[], object]:
    def entry(session: WriteSession) -> None:
        session.hot.append_log(session.lock_log().size + 1, SEALED, LEAF, root=ROOT)

    async def several() -> None:
        for _ in range(ENTRIES_PER_ROUND // AT_ONCE):
            await storage.append(record_id, entry)

    async def entries() -> None:
        await asyncio.gather(*(several() for _ in range(AT_ONCE)))

    return entries
