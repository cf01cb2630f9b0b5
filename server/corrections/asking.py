"""What the person does about an item they think is wrong, each inside one transaction of the record."""

from uuid import UUID

import msgspec

from server.audit.entry import Who
from server.corrections import rules, store, writing
from server.corrections.correction import Correction
from server.corrections.rules import Question, Refused
from server.corrections.sentences import message_line
from server.corrections.targets import Asked, asked_of, may_be_named
from server.errors import Conflict, LimitReached, NotFound
from server.records import marks
from server.records.service import patient_id_of
from server.storage.session import ReadSession, WriteSession


def ask(session: WriteSession, who: Who, correction_id: UUID, question: Question) -> Correction:
    """A new correction. The same question under the same id again answers the correction that is there."""
    session.lock_record()
    standing = store.correction_of(session, correction_id)
    if standing is not None:
        refuse(rules.judge_repeat(standing, question))
        return standing
    _require_room(session)
    asked = asked_of(session, question)
    correction = _begun(session, correction_id, question, asked)
    text = _words(question)
    correction = writing.with_message(session, correction, "person", text)
    correction = writing.moved(session, correction, "queued")
    line = writing.line(who, correction.steps[-1].sentence)
    return writing.enter(session, correction, line)


def add_message(session: WriteSession, who: Who, correction_id: UUID, text: str) -> Correction:
    """The correction with one more message of the person's; Conflict once it is settled."""
    session.lock_record()
    before = owned(session, correction_id)
    refuse(rules.judge_message(before, "requester"))
    after = writing.with_message(session, before, "person", text)
    to = rules.after_message(before, "requester")
    if to != before.state:
        after = writing.moved(session, after, to)
    line = message_line(before, is_named=may_be_named(session, before))
    return writing.replace(session, before, after, writing.line(who, line))


def withdraw(session: WriteSession, who: Who, correction_id: UUID) -> Correction:
    """The correction taken back. Again changes nothing; Conflict once the source has decided."""
    session.lock_record()
    before = owned(session, correction_id)
    if before.state == "withdrawn":
        return before
    refuse(rules.judge_move(before, "requester", "withdrawn"))
    after = writing.moved(session, before, "withdrawn")
    return writing.replace(session, before, after, writing.line(who, after.steps[-1].sentence))


def disagree(session: WriteSession, who: Who, correction_id: UUID, statement: str) -> Correction:
    """The disagreement with a refusal, a correction of its own. The same words again answer it."""
    session.lock_record()
    refused = owned(session, correction_id)
    disagreement_id = disagreement_id_of(session, correction_id)
    standing = store.correction_of(session, disagreement_id)
    if standing is not None:
        refuse(rules.judge_repeated_disagreement(standing, statement))
        return standing
    refuse(rules.judge_disagreement(refused))
    _require_room(session)
    told = writing.moved(session, refused, "disagreement-logged")
    # What was decided stands, in the state and in the Task; the history says that the person disagrees.
    kept = msgspec.structs.replace(
        refused, version=refused.version + 1, steps=told.steps, disagreed_in=disagreement_id
    )
    store.put(session, kept)
    disagreement = _disagreement(session, refused, disagreement_id)
    disagreement = writing.with_message(session, disagreement, "person", statement)
    disagreement = writing.moved(session, disagreement, "queued")
    line = writing.line(who, disagreement.steps[-1].sentence)
    return writing.enter(session, disagreement, line)


def disagreement_id_of(session: ReadSession, correction_id: UUID) -> UUID:
    """The id that the one disagreement with a correction has."""
    return UUID(bytes=session.sealer.mac("disagreement", correction_id.bytes), version=4)


def owned(session: ReadSession, correction_id: UUID) -> Correction:
    """A correction of this record; NotFound when it has no such."""
    correction = store.correction_of(session, correction_id)
    if correction is None:
        raise NotFound
    return correction


def refuse(refused: Refused | None) -> None:
    """Conflict when a rule said no."""
    if refused is not None:
        raise Conflict(refused.reason, pointer=refused.pointer)


def _require_room(session: ReadSession) -> None:
    if marks.count_open(session) >= rules.OPEN_CORRECTIONS_MAX:
        raise LimitReached(f"You can have {rules.OPEN_CORRECTIONS_MAX} open requests at a time.")


def _begun(session: WriteSession, correction_id: UUID, question: Question, asked: Asked) -> Correction:
    return Correction(
        correction_id=correction_id,
        version=1,
        kind=question.kind,
        state="queued",
        patient_id=patient_id_of(session),
        organisation=asked.organisation.organisation,
        organisation_name=asked.organisation.name,
        asked_at=session.now,
        changed_at=session.now,
        due_at=rules.due_after(session.now),
        target=asked.target,
        element=question.element or "",
        says=(question.says or "").strip(),
        should_say=question.should_say.strip(),
        is_urgent=question.urgent,
    )


def _disagreement(session: WriteSession, refused: Correction, disagreement_id: UUID) -> Correction:
    return Correction(
        correction_id=disagreement_id,
        version=1,
        kind=refused.kind,
        state="queued",
        patient_id=refused.patient_id,
        organisation=refused.organisation,
        organisation_name=refused.organisation_name,
        asked_at=session.now,
        changed_at=session.now,
        due_at=rules.due_after(session.now),
        target=refused.target,
        element=refused.element,
        disagrees_with=refused.correction_id,
    )


def _words(question: Question) -> str:
    """The first message: what the person says, in their own words under plain headings."""
    opening = {
        "wrong": "This is wrong.",
        "missing": "Something is missing.",
        "not-mine": "This is not about me.",
        "out-of-date": "This is out of date.",
    }[question.kind]
    # The item is named by the Task's focus alone: its title must not stay here if its source ever hides it.
    parts = [opening]
    if question.element:
        parts.append(f"Part: {question.element}")
    if question.says and question.says.strip():
        parts.append(f"It says: {question.says.strip()}")
    if question.should_say.strip():
        parts.append(f"It should say: {question.should_say.strip()}")
    return "\n".join(parts)
