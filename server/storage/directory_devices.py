"""The directory's rows for devices: which record and device a phone's key belongs to.

A key stands here as a keyed hash. It belongs to one device for ever, so that a token bound to the key of a
stolen phone is never of use again.
"""

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.storage.directory_tables import DeviceKeyRow
from server.storage.session import DirectoryReads, DirectorySession

LIVE = 0
ENDED = 1
WIPED = 2

# Asked on every request of an owner, so that it is put together once.
_OF_KEY = sa.select(col(DeviceKeyRow.record_id), col(DeviceKeyRow.device_id), col(DeviceKeyRow.state)).where(
    col(DeviceKeyRow.jkt_mac) == sa.bindparam("jkt_mac")
)


class DeviceOfKey(NamedTuple):
    """Whose a key is, and whether the device is LIVE, ENDED, or ENDED and known to be WIPED."""

    record_id: UUID
    device_id: UUID
    state: int


def device_of_key(session: DirectoryReads, jkt: str) -> DeviceOfKey | None:
    """The device with this key (its RFC 7638 thumbprint)."""
    row = session.execute(_OF_KEY, {"jkt_mac": _mac(session, jkt)}).one_or_none()
    return None if row is None else DeviceOfKey._make(row)


def put_device_key(session: DirectorySession, jkt: str, record_id: UUID, device_id: UUID) -> DeviceOfKey:
    """Whose the key is: this device's from now on, or that of the device that has or had it, as it stands."""
    row = {"jkt_mac": _mac(session, jkt), "record_id": record_id, "device_id": device_id, "state": LIVE}
    session.execute(insert(DeviceKeyRow).values(row).on_conflict_do_nothing(index_elements=["jkt_mac"]))
    claimed = device_of_key(session, jkt)
    assert claimed is not None
    return claimed


def end_device_key(session: DirectorySession, jkt: str, device_id: UUID) -> bool:
    """Ends the device's key; False when it was not live. Ending again does nothing."""
    return _move(session, jkt, device_id, (LIVE, ENDED))


def wipe_device_key(session: DirectorySession, jkt: str, device_id: UUID) -> bool:
    """Notes that an ended device holds nothing any more; False when it was not ended."""
    return _move(session, jkt, device_id, (ENDED, WIPED))


def _move(session: DirectorySession, jkt: str, device_id: UUID, states: tuple[int, int]) -> bool:
    before, after = states
    statement = sa.update(DeviceKeyRow).where(
        col(DeviceKeyRow.jkt_mac) == _mac(session, jkt),
        col(DeviceKeyRow.device_id) == device_id,
        col(DeviceKeyRow.state) == before,
    )
    return session.execute(statement.values(state=after)).rowcount == 1


def _mac(session: DirectoryReads, jkt: str) -> bytes:
    return session.sealer.mac("device-key", jkt)
