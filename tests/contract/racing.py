"""Writers and readers at once on one record, and a count of what the readers never got.

The readers page as a phone does: they ask for what comes after the last row they have, and never look back.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from server.storage import feed
from server.storage.engine import Storage
from server.storage.session import ReadSession, WriteSession
from sync.digest import Digest, bucket_of, entry_hash
from tests.contract.feed_items import observation, staged

WRITERS = 8
Name = tuple[str, str]
Write = Callable[[int, int], Awaitable[list[int]]]
"""What one writer does for its n-th commit. Answers the numbers its rows got."""


@dataclass
class Reader:
    """What one phone holds, and where it is."""

    record_id: UUID
    limits: Callable[[], int]
    held: dict[Name, tuple[int, int]] = field(default_factory=dict)
    entries: dict[Name, tuple[int, bytes]] = field(default_factory=dict)
    digest: Digest = field(default_factory=Digest)
    cursor: int = 0
    pages: int = 0
    rows: int = 0
    agreed: int = 0
    disagreed: int = 0

    async def pull(self, storage: Storage) -> bool:
        """Reads one page in one snapshot and applies it; True when it was the last for now."""
        limit = self.limits()

        def read(session: ReadSession) -> tuple[feed.Standing, bytes, list[feed.FeedChange]]:
            key = feed.digest_key(session.sealer)
            return feed.standing(session), key, feed.changes(session, self.cursor, limit)

        standing, key, page = await storage.read(self.record_id, read)
        self.pages += 1
        # Now and then the answer is lost on its way, and the same page is asked for again.
        if page and random.random() < 0.05:
            return False
        for row in page:
            self._apply(key, row)
        if len(page) < limit:
            agrees = standing.seq == self.cursor and standing.root == self.digest.root(key)
            self.agreed += agrees
            self.disagreed += not agrees
        return len(page) < limit

    def _apply(self, key: bytes, row: feed.FeedChange) -> None:
        name = (row.head.resource_type, row.head.logical_id)
        if name in self.entries:
            self.digest.remove(*self.entries.pop(name))
        if row.state == feed.LIVE:
            entry = entry_hash(key, *name, version=row.version, body=row.body)
            self.entries[name] = (bucket_of(key, *name), entry)
            self.digest.add(*self.entries[name])
        self.held[name] = (row.version, row.state)
        self.cursor = row.seq
        self.rows += 1


@dataclass(frozen=True)
class Race:
    """What came of it."""

    commits: int
    seqs: list[int]
    out_of_order: int
    truth: dict[Name, tuple[int, int]]
    readers: list[Reader]
    seconds: float

    @property
    def lost(self) -> int:
        """Rows that a reader never got, over all readers."""
        return sum(
            reader.held.get(name) != standing
            for reader in self.readers
            for name, standing in self.truth.items()
        )

    def line(self, database: str, writer: str) -> dict[str, object]:
        """The counts, for one line of JSON."""
        return {
            "measure": "feed race",
            "database": database,
            "writer": writer,
            "writers": WRITERS,
            "commits": self.commits,
            "rows_written": len(self.seqs),
            "readers": len(self.readers),
            "pages": sum(reader.pages for reader in self.readers),
            "rows_delivered": sum(reader.rows for reader in self.readers),
            "digests_equal": sum(reader.agreed for reader in self.readers),
            "digests_different": sum(reader.disagreed for reader in self.readers),
            "out_of_order": self.out_of_order,
            "lost": self.lost,
            "seconds": round(self.seconds, 1),
        }


async def race(storage: Storage, record_id: UUID, commits: int, write: Write) -> Race:
    """`commits` commits by 8 writers while two readers page; then the readers go on to the end."""
    readers = [Reader(record_id, lambda: random.randint(1, 9)), Reader(record_id, lambda: 500)]
    took: list[tuple[float, float, list[int]]] = []
    writing = True

    async def writer(number: int) -> None:
        for count in range(number, commits, WRITERS):
            began = time.perf_counter()
            seqs = await write(number, count)
            took.append((began, time.perf_counter(), seqs))

    async def reads(reader: Reader) -> None:
        while writing:
            await reader.pull(storage)
            await asyncio.sleep(0)
        while not await reader.pull(storage):
            pass

    began = time.perf_counter()
    reading = [asyncio.create_task(reads(reader)) for reader in readers]
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    writing = False
    await asyncio.gather(*reading)
    seconds = time.perf_counter() - began
    truth = await storage.read(record_id, lambda session: feed.changes(session, 0, 10**9))
    return Race(
        commits=commits,
        seqs=sorted(seq for _, _, seqs in took for seq in seqs),
        out_of_order=_out_of_order(took),
        truth={(row.head.resource_type, row.head.logical_id): (row.version, row.state) for row in truth},
        readers=readers,
        seconds=seconds,
    )


def _out_of_order(took: list[tuple[float, float, list[int]]]) -> int:
    """How many commits got a number below that of a commit that had ended before they began."""
    ends = sorted((ended, max(seqs)) for _, ended, seqs in took if seqs)
    highest, place, found = 0, 0, 0
    for began, _, seqs in sorted(each for each in took if each[2]):
        while place < len(ends) and ends[place][0] < began:
            highest = max(highest, ends[place][1])
            place += 1
        found += min(seqs) < highest
    return found


def real_writes(storage: Storage, record_id: UUID) -> Write:
    """The write path as it is: most add an item, some change one that others change too, some publish."""

    async def add(name: str, state: int = feed.LIVE) -> list[int]:
        stored = await storage.write(record_id, lambda session: feed.put(session, [observation(name, state)]))
        return [each.seq for each in stored]

    async def publish(name: str) -> list[int]:
        extract_id = uuid4()

        def command(session: WriteSession) -> list[int]:
            feed.stage(session, extract_id, [staged(place, f"{name}-{place}", 0) for place in range(3)])
            published = feed.publish_staged(session, extract_id)
            assert isinstance(published, feed.Published)
            return list(range(published.first_seq, published.first_seq + published.count))

        return await storage.write(record_id, command)

    async def write(number: int, count: int) -> list[int]:
        shared = f"shared-{count % 5}"
        match number:
            case 0:
                return await add(shared)
            case 1:
                return await add(shared, random.choice([feed.LIVE, feed.GONE, feed.WITHHELD]))
            case 2:
                return await publish(f"extract-{count}")
            case _:
                return await add(f"{number}-{count}")

    return write
