"""Corrections as their person gets them."""

from server.corrections.correction import Correction, Message, State
from server.corrections.following import Saw
from server.corrections.sentences import step_sentence
from server.corrections.service import Followed
from server.corrections.wire import (
    CorrectionAnswer,
    DisagreementAnswer,
    FollowedAnswer,
    FollowedPerson,
    MessageAnswer,
    StepAnswer,
)
from server.corrections.wire import State as ShownState
from server.http.times import to_wire
from server.notices.notice import Notice


def correction_answer(followed: Followed) -> CorrectionAnswer:
    """One correction with its history, its messages and who has been told."""
    correction = followed.correction
    amendment = correction.amendment
    is_named = followed.may_be_named
    return CorrectionAnswer(
        correction_id=str(correction.correction_id),
        task_id=str(correction.correction_id),
        state=_state(followed),
        kind=correction.kind,
        organisation=correction.organisation,
        organisation_name=correction.organisation_name,
        asked_at=to_wire(correction.asked_at),
        due_at=to_wire(correction.due_at),
        sentence=step_sentence(correction, correction.steps[-1].state, is_named=is_named),
        history=[
            StepAnswer(
                to_wire(step.at),
                _shown(step.state),
                step_sentence(correction, step.state, is_named=is_named),
            )
            for step in correction.steps
        ],
        messages=[_message(each) for each in correction.messages],
        followed=_followed(followed),
        urgent=correction.is_urgent,
        target=correction.target.reference if correction.target else None,
        title=correction.target.title if correction.target and is_named else None,
        element=correction.element or None,
        says=correction.says or None,
        should_say=correction.should_say or None,
        corrected_by=(
            f"{amendment.resource_type}/{amendment.logical_id}/_history/{amendment.version}"
            if amendment and not amendment.is_removal
            else None
        ),
        disagreement=_disagreement(followed.disagreement) if followed.disagreement else None,
    )


def _state(followed: Followed) -> ShownState:
    """A refusal the person disagrees with is shown so; the Task itself stays as the source left it."""
    if followed.disagreement is not None and followed.disagreement.state != "withdrawn":
        return "disagreement-logged"
    return _shown(followed.correction.state)


def _shown(state: State) -> ShownState:
    return "disagreement-logged" if state == "rebutted" else state


def _message(message: Message) -> MessageAnswer:
    return MessageAnswer(at=to_wire(message.at), by=message.by, text=message.text)


def _disagreement(disagreement: Correction) -> DisagreementAnswer:
    match disagreement.state:
        case "queued" | "in-review" | "withdrawn" as state:
            shown = state
        case "rebutted":
            shown = "answered"
        case _:
            shown = "logged"
    return DisagreementAnswer(
        correction_id=str(disagreement.correction_id),
        task_id=str(disagreement.correction_id),
        state=shown,
        due_at=to_wire(disagreement.due_at),
        messages=[_message(each) for each in disagreement.messages],
    )


def _followed(followed: Followed) -> FollowedAnswer:
    notices = {notice.to.subject: notice for notice in followed.notices if notice.to is not None}
    people = [_person(saw, notices) for saw in followed.saw if saw.holder is not None]
    return FollowedAnswer(
        saw=len(followed.saw),
        told=sum(person.state == "told" for person in people),
        pending=sum(person.state == "pending" for person in people),
        unreachable=followed.correction.unreachable,
        people=people,
    )


def _person(saw: Saw, notices: dict[str, Notice]) -> FollowedPerson:
    assert saw.holder is not None
    who = saw.holder.who
    notice = notices.get(who.subject)
    is_told = notice is not None and notice.told_at is not None
    return FollowedPerson(
        name=who.name,
        role=who.role,
        organisation=who.organisation,
        state="saw" if notice is None else "told" if is_told else "pending",
        told_at=to_wire(notice.told_at) if notice and notice.told_at else None,
        read_at=to_wire(notice.read_at) if notice and notice.read_at else None,
    )
