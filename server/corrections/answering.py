"""What a source does with the corrections it is asked for, each inside one transaction of the record."""

from typing import NamedTuple
from uuid import UUID

import msgspec

from fhir_profiles.parse import encode
from fhir_profiles.shapes import Resource
from server.corrections import following, resources, rules, store, writing
from server.corrections.answers import Answer, read_answer
from server.corrections.asking import refuse
from server.corrections.correction import Amendment, Correction
from server.corrections.rules import Named, Refused
from server.corrections.sentences import fetched_line, source_message_line
from server.corrections.targets import latest, may_be_named, standing
from server.errors import NotFound, RuleBroken, VersionMoved
from server.storage.feed import LIVE, Current
from server.storage.session import ReadSession, WriteSession

_AMENDED = "The item was corrected."
_TAKEN_OUT = "The item was taken out."


class Fetched(NamedTuple):
    """A Task as its source gets it: the served bytes, with its Communications."""

    correction: Correction
    task: bytes
    communications: tuple[tuple[str, bytes], ...]

    @property
    def size(self) -> int:
        """About how many bytes it is in an answer."""
        return len(self.task) + sum(len(body) for _, body in self.communications)


def asked_of_source(session: ReadSession, organisation: str, task_id: UUID) -> Correction:
    """A correction this organisation is asked for; NotFound for every other."""
    correction = store.correction_of(session, task_id)
    if correction is None or correction.organisation != organisation:
        raise NotFound
    return correction


def fetched(correction: Correction) -> Fetched:
    """The Task and its Communications, made from the correction alone: nothing else of the record."""
    communications = tuple(
        (message.communication_id, encode(resources.communication_resource(correction, message)))
        for message in correction.messages
    )
    return Fetched(correction, encode(resources.task_resource(correction)), communications)


def is_fetch_noted(session: ReadSession, correction: Correction) -> bool:
    """Whether the log says today that the source was given the Task as it stands."""
    fetched_at = (correction.fetched_version, correction.fetched_on)
    return fetched_at == (correction.task_version, session.now.date())


def note_fetched(session: WriteSession, organisation: str, task_id: UUID) -> Correction:
    """The correction, with a line in the log that its source was given it as it stands."""
    session.lock_record()
    correction = asked_of_source(session, organisation, task_id)
    if is_fetch_noted(session, correction):
        return correction
    sentence = fetched_line(correction, is_named=may_be_named(session, correction))
    entry = writing.fetched_entry(correction, sentence)
    return writing.note_fetched(session, correction, entry)


def answer(
    session: WriteSession, organisation: str, task_id: UUID, sent: Resource, *, if_version: int
) -> Correction:
    """The correction where its source moved it.

    VersionMoved when it has changed since the source read it, RuleBroken when the Task sent back does not
    hold together, Conflict when the step may not follow.
    """
    session.lock_record()
    before = asked_of_source(session, organisation, task_id)
    if before.task_version != if_version:
        raise VersionMoved
    read = read_answer(sent, resources.task_resource(before))
    if isinstance(read, Refused):
        raise RuleBroken(read.reason, pointer=read.pointer)
    if read.to == before.state and before.state in rules.OPEN and read.text:
        return _add_message(session, before, read)
    refuse(rules.judge_move(before, "source", read.to))
    if refused := rules.judge_words(read.to, read.text):
        raise RuleBroken(refused.reason, pointer="/contained")
    return _amend(session, before, read) if read.to == "amended" else _move(session, before, read)


def _add_message(session: WriteSession, before: Correction, read: Answer) -> Correction:
    refuse(rules.judge_message(before, "source"))
    after = writing.with_message(session, before, "source", read.text)
    sentence = source_message_line(before, is_named=may_be_named(session, before))
    line = writing.line(writing.source_who(before), sentence)
    return writing.replace(session, before, after, line)


def _move(session: WriteSession, before: Correction, read: Answer) -> Correction:
    after = before
    is_final = read.to not in rules.OPEN
    if read.text:
        if not is_final:
            refuse(rules.judge_message(before, "source"))
        after = writing.with_message(session, after, "source", read.text, is_final=is_final)
    if read.to == "denied":
        after = msgspec.structs.replace(after, reason=read.text)
    after = writing.moved(session, after, read.to)
    following.tell_owner(session, after)
    line = writing.line(writing.source_who(before), after.steps[-1].sentence)
    return writing.replace(session, before, after, line)


def _amend(session: WriteSession, before: Correction, read: Answer) -> Correction:
    corrected = _corrected(session, before, read.resolved_by)
    amendment = _amendment(before, corrected)
    # Whoever was shown the wrong version is in the log by now, or will be shown another.
    session.lock_log()
    text = read.text or (_TAKEN_OUT if amendment.is_removal else _AMENDED)
    after = writing.with_message(session, before, "source", text, is_final=True)
    after = writing.moved(session, msgspec.structs.replace(after, amendment=amendment), "amended")
    after = following.tell_recipients(session, after, None if amendment.is_removal else corrected.head)
    following.tell_owner(session, after)
    line = writing.line(writing.source_who(before), after.steps[-1].sentence)
    # What was taken out has no version that a Provenance could point at.
    return writing.replace(session, before, after, line, is_amended=not amendment.is_removal)


def _amendment(before: Correction, corrected: Current) -> Amendment:
    if corrected.state != LIVE:
        assert before.target is not None
        target = before.target
        return Amendment(
            resource_type=target.resource_type,
            logical_id=target.logical_id,
            version=corrected.version,
            title="",
            is_removal=True,
        )
    head = corrected.head
    return Amendment(
        resource_type=head.resource_type,
        logical_id=head.logical_id,
        version=corrected.version,
        title=head.title,
        dated=head.dated,
    )


def _corrected(session: ReadSession, before: Correction, named: Named | None) -> Current:
    """What puts things right: it came in an extract of this very organisation.

    An item that its source has taken out since, or hides, is put right by that.
    """
    target = before.target
    if target is None:
        return _added(session, before, named)
    if named is not None and (named.resource_type, named.logical_id) != (
        target.resource_type,
        target.logical_id,
    ):
        raise RuleBroken("This is not the item that was questioned.", pointer="/output")
    found = latest(session, target)
    if refused := rules.judge_amendment(target.version, found.version):
        raise RuleBroken(refused.reason, pointer="/status")
    if named is not None and named.version not in {None, found.version}:
        raise RuleBroken("This is not the version that stands now.", pointer="/output")
    return found


def _added(session: ReadSession, before: Correction, named: Named | None) -> Current:
    """The item that was missing: this organisation names it, and sent it after it was asked for."""
    found = standing(session, named) if named is not None else None
    if (
        found is None
        or found.source is None
        or found.organisation != before.organisation
        or found.last_updated <= resources.instant_of(before)
    ):
        raise RuleBroken(
            "Send what was missing in an extract first, and name it in output.valueReference.",
            pointer="/output",
        )
    return Current(found.version, LIVE, found)
