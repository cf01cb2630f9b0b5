"""What the person may write in their own record: own readings, answers and documents, and how to reach them.

Everything else in the feed comes from a source or is made by us, and is read-only to the person's phones.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode
from server.http.times import to_wire
from server.records.pulling import SELF_RECORDED_TYPES
from server.storage import feed
from server.storage.session import ReadSession, WriteSession

ItemName = tuple[str, str]
CONTACT_ELEMENTS = frozenset({"telecom", "communication"})
"""What of their Patient a person may write: how to reach them, and in which language."""


class ItemState(msgspec.Struct, frozen=True, kw_only=True):
    """Where an item stands. `version` is 0 for one that never was; `body` only while it is live."""

    name: ItemName
    version: int = 0
    state: int | None = None
    head: Head | None = None
    body: bytes = b""

    @property
    def is_live(self) -> bool:
        """Whether it can be read."""
        return self.state == feed.LIVE

    @property
    def was_erased(self) -> bool:
        """Whether it was erased, and may never be again."""
        return self.state == feed.ERASED

    @property
    def is_own(self) -> bool:
        """Whether the person wrote it."""
        head = self.head
        if head is None or self.name[0] not in SELF_RECORDED_TYPES:
            return False
        return head.source is None and not head.organisation

    @property
    def fingerprint(self) -> tuple[int, int | None, bytes]:
        """Equal for the same version of the same content, whoever asks."""
        return (self.version, self.state, self.head.content_hash if self.head is not None else b"")


class NewVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An item's next version, ready to be put: live with its body, or gone."""

    name: ItemName
    version: int
    state: int
    head: Head
    body: bytes

    @property
    def as_state(self) -> ItemState:
        """Where the item stands once this is put."""
        return ItemState(
            name=self.name, version=self.version, state=self.state, head=self.head, body=self.body
        )


def standing(session: ReadSession, names: Iterable[ItemName]) -> dict[ItemName, ItemState]:
    """Where each of these items stands."""
    wanted = list(dict.fromkeys(names))
    keys = {name: session.sealer.item_key(*name) for name in wanted}
    currents = feed.currents(session, list(keys.values()))
    found: dict[ItemName, ItemState] = {}
    for name, key in keys.items():
        current = currents.get(key)
        if current is None:
            found[name] = ItemState(name=name)
        else:
            found[name] = ItemState(
                name=name, version=current.version, state=current.state, head=current.head
            )
    return found


def with_bodies(session: ReadSession, states: Iterable[ItemState]) -> dict[ItemName, ItemState]:
    """The same with their served bytes, read in the same session."""
    wanted = list(states)
    keys = {state.name: session.sealer.item_key(*state.name) for state in wanted if state.is_live}
    bodies = feed.bodies(session, list(keys.values()))
    found: dict[ItemName, ItemState] = {}
    for state in wanted:
        body = bodies.get(keys[state.name]) if state.name in keys else None
        assert body is None or body.version == state.version
        found[state.name] = state if body is None else msgspec.structs.replace(state, body=body.body)
    return found


def body_at(session: ReadSession, name: ItemName, version: int) -> bytes | None:
    """The bytes of one version; None when there is none that can be read."""
    return feed.version_body(session, session.sealer.item_key(*name), version)


def live_version(resource: dict[str, Any], name: ItemName, version: int, now: datetime) -> NewVersion:
    """The resource as it is served, numbered and dated."""
    last_updated = to_wire(now)
    stamped = served.stamp(resource, name[1], version, last_updated)
    head = served.head_of(stamped, version=version, last_updated=last_updated)
    return NewVersion(name=name, version=version, state=feed.LIVE, head=head, body=encode(stamped))


def gone_version(state: ItemState, now: datetime) -> NewVersion:
    """The item deleted: nothing of it is left but that it was there."""
    assert state.head is not None
    version = state.version + 1
    head = msgspec.structs.replace(
        state.head, version=version, last_updated=to_wire(now), title="", search={}, references=()
    )
    return NewVersion(name=state.name, version=version, state=feed.GONE, head=head, body=b"{}")


def put(session: WriteSession, versions: Sequence[NewVersion]) -> None:
    """Writes these versions under the record's lock, in this order."""
    feed.put(session, [_feed_item(one) for one in versions])


def _feed_item(one: NewVersion) -> feed.FeedItem:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:  # noqa: ARG001 - dated when it was made.
        assert version == one.version
        return one.head, one.body

    return feed.FeedItem(*one.name, render, one.state)
