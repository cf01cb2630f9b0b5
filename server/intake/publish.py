"""Makes a checked extract part of the record: what it brought, its provenance, the log line and the report.

One transaction. Either the record, its log and the report all tell of the extract, or none does.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final
from uuid import UUID

import msgspec

from fhir_profiles import parse, served
from server.audit import service as audit
from server.audit.entry import LogEntry, Who
from server.http.times import to_wire
from server.intake import store
from server.intake.naming import ItemName
from server.intake.prepare import Rendered
from server.intake.process import Run, Whose
from server.intake.provenance import Activity, Target, provenances
from server.intake.wire import Counts, ItemVerdict
from server.sharing.plain_words import count_words, listed, plain_name
from server.storage import feed
from server.storage.session import WriteSession

HELD_DETAIL: Final = (
    "We hold this extract and show nothing of it: "
    "we could not match it to a person who lets you send to their record."
)


class Outcome(Enum):
    """How an attempt to publish ended."""

    DONE = "done"
    HELD = "held"
    STALE = "stale"


class Finding(msgspec.Struct, kw_only=True):
    """What the runs of one extract add up to. `hidden` items wait here, for they are never staged."""

    counts: Counts = msgspec.field(default_factory=Counts)
    new: list[Target] = msgspec.field(default_factory=list[Target])
    changed: list[Target] = msgspec.field(default_factory=list[Target])
    hidden: list[Rendered] = msgspec.field(default_factory=list[Rendered])
    withdrawn: list[ItemName] = msgspec.field(default_factory=list[ItemName])
    released: list[ItemName] = msgspec.field(default_factory=list[ItemName])

    def take(self, run: Run) -> None:
        """Adds one run."""
        for verdict in run.verdicts:
            count(self.counts, verdict)
        for one in run.rendered:
            target = (*one.name, one.version)
            (self.changed if one.base_version else self.new).append(target)
        self.hidden += run.hidden
        self.withdrawn += run.withdrawn
        self.released += run.released

    @property
    def brings_anything(self) -> bool:
        """Whether the feed or what lies beside it is to change."""
        return bool(self.new or self.changed or self.hidden or self.withdrawn)


def count(counts: Counts, verdict: ItemVerdict) -> None:
    """Counts one verdict."""
    counts.received += 1
    name = verdict.verdict.replace("-", "_")
    setattr(counts, name, getattr(counts, name) + 1)


def stage_run(
    session: WriteSession, extract_id: UUID, run: Run, *, organisation: str, names: Mapping[str, ItemName]
) -> None:
    """Stages one run and keeps its verdicts."""
    feed.stage(session, extract_id, [_staged(one, one.index) for one in run.rendered])
    store.put_verdicts(session, extract_id, run.number, run.verdicts)
    for text, name in names.items():
        store.put_source_name(session, organisation, text, name)


def stage_provenance(
    session: WriteSession, extract_id: UUID, finding: Finding, *, whose: Whose, first_position: int
) -> None:
    """Stages what says where the new and changed versions came from, to be published with them."""
    sources: list[tuple[Sequence[Target], Activity]] = [(finding.new, "CREATE"), (finding.changed, "UPDATE")]
    position = first_position
    staged: list[feed.StagedItem] = []
    for targets, activity in sources:
        for resource in provenances(
            targets,
            activity,
            organisation=whose.organisation,
            name=whose.organisation_name,
            extract_id=str(extract_id),
            now=session.now,
        ):
            # Numbered among themselves: a position among the items would tell how many of those are hidden.
            logical_id = _provenance_id(session, extract_id, position - first_position)
            staged.append(_staged_provenance(session, resource, logical_id, position))
            position += 1
    feed.stage(session, extract_id, staged)


def publish(session: WriteSession, extract_id: UUID, finding: Finding, whose: Whose) -> Outcome:
    """Publishes what is staged, on condition that the citizen still lets the organisation send."""
    session.lock_record()
    state = store.extract(session, extract_id)
    assert state is not None
    if state.state == "done":
        return Outcome.DONE
    link = store.link(session, whose.organisation)
    if link is None or link.state != "accepted":
        hold(session, extract_id, state, "no-link")
        return Outcome.HELD
    if finding.brings_anything and not _to_feed(session, extract_id, finding):
        return Outcome.STALE
    now = to_wire(session.now)
    store.put_link(session, msgspec.structs.replace(link, last_extract_at=now))
    store.put_extract(
        session,
        extract_id,
        msgspec.structs.replace(state, state="done", done=finding.counts.received, counts=finding.counts),
    )
    audit.add(session, _log_entry(finding, whose))
    return Outcome.DONE


def hold(session: WriteSession, extract_id: UUID, state: store.KeptExtractState, because: str) -> None:
    """Keeps the extract out of the record; its report shows one face whatever the reason."""
    feed.discard_staged(session, extract_id)
    store.forget_verdicts(session, extract_id)
    held = msgspec.structs.replace(
        state,
        state="held",
        done=0,
        counts=Counts(received=state.seen),
        detail=HELD_DETAIL,
        held_because=because,
    )
    store.put_extract(session, extract_id, held)


def _to_feed(session: WriteSession, extract_id: UUID, finding: Finding) -> bool:
    published = feed.publish_staged(session, extract_id)
    if isinstance(published, feed.Stale):
        return False
    for one in finding.released:
        feed.drop_hidden(session, session.sealer.item_key(*one))
    feed.put_hidden(session, [_feed_item(one) for one in finding.hidden])
    feed.put(session, [_withdrawal(session, name) for name in finding.withdrawn])
    return True


def _withdrawal(session: WriteSession, name: ItemName) -> feed.FeedItem:
    """An item that its source now hides leaves the feed: its row stays, with nothing in it."""
    current = feed.current(session, session.sealer.item_key(*name))
    assert current is not None
    head = current.head

    def render(version: int, now: object) -> tuple[feed.Head, bytes]:  # noqa: ARG001
        return msgspec.structs.replace(head, version=version, title="", search={}, references=()), b"{}"

    return feed.FeedItem(*name, render, feed.WITHHELD)


def _feed_item(one: Rendered) -> feed.FeedItem:
    def render(version: int, now: object) -> tuple[feed.Head, bytes]:  # noqa: ARG001
        return one.head, one.body

    return feed.FeedItem(*one.name, render)


def _staged(one: Rendered, position: int) -> feed.StagedItem:
    return feed.StagedItem(
        position=position,
        resource_type=one.name[0],
        logical_id=one.name[1],
        base_version=one.base_version,
        head=one.head,
        body=one.body,
    )


def _provenance_id(session: WriteSession, extract_id: UUID, number: int) -> str:
    mac = session.sealer.mac("provenance-id", extract_id.bytes, str(number))
    return str(UUID(bytes=mac, version=4))


def _staged_provenance(
    session: WriteSession, resource: dict[str, object], logical_id: str, position: int
) -> feed.StagedItem:
    now = to_wire(session.now)
    stamped = served.stamp(resource, logical_id, 1, now)
    head = served.head_of(stamped, version=1, last_updated=now)
    return feed.StagedItem(
        position=position,
        resource_type="Provenance",
        logical_id=logical_id,
        base_version=0,
        head=head,
        body=parse.encode(stamped),
    )


def _log_entry(finding: Finding, whose: Whose) -> LogEntry:
    return LogEntry(
        kind="extract",
        who=Who(
            subject=whose.organisation, name=whose.organisation_name, organisation=whose.organisation_name
        ),
        sentence=_sentence(finding, whose.organisation_name),
        listed=len(finding.new) + len(finding.changed),
    )


def _sentence(finding: Finding, name: str) -> str:
    """What the citizen reads; what the source hides from them is not counted."""
    counted = [(len(finding.new), "new item"), (len(finding.changed), "changed item")]
    parts = [count_words(number, noun) for number, noun in counted if number]
    if not parts:
        return f"{plain_name(name)} sent an update to your record. Nothing in it was new."
    return f"{plain_name(name)} sent an update to your record: {listed(parts)}."
