"""The shapes of `/records/{record_id}/corrections`."""

from typing import Literal

import msgspec

from server.corrections.correction import Kind
from server.corrections.rules import Question

State = Literal[
    "queued",
    "in-review",
    "waiting-for-information",
    "accepted",
    "partial",
    "amended",
    "denied",
    "disagreement-logged",
    "withdrawn",
]


class NewCorrection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question as it is sent. The same `mid` again answers the correction that is there."""

    kind: Kind
    should_say: str = ""
    target: str | None = None
    element: str | None = None
    says: str | None = None
    evidence: tuple[str, ...] = ()
    urgent: bool = False
    organisation: str | None = None
    mid: str | None = None

    def question(self) -> Question:
        """What is asked."""
        return Question(
            kind=self.kind,
            should_say=self.should_say,
            target=self.target,
            element=self.element,
            says=self.says,
            evidence=self.evidence,
            urgent=self.urgent,
            organisation=self.organisation,
        )


class NewMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message to the source."""

    text: str


class Withdrawal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Taking a correction back says nothing more."""


class Disagreement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the person disagrees with a refusal."""

    statement: str


class StepAnswer(msgspec.Struct, frozen=True):
    """One step of a correction's history."""

    at: str
    state: State
    sentence: str


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a correction."""

    at: str
    by: Literal["person", "source"]
    text: str


class FollowedPerson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Someone who saw what is questioned. `told_at` is when they fetched the notice that it was corrected."""

    name: str
    role: str | None = None
    organisation: str | None = None
    state: Literal["saw", "told", "pending"]
    told_at: str | None = None
    read_at: str | None = None


class FollowedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who saw it, and of these who has been told that it was corrected."""

    saw: int
    told: int
    pending: int
    unreachable: int
    people: list[FollowedPerson]


class DisagreementAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The disagreement with a refusal, and what the source made of it."""

    correction_id: str
    task_id: str
    state: Literal["queued", "in-review", "logged", "answered", "withdrawn"]
    due_at: str
    messages: list[MessageAnswer]


class CorrectionAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One correction as the person sees it."""

    correction_id: str
    task_id: str
    state: State
    kind: Kind
    organisation: str
    organisation_name: str
    asked_at: str
    due_at: str
    sentence: str
    history: list[StepAnswer]
    messages: list[MessageAnswer]
    followed: FollowedAnswer
    urgent: bool
    target: str | None = None
    title: str | None = None
    element: str | None = None
    says: str | None = None
    should_say: str | None = None
    corrected_by: str | None = None
    disagreement: DisagreementAnswer | None = None


class CorrectionList(msgspec.Struct, frozen=True):
    """Corrections, newest first."""

    corrections: list[CorrectionAnswer]
