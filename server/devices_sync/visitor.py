"""A phone that calls: whether it may, and the one line a day the log has of it (SYNC 3.1)."""

from datetime import date
from uuid import UUID

import msgspec

from server.audit.entry import LogEntry
from server.devices_sync import store
from server.devices_sync.device import Device
from server.errors import DeviceEnded, DeviceUnknown
from server.sharing import sentences
from server.sharing.authority import Authority
from server.storage.session import ReadSession, WriteSession


class VisitingPhone:
    """One phone during one call; `records.pulling` asks it inside the sessions it reads in.

    `reached` is how far the phone has the feed, as its cursor says.
    """

    def __init__(self, authority: Authority, device_id: UUID, *, reached: int = 0) -> None:
        self._authority = authority
        self.device_id = device_id
        self.reached = reached

    def judge(self, session: ReadSession) -> bool:
        """Whether today's line is in the log. DeviceEnded or DeviceUnknown when it may have nothing."""
        return _day_of(self._known(session).device) == session.now.date()

    def enter(self, session: WriteSession) -> LogEntry:
        """Notes that the phone was here today. DeviceEnded or DeviceUnknown as for `judge`."""
        known = self._known(session)
        seen = msgspec.structs.replace(known.device, seen_at=session.now, logged_at=session.now)
        store.put_device(session, seen, max(known.pulled_seq, self.reached))
        sentence = sentences.synced_line(known.device.name)
        return LogEntry(kind="sync", who=self._authority.who, sentence=sentence)

    def _known(self, session: ReadSession) -> store.KnownDevice:
        known = store.device(session, self.device_id)
        if known is None:
            raise DeviceUnknown
        if known.device.state != "live":
            raise DeviceEnded
        return known


def phone_of(authority: Authority) -> VisitingPhone:
    """The phone whose key the caller's token is bound to; DeviceUnknown when it is not registered."""
    if authority.device_id is None:
        raise DeviceUnknown
    return VisitingPhone(authority, authority.device_id)


def _day_of(device: Device) -> date | None:
    return device.logged_at.date() if device.logged_at is not None else None
