"""What the simulator's server really holds of one record, read past every service."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from server.devices_sync.store import outcomes
from server.sharing import store
from server.sharing.grant import Grant
from server.storage.feed_rows import LIVE, open_body, open_head
from server.storage.hot import FeedRow
from server.storage.session import ReadSession
from server.storage.tables import ItemRow, ItemVersionRow, RecordDigestRow
from sync.messages import Result
from tests.properties.simulate_storage import FrailStorage

ItemName = tuple[str, str]


class Version(NamedTuple):
    """One version of one item, in whatever state."""

    version: int
    state: int
    body: bytes


class Truth(NamedTuple):
    """The whole of a record at one instant."""

    now: datetime
    seqs: tuple[int, ...]
    seq: int
    epoch: int
    current: dict[ItemName, Version]
    history: dict[ItemName, tuple[Version, ...]]
    outcomes: dict[str, Result]
    grants: dict[UUID, Grant]
    root: bytes
    counted_root: bytes

    @property
    def live(self) -> dict[ItemName, Version]:
        """What a replica must hold, and all it may hold."""
        return {name: one for name, one in self.current.items() if one.state == LIVE}

    def versions_of(self, name: ItemName) -> tuple[Version, ...]:
        """Every version of an item, oldest first."""
        current = (self.current[name],) if name in self.current else ()
        return (*self.history.get(name, ()), *current)

    def body_at(self, name: ItemName, version: int) -> bytes | None:
        """The body of one version."""
        return next((one.body for one in self.versions_of(name) if one.version == version), None)


async def read_truth(storage: FrailStorage, record_id: UUID, mids: Iterable[str]) -> Truth:
    """The record as it stands, with the stored outcomes of these mutations."""
    wanted = [UUID(mid) for mid in mids]
    return await storage.read(record_id, lambda session: _truth(session, wanted))


def _truth(session: ReadSession, mids: list[UUID]) -> Truth:
    rows = list(_rows(session))
    names = {row.item_key: _name(session, row) for row in rows}
    history: dict[ItemName, list[Version]] = {}
    for row in _older(session):
        history.setdefault(names[row.item_key], []).append(_version(session, row))
    state = session.hot.record_state()
    assert state is not None
    current = {names[row.item_key]: _version(session, row) for row in rows}
    key = session.sealer.secret("digest")
    return Truth(
        now=session.now,
        seqs=tuple(sorted(row.seq for row in rows)),
        seq=state[0],
        epoch=state[1],
        current=current,
        history={name: tuple(versions) for name, versions in history.items()},
        outcomes={str(mid): kept.result for mid, kept in outcomes(session, mids).items()},
        grants={grant.grant_id: grant for grant in store.grants_of(session)},
        root=_kept_root(session),
        counted_root=counted_root(key, current),
    )


def counted_root(key: bytes, current: dict[ItemName, Version]) -> bytes:
    """The digest's root as SYNC 3.8 says it, counted anew from what is live by nobody's code but this."""
    sums, counts = [0] * 256, [0] * 256
    for (resource_type, logical_id), one in current.items():
        if one.state != LIVE:
            continue
        name = b"".join(len(part).to_bytes(4, "big") + part for part in _texts(resource_type, logical_id))
        said = name + one.version.to_bytes(8, "big") + blake2b(one.body, digest_size=32).digest()
        entry = blake2b(said, digest_size=32, key=key, person=b"held/entry").digest()
        bucket = blake2b(name, digest_size=32, key=key, person=b"held/place").digest()[0]
        sums[bucket] = (sums[bucket] + int.from_bytes(entry, "big")) % 2**256
        counts[bucket] += 1
    state = b"".join(
        total.to_bytes(32, "big") + count.to_bytes(4, "big")
        for total, count in zip(sums, counts, strict=True)
    )
    return blake2b(state, digest_size=32, key=key, person=b"held/node").digest()


def _texts(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


def _kept_root(session: ReadSession) -> bytes:
    statement = sa.select(col(RecordDigestRow.root)).where(
        col(RecordDigestRow.record_id) == session.record_id
    )
    return session.execute(statement).scalar_one_or_none() or b""


def _rows(session: ReadSession) -> Iterator[FeedRow]:
    columns = ("seq", "item_key", "version", "state", "batch", "head", "body")
    statement = sa.select(*(col(getattr(ItemRow, name)) for name in columns)).where(
        col(ItemRow.record_id) == session.record_id
    )
    yield from (FeedRow(*row) for row in session.execute(statement))


def _older(session: ReadSession) -> Iterator[FeedRow]:
    table = ItemVersionRow
    statement = (
        sa.select(col(table.item_key), col(table.version), col(table.state), col(table.head), col(table.body))
        .where(col(table.record_id) == session.record_id)
        .order_by(col(table.version))
    )
    for item_key, version, state, head, body in session.execute(statement):
        yield FeedRow(0, item_key, version, state, None, head, body)


def _name(session: ReadSession, row: FeedRow) -> ItemName:
    head: Any = open_head(session.sealer, row)
    return head.resource_type, head.logical_id


def _version(session: ReadSession, row: FeedRow) -> Version:
    return Version(row.version, row.state, open_body(session.sealer, row))
