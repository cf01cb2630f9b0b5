"""The rows of devices and of mutations' outcomes."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.devices_sync.device import Device
from server.devices_sync.tables import DeviceRow, MutationOutcomeRow
from server.storage.session import ReadSession, WriteSession
from sync.messages import Result

ACKED_MAX = 2_000

# JSON, because a result holds JSON as it was sent.
_RESULTS = msgspec.json.Decoder(Result)
_DEVICE = "device"
_OUTCOME = "mutation-outcome"
# Asked on every call of a phone, so that it is put together once.
_ONE_DEVICE = sa.select(col(DeviceRow.pulled_seq), col(DeviceRow.sealed)).where(
    col(DeviceRow.record_id) == sa.bindparam("record_id"),
    col(DeviceRow.device_id) == sa.bindparam("device_id"),
)


class KnownDevice(NamedTuple):
    """A phone, and how far it is known to have the feed."""

    device: Device
    pulled_seq: int


class KeptOutcome(NamedTuple):
    """The result of a mutation, whose it was, and the place in the feed from which it is acknowledged."""

    device_id: UUID
    seq: int
    result: Result


def device(session: ReadSession, device_id: UUID) -> KnownDevice | None:
    """One phone of the record."""
    row = session.execute(_ONE_DEVICE, {"record_id": session.record_id, "device_id": device_id}).one_or_none()
    return None if row is None else KnownDevice(_open_device(session, device_id, row[1]), row[0])


def devices(session: ReadSession) -> list[Device]:
    """Every phone the record ever had, oldest first."""
    rows = session.execute(
        sa.select(col(DeviceRow.device_id), col(DeviceRow.sealed)).where(
            col(DeviceRow.record_id) == session.record_id
        )
    )
    found = [_open_device(session, device_id, sealed) for device_id, sealed in rows]
    return sorted(found, key=lambda one: (one.added_at, one.device_id))


def put_device(session: WriteSession, device: Device, pulled_seq: int) -> None:
    """Writes a phone's row."""
    sealed = session.sealer.seal_struct(_DEVICE, device.device_id.bytes, 0, device)
    statement = insert(DeviceRow).values(
        record_id=session.record_id, device_id=device.device_id, pulled_seq=pulled_seq, sealed=sealed
    )
    changed = {name: statement.excluded[name] for name in ("pulled_seq", "sealed")}
    session.execute(statement.on_conflict_do_update(index_elements=["record_id", "device_id"], set_=changed))


def outcomes(session: ReadSession, mids: Sequence[UUID]) -> dict[UUID, KeptOutcome]:
    """The stored results of those of these mutations that have one."""
    table = MutationOutcomeRow
    rows = session.execute(
        sa.select(col(table.mid), col(table.device_id), col(table.seq), col(table.sealed)).where(
            col(table.record_id) == session.record_id, col(table.mid).in_(mids)
        )
    )
    return {
        mid: KeptOutcome(
            device_id, seq, _RESULTS.decode(session.sealer.open(_OUTCOME, mid.bytes, seq, sealed))
        )
        for mid, device_id, seq, sealed in rows
    }


def keep_outcomes(
    session: WriteSession, device_id: UUID, results: Sequence[tuple[UUID, int, Result]]
) -> None:
    """Stores results, each for good."""
    rows = [
        {
            "record_id": session.record_id,
            "mid": mid,
            "device_id": device_id,
            "seq": seq,
            "sealed": session.sealer.seal(_OUTCOME, mid.bytes, seq, msgspec.json.encode(result)),
            "stored_at": session.now,
        }
        for mid, seq, result in results
    ]
    if rows:
        session.execute(sa.insert(MutationOutcomeRow), rows)


def acked(session: ReadSession, device_id: UUID, after: int, upto: int) -> tuple[str, ...]:
    """The phone's mutations whose outcome stands after one place in the feed and up to another."""
    table = MutationOutcomeRow
    rows = session.execute(
        sa.select(col(table.mid))
        .where(
            col(table.record_id) == session.record_id,
            col(table.device_id) == device_id,
            col(table.seq) > after,
            col(table.seq) <= upto,
        )
        .order_by(col(table.seq), col(table.mid))
        .limit(ACKED_MAX)
    )
    return tuple(str(mid) for (mid,) in rows)


def _open_device(session: ReadSession, device_id: UUID, sealed: bytes) -> Device:
    return session.sealer.open_struct(_DEVICE, device_id.bytes, 0, sealed, Device)
