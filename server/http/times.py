"""Instants on the wire: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime


def to_wire(instant: datetime) -> str:
    """`2026-11-22T09:00:00.000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
