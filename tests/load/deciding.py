"""What the View costs: deciding 5,000 heads, finding a decision again, and authorising inside a read."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import msgspec

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode
from fhir_profiles.slices import Slice
from server.audit.entry import Who
from server.errors import NotFound
from server.identity.principal import Principal
from server.records.service import Records
from server.records.view import View
from server.sharing import rules, store
from server.sharing.authorise import authorise
from server.sharing.authority import Authority
from server.sharing.grant import Grant
from server.storage import feed
from server.storage.engine import Snapshot, Storage
from server.storage.session import ReadSession, WriteSession
from tests.load.measuring import Contender, Cpu, Line, Threshold, compared, interleaved
from tests.load.records import generated
from tests.storages import sqlite_storage
from tests.unit.sharing.making import GRANT_ID, PATEL, REDEMPTION_ID, moved, redemption, terms
from tests.world import AMINA

HEADS = 5_000
HEADS_PER_PAGE = 500
READS = 200
SLICE = Slice(current=True, categories=("results",))
RECORD_ID = uuid4()
DOCTOR = Principal(
    kind="professional",
    subject=PATEL.subject,
    client_id="held-portal",
    jkt=PATEL.jkt,
    token_id="bench",
    record_id=RECORD_ID,
    grant_id=GRANT_ID,
    purpose="TREAT",
)


async def deciding_lines(folder: Path) -> list[Line]:
    """One record of 5,000 results and a doctor's grant for them."""
    async with sqlite_storage(folder) as storage:
        now = datetime.now(UTC)
        offered = rules.offered(terms(slice=SLICE), GRANT_ID, now, wording=1, offer_key=b"bench")
        pending = moved(rules.claim(offered, redemption(at=now), now))
        grant = moved(rules.allow(pending, REDEMPTION_ID, now))
        await storage.create_record(RECORD_ID, lambda session: _fill(session, grant))
        doctor = msgspec.structs.replace(DOCTOR, grant_version=grant.version)
        return [*await _views(storage, grant), await _authorised(storage, doctor)]


async def _views(storage: Storage, grant: Grant) -> list[Line]:
    authority = Authority(
        principal=DOCTOR,
        record_id=RECORD_ID,
        who=Who(subject=PATEL.subject, name=PATEL.name),
        relation="recipient",
        slice=SLICE,
        grant_id=grant.grant_id,
        grant_version=grant.version,
    )
    known = Records(storage)

    async def open_heads() -> None:
        async with storage.snapshot(RECORD_ID) as snapshot:
            await _open_heads(snapshot)

    async def opened_by(records: Records) -> None:
        """As far as the View: nothing is chosen from it, so that nothing is read or logged."""
        with suppress(NotFound):
            await records.disclose(authority, _choose_nothing)

    samples = await interleaved(
        {
            "heads": _milliseconds(open_heads),
            "cold": _milliseconds(lambda: opened_by(Records(storage))),
            "warm": _milliseconds(lambda: opened_by(known)),
        }
    )
    method = f"SQLite, {HEADS} results, in this process; CPU per View. Floor: opening the sealed heads alone"
    return [
        Line(
            measure=f"View of {HEADS} heads, {name}",
            method=method,
            unit="ms",
            **compared(samples, "heads", name),
        )
        for name in ("cold", "warm")
    ]


async def _authorised(storage: Storage, doctor: Principal) -> Line:
    (first,) = await storage.read(RECORD_ID, lambda session: feed.heads(session, 0, 1))

    def body(session: ReadSession) -> int:
        assert session.hot.record_state() is not None
        found = feed.body(session, first.item_key)
        assert found is not None
        return len(found.body)

    async def unauthorised() -> None:
        for _ in range(READS):
            await storage.read(RECORD_ID, body)

    async def authorised() -> None:
        for _ in range(READS):
            await authorise(storage, doctor, RECORD_ID)
            await storage.read(RECORD_ID, body)

    samples = await interleaved(
        {"unauthorised": _milliseconds(unauthorised), "authorised": _milliseconds(authorised)}
    )
    return Line(
        measure="authorisation inside the read",
        method=f"SQLite, in this process; CPU of {READS} reads of a body. Floor: no look at the grant",
        unit="ms",
        threshold=Threshold(0.80, "PERFORMANCE section 7, authorisation inside the read"),
        **compared(samples, "unauthorised", "authorised"),
    )


def _milliseconds(work: Callable[[], Awaitable[None]]) -> Contender:
    async def sample() -> float:
        with Cpu() as cpu:
            await work()
        return cpu.seconds * 1e3

    return sample


async def _open_heads(snapshot: Snapshot) -> None:
    after = 0
    while page := await snapshot.run(lambda session, after=after: feed.heads(session, after, HEADS_PER_PAGE)):
        after = page[-1].seq


def _choose_nothing(_: View) -> NoReturn:
    raise NotFound


def _fill(session: WriteSession, grant: Grant) -> None:
    store.add_grant(session, grant)
    entries: list[dict[str, Any]] = generated(AMINA, HEADS, series="view")["entry"]
    feed.put(session, [_item(entry["resource"]) for entry in entries[1:]])


def _item(resource: dict[str, Any]) -> feed.FeedItem:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:
        last_updated = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        stamped = served.stamp(resource, resource["id"], version, last_updated)
        return served.head_of(stamped, version=version, last_updated=last_updated), encode(stamped)

    return feed.FeedItem(resource_type=resource["resourceType"], logical_id=resource["id"], render=render)
