"""What syncing costs a phone and the server: requests, bytes on the socket, and the worker's CPU.

The phone is the real engine on a storage in memory. Records are filled past the services, from the corpus.
"""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from server.commands.held_client import HeldClient
from server.storage import feed
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from server.storage.session import WriteSession
from sync.identifiers import uuid4, uuid7
from sync.memory import MemoryStorage
from sync.messages import PAGE_ROWS_MAX, Registration
from sync.phone import Draft, Phone
from tests.load.bench_server import BenchServer
from tests.load.corpus import Corpus, Made
from tests.load.counted import Call, CountedTransport
from tests.load.measuring import Contender, Line, Threshold, compared, interleaved
from tests.load.wire import written
from tests.world import record_id_of

SMALL = 5_000
LARGE = 50_000
CHANGED = 50
PUT_AT_ONCE = 500
PULLS_PER_ROUND = 64
PAGES_PER_ROUND = 16
# A token may have four requests under way.
CONNECTIONS = 4
KILOBYTE = 1_000

_ISSUE = "the third issue"
_ONE_REQUEST = Threshold(1, _ISSUE, at_most=True)
_TEN_KILOBYTES = Threshold(10, _ISSUE, at_most=True)
_LOAD_REQUESTS = Threshold(8, _ISSUE, at_most=True)
_LOAD_KILOBYTES = Threshold(800, _ISSUE, at_most=True)
_IDLE_KILOBYTES = Threshold(0.6, "SYNC section 3.12", at_most=True)
_SAME_CPU = Threshold(0.9, "SYNC I20: within 10 %")


class PhoneClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    async def pause(self, seconds: float) -> None:
        """A bench does not wait."""


class PhoneIds:
    """Ids as any phone makes them."""

    def mutation_id(self) -> str:
        """A UUID of version 7."""
        return uuid7(int(time.time() * 1000), os.urandom(16))

    def resource_id(self) -> str:
        """A random UUID."""
        return uuid4(os.urandom(16))


class FilledRecord:
    """A record of so many resources, and its owner with a phone."""

    def __init__(self, storage: Storage, owner: HeldClient, record_id: UUID) -> None:
        self.storage = storage
        self.owner = owner
        self.record_id = record_id
        self.transport = CountedTransport(owner)
        self.phone = Phone(
            str(record_id),
            MemoryStorage(),
            self.transport,
            clock=PhoneClock(),
            ids=PhoneIds(),
            about=Registration(key=owner.key.jwk, name="bench"),
        )
        self._corpus = Corpus(str(record_id))
        self._names: list[tuple[str, str]] = []
        self._changes = 0

    async def fill(self, count: int) -> None:
        """Puts so many resources into the feed."""
        for start in range(0, count, PUT_AT_ONCE):
            some = [self._corpus.make() for _ in range(min(PUT_AT_ONCE, count - start))]
            await self.storage.write(self.record_id, lambda session, some=some: _put(session, some))
            self._names += [(one.resource_type, one.logical_id) for one in some]

    async def change(self, count: int) -> None:
        """New versions of so many resources, spread over the record."""
        step = len(self._names) // count
        names = self._names[::step][:count]
        self._changes += 1
        some = [self._corpus.make_version(*name, self._changes + 1) for name in names]
        await self.storage.write(self.record_id, lambda session: _put(session, some))

    async def synced(self) -> list[Call]:
        """The calls of one sync that must end up to date."""
        await self.owner.refresh(record_id=str(self.record_id))
        self.transport.taken()
        report = await self.phone.sync()
        assert report.trouble is None, report
        return self.transport.taken()


async def sync_lines(server: BenchServer, small: int = SMALL, large: int = LARGE) -> list[Line]:
    """First load, idle, a delta, a push, and a delta's CPU at two sizes of record."""
    settings = server.settings
    storage = await Storage.open(settings.database_url, KeyFile.open(settings.key_file))
    try:
        few, many = [await _record(server, storage, count) for count in (small, large)]
        lines = await _phone_lines(few, small)
        lines.append(await _same_cpu(server, few, many, sizes=(small, large)))
        lines.append(await _page_of_rows(server, few))
        for record in (few, many):
            await record.transport.close()
        return lines
    finally:
        await storage.close()


async def _record(server: BenchServer, storage: Storage, count: int) -> FilledRecord:
    _, owner = await server.new_citizen()
    record = FilledRecord(storage, owner, UUID(await record_id_of(owner)))
    await record.fill(count)
    return record


async def _phone_lines(record: FilledRecord, size: int) -> list[Line]:
    method = f"the reference phone over HTTP, a record of {size} resources, bytes on the socket with headers"
    first = await record.synced()
    lines = _counted(f"first load of {size} resources", method, first, (_LOAD_REQUESTS, _LOAD_KILOBYTES))
    await record.synced()
    idle = await record.synced()
    lines += _counted("idle sync", method, idle, (_ONE_REQUEST, _IDLE_KILOBYTES))
    await record.change(CHANGED)
    delta = await record.synced()
    lines += _counted(f"delta of {CHANGED} changed", method, delta, (_ONE_REQUEST, _TEN_KILOBYTES))
    return lines + await _push_lines(record, method)


async def _push_lines(record: FilledRecord, method: str) -> list[Line]:
    names = [record.phone.write(_weight(number)).id for number in range(CHANGED)]
    await record.synced()
    for number, name in enumerate(names):
        patch = {"valueQuantity": {"value": 71.5 + number / 10}}
        record.phone.write(Draft(op="patch", type="Observation", id=name, patch=patch))
    pushed = await record.synced()
    up = sum(call.bytes_up for call in pushed) / KILOBYTE
    requests = _counted(f"push of {CHANGED} patches", method, pushed, (_ONE_REQUEST, None))[0]
    bytes_up = Line(
        measure=f"push of {CHANGED} patches, bytes up",
        method=method,
        unit="kB",
        ours=up,
        ratio=up,
        threshold=_TEN_KILOBYTES,
    )
    return [requests, bytes_up]


def _weight(number: int) -> Draft:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}], "text": "Body weight"},
        "effectiveDateTime": f"2026-09-{1 + number % 28:02d}",
        "valueQuantity": {"value": 70.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }
    return Draft(op="create", type="Observation", body=body)


def _counted(
    measure: str, method: str, calls: Sequence[Call], limits: tuple[Threshold, Threshold | None]
) -> list[Line]:
    down = sum(call.bytes_down for call in calls) / KILOBYTE
    details = {
        f"{number}. {call.method} {call.path.split('?')[0].rpartition('/')[2][:12]} B down": call.bytes_down
        for number, call in enumerate(calls, start=1)
    }
    requests = Line(
        measure=f"{measure}, requests",
        method=method,
        unit="",
        ours=len(calls),
        ratio=len(calls),
        threshold=limits[0],
        details=details,
    )
    size = Line(
        measure=f"{measure}, bytes down",
        method=method,
        unit="kB",
        ours=down,
        ratio=down,
        threshold=limits[1],
    )
    return [requests, size]


async def _same_cpu(
    server: BenchServer, few: FilledRecord, many: FilledRecord, *, sizes: tuple[int, int]
) -> Line:
    contenders: dict[str, Contender] = {}
    for name, record in (("few", few), ("many", many)):
        await record.synced()
        since = record.phone.cursor()
        await record.change(CHANGED)
        contenders[name] = _pulling(server, record, since)
    return Line(
        measure=f"delta of {CHANGED} changed, CPU at {sizes[0]} over CPU at {sizes[1]}",
        method="one granian worker, SQLite; CPU of the worker for each pull, a proof checked for each",
        unit="us",
        threshold=_SAME_CPU,
        **compared(await interleaved(contenders), "few", "many"),
    )


async def _page_of_rows(server: BenchServer, record: FilledRecord) -> Line:
    pulling, rows = _pulling(server, record, None, count=PAGES_PER_ROUND), min(SMALL, PAGE_ROWS_MAX)
    request = written("GET", f"/bench/rows?{record.record_id.hex}")

    async def raw() -> float:
        return await server.wire.cpu_each([request] * PAGES_PER_ROUND, CONNECTIONS)

    samples = await interleaved({"raw": raw, "held": pulling})
    each = {name: [value / rows for value in values] for name, values in samples.items()}
    return Line(
        measure=f"pull of a page of {rows} rows, per row, not compressed",
        method="floor: the same rows read by sqlite3 as they lie, sealed, and joined, over the same HTTP",
        unit="us",
        **compared(each, "raw", "held"),
    )


def _pulling(
    server: BenchServer, record: FilledRecord, since: str | None, *, count: int = PULLS_PER_ROUND
) -> Contender:
    place = "" if since is None else f"?since={since}"
    path = f"/sync/v1/records/{record.record_id}/changes{place}"

    async def sample() -> float:
        await record.owner.refresh(record_id=str(record.record_id))
        requests = [_request(record.owner, path, packed=since is not None) for _ in range(count)]
        return await server.wire.cpu_each(requests, CONNECTIONS)

    return sample


def _request(owner: HeldClient, path: str, *, packed: bool) -> bytes:
    assert owner.token is not None
    proof = owner.key.proof("GET", owner.base_url + path, token=owner.token)
    headers = {"Authorization": f"DPoP {owner.token}", "DPoP": proof}
    return written("GET", path, headers | ({"Accept-Encoding": "zstd"} if packed else {}))


def _put(session: WriteSession, some: Sequence[Made]) -> None:
    items = [
        feed.FeedItem(one.resource_type, one.logical_id, lambda *_, made=one: (made.head, made.body))
        for one in some
    ]
    feed.put(session, items)
