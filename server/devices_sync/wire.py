"""The owner's list of phones, as the API page writes it."""

import msgspec

from server.devices_sync.device import Device
from server.http.times import to_wire


class DeviceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One phone. `this` is the one that asks."""

    device_id: str
    name: str
    platform: str
    added_at: str
    last_seen_at: str
    this: bool


class DeviceList(msgspec.Struct, frozen=True):
    """`GET /records/{rid}/devices`."""

    devices: list[DeviceLine]


def device_line(device: Device, *, is_this: bool) -> DeviceLine:
    """A phone as its owner sees it."""
    return DeviceLine(
        device_id=str(device.device_id),
        name=device.name,
        platform=device.platform,
        added_at=to_wire(device.added_at),
        last_seen_at=to_wire(device.seen_at),
        this=is_this,
    )
