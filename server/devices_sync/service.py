"""Phones, for whoever speaks to them: wire structs in, wire structs out, no HTTP (docs/reference/sync.md)."""

from uuid import UUID

from server.audit.signer import LogSigner
from server.devices_sync.commands import CommandBook
from server.devices_sync.device import Device
from server.devices_sync.devices import Devices
from server.devices_sync.limits import PUSHES_PER_MINUTE, Pace
from server.devices_sync.pulls import Asked, Pulls, Unchanged
from server.devices_sync.pushes import Pushes
from server.sharing.authority import Authority
from server.storage.engine import Storage
from sync.messages import (
    Change,
    DigestAnswer,
    Fetch,
    Page,
    Push,
    Pushed,
    Registered,
    Registration,
    Snapshot,
)

__all__ = ["Asked", "DevicesSync", "Unchanged"]


class DevicesSync:
    """Every call of the sync protocol. The authority is the record owner's, of the phone's own key.

    DeviceUnknown when that key is not registered, DeviceEnded when the phone's access was ended. `push_pace`
    is for whoever takes pushes from the network to keep.
    """

    def __init__(self, storage: Storage, log_signer: LogSigner, book: CommandBook) -> None:
        self.push_pace = Pace(PUSHES_PER_MINUTE)
        self._devices = Devices(storage)
        self._pulls = Pulls(storage, log_signer)
        self._pushes = Pushes(storage, self._pulls, book)

    async def register(self, authority: Authority, registration: Registration) -> Registered:
        """See Devices.register."""
        return await self._devices.register(authority, registration)

    async def devices(self, authority: Authority) -> list[Device]:
        """The phones that may come, oldest first."""
        return await self._devices.every(authority)

    async def end_device(self, authority: Authority, device_id: UUID) -> None:
        """See Devices.end."""
        await self._devices.end(authority, device_id)

    async def confirm_wiped(self, record_id: UUID, jkt: str) -> None:
        """See Devices.confirm_wiped."""
        await self._devices.confirm_wiped(record_id, jkt)

    async def changes(self, authority: Authority, asked: Asked | None = None) -> Page | Unchanged:
        """See Pulls.changes."""
        return await self._pulls.changes(authority, asked or Asked())

    async def snapshot(self, authority: Authority) -> Snapshot:
        """See Pulls.snapshot."""
        return await self._pulls.snapshot(authority)

    async def segment(self, authority: Authority, name: str) -> tuple[Change, ...]:
        """See Pulls.segment."""
        return await self._pulls.segment(authority, name)

    async def digest(self, authority: Authority, at: str, prefix: str, depth: int | None) -> DigestAnswer:
        """See Pulls.digest."""
        return await self._pulls.digest(authority, at, prefix, depth)

    async def fetch(self, authority: Authority, fetch: Fetch) -> Page:
        """See Pulls.fetch."""
        return await self._pulls.fetch(authority, fetch)

    async def head(self, authority: Authority) -> str:
        """See Pulls.head."""
        return await self._pulls.head(authority)

    async def push(self, authority: Authority, push: Push) -> Pushed:
        """See Pushes.push."""
        return await self._pushes.push(authority, push)
