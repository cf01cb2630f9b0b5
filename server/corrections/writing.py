"""What a change to a correction writes, at one moment: its row, its FHIR in the feed, its mark, the log."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from fhir_profiles.heads import Head
from server.audit import service as audit
from server.audit.entry import LogEntry, Who
from server.corrections import resources, rules, store
from server.corrections.correction import By, Correction, Message, State, Step
from server.corrections.sentences import step_sentence
from server.corrections.targets import may_be_named
from server.records import marks
from server.storage import feed
from server.storage.session import WriteSession


def with_message(
    session: WriteSession, correction: Correction, by: By, text: str, *, is_final: bool = False
) -> Correction:
    """The correction with one more message."""
    place = len(correction.messages)
    mac = session.sealer.mac("correction-message", correction.correction_id.bytes, str(place))
    message = Message(
        communication_id=str(UUID(bytes=mac, version=4)),
        by=by,
        text=text.strip(),
        at=session.now,
        is_final=is_final,
    )
    return msgspec.structs.replace(correction, messages=(*correction.messages, message))


def moved(session: WriteSession, correction: Correction, to: State) -> Correction:
    """The correction one step on, told in its history."""
    sentence = step_sentence(correction, to, is_named=may_be_named(session, correction))
    step = Step(at=session.now, state=to, sentence=sentence)
    return msgspec.structs.replace(
        correction,
        state=to,
        steps=(*correction.steps, step),
        was_partial=correction.was_partial or to == "partial",
    )


def enter(session: WriteSession, correction: Correction, entry: LogEntry) -> Correction:
    """Writes a new correction. The caller holds the record's lock."""
    return _write(session, correction, new_messages=correction.messages, entry=entry)


def replace(
    session: WriteSession, before: Correction, after: Correction, entry: LogEntry, *, is_amended: bool = False
) -> Correction:
    """Writes what a correction has become. The caller holds the record's lock."""
    new_messages = after.messages[len(before.messages) :]
    after = msgspec.structs.replace(after, version=before.version + 1, changed_at=session.now)
    return _write(session, after, new_messages=new_messages, entry=entry, is_amended=is_amended)


def note_fetched(session: WriteSession, correction: Correction, entry: LogEntry) -> Correction:
    """Notes in the row and in the log that the source was given the Task as it stands."""
    fetched = msgspec.structs.replace(
        correction,
        version=correction.version + 1,
        fetched_version=correction.task_version,
        fetched_on=session.now.date(),
    )
    store.put(session, fetched)
    audit.add(session, entry)
    return fetched


def line(who: Who, sentence: str) -> LogEntry:
    """A line of the log about a correction."""
    return LogEntry(kind="correct", who=who, sentence=sentence)


def fetched_entry(correction: Correction, sentence: str) -> LogEntry:
    """The line of the log for the source being given the Task with its Communications."""
    task = ("Task", str(correction.correction_id), str(correction.task_version))
    messages = [("Communication", message.communication_id, "1") for message in correction.messages]
    who = source_who(correction)
    return LogEntry(kind="correct", who=who, sentence=sentence, items=(task, *messages))


def source_who(correction: Correction) -> Who:
    """The source as log entries name it."""
    name = correction.organisation_name
    return Who(subject=correction.organisation, name=name, organisation=name)


def _write(
    session: WriteSession,
    correction: Correction,
    *,
    new_messages: Sequence[Message],
    entry: LogEntry,
    is_amended: bool = False,
) -> Correction:
    task_id = str(correction.correction_id)
    correction = msgspec.structs.replace(correction, task_version=correction.task_version + 1)
    items = [_item("Task", task_id, resources.task(correction))]
    items += [
        _item("Communication", message.communication_id, resources.communication(correction, message))
        for message in new_messages
    ]
    if is_amended:
        provenance_id = _provenance_id(session, correction)
        items.append(_item("Provenance", provenance_id, resources.provenance(correction, provenance_id)))
    stored = feed.put(session, items)
    assert stored[0].version == correction.task_version
    store.put(session, correction)
    _mark(session, correction)
    # The log's head is locked last: readers wait for nothing else of a writer (DESIGN wall 2).
    audit.add(session, entry)
    return correction


def _mark(session: WriteSession, correction: Correction) -> None:
    target, sealer = correction.target, session.sealer
    # What is missing has no item: its mark is under a key that is no item's, so that it counts as open.
    key = (
        sealer.item_key(target.resource_type, target.logical_id)
        if target is not None
        else sealer.mac("missing-item", correction.correction_id.bytes)
    )
    if correction.state in rules.MARKING:
        marks.mark(session, key, correction.correction_id)
    else:
        marks.unmark(session, key, correction.correction_id)


def _item(resource_type: str, logical_id: str, rendered: tuple[Head, bytes]) -> feed.FeedItem:
    def render(version: int, now: datetime) -> tuple[Head, bytes]:  # noqa: ARG001 - both are in it already
        assert rendered[0].version == version
        return rendered

    return feed.FeedItem(resource_type, logical_id, render)


def _provenance_id(session: WriteSession, correction: Correction) -> str:
    mac = session.sealer.mac("correction-provenance", correction.correction_id.bytes)
    return str(UUID(bytes=mac, version=4))
