"""A correction request as it is kept, sealed: all that its Task, messages and notices are made from."""

from datetime import date, datetime
from typing import Literal
from uuid import UUID

import msgspec

Kind = Literal["wrong", "missing", "not-mine", "out-of-date"]
State = Literal[
    "queued",
    "in-review",
    "waiting-for-information",
    "accepted",
    "partial",
    "amended",
    "denied",
    "disagreement-logged",
    "rebutted",
    "withdrawn",
]
By = Literal["person", "source"]


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The item in question, in the version that is disputed.

    `identifier` is the source's own, as system|value.
    """

    resource_type: str
    logical_id: str
    version: int
    title: str
    dated: str = ""
    identifier: str = ""

    @property
    def reference(self) -> str:
        """`Condition/12/_history/3`."""
        return f"{self.resource_type}/{self.logical_id}/_history/{self.version}"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Communication of the correction. The first one asks."""

    communication_id: str
    by: By
    text: str
    at: datetime
    is_final: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the correction's history."""

    at: datetime
    state: State
    sentence: str


class Amendment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The version that put things right, as it was when the source said so.

    `is_removal` when the item was taken out: from that version on there is nothing to read.
    """

    resource_type: str
    logical_id: str
    version: int
    title: str
    dated: str = ""
    is_removal: bool = False


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient who saw the wrong version, and the notice written for them."""

    subject: str
    notice_id: UUID


class Correction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One correction request, or the disagreement with a refusal, as it stands.

    `task_version` is that of the Task in the feed; `fetched_version` the last one the source was given, and
    `fetched_on` the day when the log last said so.
    `disagrees_with` names the refused request when this is the disagreement with it.
    """

    correction_id: UUID
    version: int
    kind: Kind
    state: State
    patient_id: str
    organisation: str
    organisation_name: str
    asked_at: datetime
    changed_at: datetime
    due_at: datetime
    target: Target | None = None
    element: str = ""
    says: str = ""
    should_say: str = ""
    is_urgent: bool = False
    was_partial: bool = False
    reason: str = ""
    messages: tuple[Message, ...] = ()
    steps: tuple[Step, ...] = ()
    amendment: Amendment | None = None
    told: tuple[Told, ...] = ()
    unreachable: int = 0
    task_version: int = 0
    fetched_version: int = 0
    fetched_on: date | None = None
    disagrees_with: UUID | None = None
    disagreed_in: UUID | None = None

    @property
    def is_disagreement(self) -> bool:
        """Whether this is the disagreement with a refusal."""
        return self.disagrees_with is not None
