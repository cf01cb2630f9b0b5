"""The smallest items that a feed takes."""

from datetime import datetime
from uuid import UUID

from fhir_profiles.heads import Head, Labels
from server.storage import feed
from server.storage.engine import Storage


def head(logical_id: str, version: int, *, title: str = "Pulse") -> Head:
    return Head(
        resource_type="Observation",
        logical_id=logical_id,
        version=version,
        last_updated="2026-01-01T00:00:00.000Z",
        labels=Labels(("results",)),
        rules_version=1,
        dated="2026-01-01",
        is_current=False,
        references=(),
        search={},
        content_hash=bytes(32),
        title=title,
    )


def body(logical_id: str, version: int) -> bytes:
    return b'{"resourceType":"Observation","id":"%s","meta":{"versionId":"%d"}}' % (
        logical_id.encode(),
        version,
    )


def observation(logical_id: str, state: int = feed.LIVE) -> feed.FeedItem:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:
        return head(logical_id, version), body(logical_id, version)

    return feed.FeedItem("Observation", logical_id, render, state)


def staged(position: int, logical_id: str, base_version: int) -> feed.StagedItem:
    return feed.StagedItem(
        position=position,
        resource_type="Observation",
        logical_id=logical_id,
        base_version=base_version,
        head=head(logical_id, base_version + 1),
        body=body(logical_id, base_version + 1),
    )


async def put_observation(storage: Storage, record_id: UUID, logical_id: str) -> feed.Stored:
    stored = await storage.write(record_id, lambda session: feed.put(session, [observation(logical_id)]))
    return stored[0]
