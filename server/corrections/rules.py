"""The rules of corrections: what may be asked, who may move a request where, and by when it is due. Pure.

STANDARDS section 4; HL7 Patient Request for Corrections 1.0.0, http://hl7.org/fhir/uv/patient-corrections
"""

import re
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from server.corrections.correction import Correction, Kind, State

TEXT_CHARACTERS_MAX = 4_000
OPEN_CORRECTIONS_MAX = 100
MESSAGES_MAX = 40

Actor = Literal["requester", "source", "stranger"]

OPEN: frozenset[State] = frozenset[State](
    {"queued", "in-review", "waiting-for-information", "accepted", "partial"}
)
MARKING: frozenset[State] = OPEN | frozenset[State]({"disagreement-logged", "rebutted"})
"""States in which the item is marked: while it is contested, and once a disagreement stands beside it."""

STATUS: dict[State, tuple[str, str]] = {
    "queued": ("ready", "queued"),
    "in-review": ("in-progress", "in-review"),
    "waiting-for-information": ("in-progress", "waiting-for-information"),
    "accepted": ("in-progress", "accepted"),
    "partial": ("in-progress", "partial-accept"),
    "amended": ("completed", "amendment-completed"),
    "denied": ("completed", "denied"),
    "disagreement-logged": ("completed", "disagreement-logged"),
    "rebutted": ("completed", "completed"),
    "withdrawn": ("cancelled", "requester-cancelled"),
}
"""What each state is as Task.status and Task.businessStatus."""

# Codes of earlier drafts that a source may still send.
_ALSO: dict[str, State] = {"partial-amendment-completed": "amended", "inform-rebuttal-option": "denied"}
_STATE_OF: dict[str, State] = {**{business: state for state, (_, business) in STATUS.items()}, **_ALSO}

_NONE: frozenset[State] = frozenset()
_REQUEST: dict[State, frozenset[State]] = {
    "queued": frozenset({"in-review"}),
    "in-review": frozenset({"waiting-for-information", "accepted", "partial", "denied"}),
    "waiting-for-information": frozenset({"in-review"}),
    "accepted": frozenset({"amended"}),
    "partial": frozenset({"amended"}),
}
_DISAGREEMENT: dict[State, frozenset[State]] = {
    "queued": frozenset({"in-review", "disagreement-logged", "rebutted"}),
    "in-review": frozenset({"disagreement-logged", "rebutted"}),
}
_WORDS_NEEDED: dict[State, str] = {
    "waiting-for-information": "Say what you need to know.",
    "denied": "Say why, in words the person can read.",
    "rebutted": "Say what you answer.",
}

_TARGET = re.compile(
    r"(?P<type>[A-Z][A-Za-z]{0,63})/(?P<id>[A-Za-z0-9\-.]{1,64})(?:/_history/(?P<version>[1-9][0-9]{0,8}))?"
)
_ELEMENT = re.compile(r"[A-Z][A-Za-z]{0,63}(?:\.[A-Za-z][A-Za-z0-9]{0,63}(?:\[[0-9]{1,4}\])?){1,20}")


class Refused(msgspec.Struct, frozen=True):
    """Why a rule says no, in words for the person or the source."""

    reason: str
    pointer: str | None = None


class Named(msgspec.Struct, frozen=True):
    """An item named by a reference; `version` is None when the reference names none."""

    resource_type: str
    logical_id: str
    version: int | None


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person asks to be put right, before it is judged."""

    kind: Kind
    should_say: str = ""
    target: str | None = None
    element: str | None = None
    says: str | None = None
    evidence: tuple[str, ...] = ()
    urgent: bool = False
    organisation: str | None = None


def judge_question(question: Question) -> Refused | None:
    """None when a question of this form may be asked, else why not."""
    if question.evidence:
        return Refused("We cannot take documents as evidence yet. Say it in words.", "/evidence")
    if question.target is None and question.kind != "missing":
        return Refused("Say which item this is about.", "/target")
    named = named_by(question.target) if question.target is not None else None
    if question.target is not None and named is None:
        return Refused("An item is named like Condition/12 or Condition/12/_history/3.", "/target")
    if question.element is not None and not _is_element_of(question.element, named):
        return Refused("An element is named like Condition.code, and belongs to the item.", "/element")
    if question.kind != "not-mine" and not question.should_say.strip():
        return Refused("Say what it should say.", "/should_say")
    if judged := judge_text(question.should_say, "/should_say", may_be_empty=True):
        return judged
    return judge_text(question.says or "", "/says", may_be_empty=True)


def judge_repeat(standing: Correction, question: Question) -> Refused | None:
    """None when this is the question that stands under its id already, else why it cannot be asked there."""
    named = named_by(question.target) if question.target is not None else None
    target = standing.target
    about = (target.resource_type, target.logical_id) if target is not None else None
    is_same = (
        not standing.is_disagreement
        and (standing.kind, standing.element) == (question.kind, question.element or "")
        and standing.should_say == question.should_say.strip()
        and standing.says == (question.says or "").strip()
        and about == ((named.resource_type, named.logical_id) if named is not None else None)
        and question.organisation in {None, standing.organisation}
    )
    return None if is_same else Refused("Another question was asked under this id. Ask under a new one.")


def judge_text(text: str, pointer: str, *, may_be_empty: bool = False) -> Refused | None:
    """None when these words can be kept, else why not."""
    if not text.strip() and not may_be_empty:
        return Refused("Say something.", pointer)
    if len(text) > TEXT_CHARACTERS_MAX:
        return Refused(f"This can have {TEXT_CHARACTERS_MAX} characters.", pointer)
    return None


def named_by(reference: str) -> Named | None:
    """The item a reference like `Condition/12/_history/3` names, or None when it is not one."""
    found = _TARGET.fullmatch(reference)
    if found is None:
        return None
    version = found["version"]
    return Named(found["type"], found["id"], int(version) if version else None)


def state_of(business_status: str) -> State | None:
    """The state a Task's business status stands for."""
    return _STATE_OF.get(business_status)


def judge_move(correction: Correction, actor: Actor, to: State) -> Refused | None:
    """None when this actor may move the correction from where it stands to `to`, else why not."""
    if to in _moves(correction, actor):
        return None
    if correction.state not in OPEN:
        return Refused("This request has been settled. What was decided stands.")
    return Refused("This step may not follow the state the request is in.")


def judge_message(correction: Correction, actor: Actor) -> Refused | None:
    """None when this actor may add a message, else why not.

    What the source has asked may always be answered. It cannot ask again once the limit is reached.
    """
    if correction.state not in OPEN or actor == "stranger":
        return Refused("This request has been settled. What was decided stands.")
    if actor == "requester" and correction.state == "waiting-for-information":
        return None
    if len(correction.messages) >= MESSAGES_MAX:
        return Refused(f"A request can have {MESSAGES_MAX} messages.")
    return None


def after_message(correction: Correction, actor: Actor) -> State:
    """The state a message leads to: an answer to the source's question puts the request back in review."""
    if actor == "requester" and correction.state == "waiting-for-information":
        return "in-review"
    return correction.state


def judge_disagreement(correction: Correction) -> Refused | None:
    """None when the person may disagree with what was decided, else why not."""
    if correction.is_disagreement:
        return Refused("This is a disagreement already.")
    if correction.state == "denied" or (correction.state == "amended" and correction.was_partial):
        return None
    return Refused("You can disagree once the organisation has said no.")


def judge_repeated_disagreement(standing: Correction, statement: str) -> Refused | None:
    """None when this is what the person has said already, else why it cannot be said here."""
    if standing.state == "withdrawn":
        return Refused("You took back that you disagree. You can ask about the item again.")
    if standing.messages[0].text == statement.strip():
        return None
    if standing.state in OPEN:
        return Refused("You have said already that you disagree. Add a message to that.")
    return Refused(
        "You have said already that you disagree, and that stands. You can ask about the item again."
    )


def judge_words(to: State, text: str) -> Refused | None:
    """None unless this step needs words and has none."""
    wanted = _WORDS_NEEDED.get(to)
    return Refused(wanted) if wanted is not None and not text.strip() else None


def judge_amendment(disputed_version: int, standing_version: int) -> Refused | None:
    """None when the source has sent a newer version than the disputed one (ADR 0025), else why not."""
    if standing_version <= disputed_version:
        return Refused("Send the corrected item in an extract first: there is no newer version of it.")
    return None


def due_after(asked_at: datetime) -> datetime:
    """One calendar month later: the same day of the next month, or its last day when it has none such."""
    first_of_next = (asked_at.replace(day=1) + timedelta(days=32)).replace(day=1)
    last_of_next = (first_of_next + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return first_of_next.replace(day=min(asked_at.day, last_of_next.day))


def _moves(correction: Correction, actor: Actor) -> frozenset[State]:
    match actor:
        case "source":
            table = _DISAGREEMENT if correction.is_disagreement else _REQUEST
            return table.get(correction.state, _NONE)
        case "requester":
            return frozenset({"withdrawn"}) if correction.state in OPEN else _NONE
        case "stranger":
            return _NONE


def _is_element_of(element: str, named: Named | None) -> bool:
    if not _ELEMENT.fullmatch(element):
        return False
    return named is None or element.partition(".")[0] == named.resource_type
