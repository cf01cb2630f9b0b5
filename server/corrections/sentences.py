"""Every sentence about a correction: for the person, for their log, and for whoever saw what was wrong. Pure.

The same style as sharing's: a person is named, or is "you"; no word says what was kept back.
"""

from server.corrections.correction import Correction, State
from server.notices.sentences import item_words
from server.sharing.plain_words import at_words, plain_name

COMPLAINT = (
    "You can say that you disagree. You can also complain to the organisation, "
    "or to the Information Commissioner's Office (ico.org.uk)."
)

_UNNAMED = "something in your record"
_BESIDE = "You told {source} that you disagree about {what}. That now stands beside it."
_REQUEST: dict[State, str] = {
    "queued": "You asked {source} to put right {what}. They should answer by {due}.",
    "in-review": "{source} is looking into what you said about {what}.",
    "waiting-for-information": "{source} has a question about {what}.",
    "accepted": "{source} agrees with you about {what}, and will correct it.",
    "partial": "{source} agrees in part about {what}, and will correct that part.",
    "amended": "{source} has corrected {what}.",
    "denied": f"{{source}} will not change {{what}}. They say why. {COMPLAINT}",
    "withdrawn": "You took back what you asked {source} about {what}.",
    "disagreement-logged": _BESIDE,
}
_DISAGREEMENT: dict[State, str] = {
    "queued": _BESIDE,
    "in-review": "{source} is reading why you disagree about {what}.",
    "disagreement-logged": "{source} has kept beside {what} that you disagree.",
    "rebutted": "{source} has answered why you disagree about {what}. What you said stays beside it.",
    "withdrawn": "You no longer disagree with {source} about {what}.",
}


def subject_words(correction: Correction, *, is_named: bool) -> str:
    """What the request is about."""
    if correction.target is None:
        return "what is missing"
    return item_words(correction.target.title, correction.target.dated) if is_named else _UNNAMED


def step_sentence(correction: Correction, state: State, *, is_named: bool) -> str:
    """What the person is told of the state their request has come to.

    Not named: for a notice, and for an item its source has hidden since.
    """
    return _said(correction, state, subject_words(correction, is_named=is_named))


def _said(correction: Correction, state: State, what: str) -> str:
    source = plain_name(correction.organisation_name)
    if correction.is_disagreement:
        return _DISAGREEMENT[state].format(source=source, what=what)
    if state == "amended" and correction.amendment is not None and correction.amendment.is_removal:
        return f"{source} has taken out {what}."
    due = at_words(correction.due_at, said_in=correction.asked_at.year)
    return _REQUEST[state].format(source=source, what=what, due=due)


def message_line(correction: Correction, *, is_named: bool) -> str:
    """The log line for words the person added."""
    source, what = plain_name(correction.organisation_name), subject_words(correction, is_named=is_named)
    return f"You wrote to {source} about {what}."


def source_message_line(correction: Correction, *, is_named: bool) -> str:
    """The log line for words the source added."""
    source, what = plain_name(correction.organisation_name), subject_words(correction, is_named=is_named)
    return f"{source} wrote to you about {what}."


def fetched_line(correction: Correction, *, is_named: bool) -> str:
    """The log line for the source's system taking the request."""
    source, what = plain_name(correction.organisation_name), subject_words(correction, is_named=is_named)
    return f"{source} was given what you asked about {what}."


def removed_sentence(item: str, *, source: str) -> str:
    """What whoever saw an item is told once its source has taken it out."""
    taken_out = f"{plain_name(source)} has taken out {item}, which you saw in this person's record."
    return f"{taken_out} Do not rely on what it said."
