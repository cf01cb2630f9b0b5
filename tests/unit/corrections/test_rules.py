"""Every move of a correction by every actor, what may be asked, and by when it is due."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID, uuid4

import msgspec
import pytest

from server.corrections import rules
from server.corrections.correction import Correction, Message, State
from server.corrections.rules import Actor, Named, Question

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
STATES: tuple[State, ...] = get_args(State)
ACTORS: tuple[Actor, ...] = get_args(Actor)
REQUEST: set[tuple[Actor, State, State]] = {
    ("source", "queued", "in-review"),
    ("source", "in-review", "waiting-for-information"),
    ("source", "in-review", "accepted"),
    ("source", "in-review", "partial"),
    ("source", "in-review", "denied"),
    ("source", "waiting-for-information", "in-review"),
    ("source", "accepted", "amended"),
    ("source", "partial", "amended"),
    *(("requester", state, "withdrawn") for state in rules.OPEN),
}
DISAGREEMENT: set[tuple[Actor, State, State]] = {
    ("source", "queued", "in-review"),
    ("source", "queued", "disagreement-logged"),
    ("source", "queued", "rebutted"),
    ("source", "in-review", "disagreement-logged"),
    ("source", "in-review", "rebutted"),
    *(("requester", state, "withdrawn") for state in rules.OPEN),
}


def correction(state: State = "queued", *, disagrees_with: UUID | None = None, **more: Any) -> Correction:
    return Correction(
        correction_id=UUID(int=1),
        version=1,
        kind="wrong",
        state=state,
        patient_id="p",
        organisation="B86001",
        organisation_name="Beeston Practice",
        asked_at=NOW,
        changed_at=NOW,
        due_at=NOW,
        disagrees_with=disagrees_with,
        **more,
    )


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("to", STATES)
def test_a_move_is_legal_exactly_when_the_table_says_so(actor: Actor, state: State, to: State) -> None:
    request = rules.judge_move(correction(state), actor, to)
    assert (request is None) == ((actor, state, to) in REQUEST)
    disagreement = rules.judge_move(correction(state, disagrees_with=uuid4()), actor, to)
    assert (disagreement is None) == ((actor, state, to) in DISAGREEMENT)


@pytest.mark.parametrize("state", STATES)
def test_what_is_settled_takes_no_step_and_no_word(state: State) -> None:
    is_open = state in rules.OPEN
    for actor in ("requester", "source"):
        assert (rules.judge_message(correction(state), actor) is None) == is_open
    assert rules.judge_message(correction(state), "stranger") is not None
    steps = [to for to in STATES if rules.judge_move(correction(state), "source", to) is None]
    assert bool(steps) == is_open


def test_the_person_s_words_answer_a_question_of_the_source() -> None:
    for state in rules.OPEN:
        expected = "in-review" if state == "waiting-for-information" else state
        assert rules.after_message(correction(state), "requester") == expected
        assert rules.after_message(correction(state), "source") == state


def test_messages_have_a_limit() -> None:
    message = Message(communication_id="c", by="person", text="x", at=NOW)
    for count, is_room in ((rules.MESSAGES_MAX - 1, True), (rules.MESSAGES_MAX, False)):
        full = correction("in-review", messages=(message,) * count)
        assert (rules.judge_message(full, "requester") is None) == is_room


@pytest.mark.parametrize("state", STATES)
def test_only_a_refusal_can_be_disagreed_with(state: State) -> None:
    assert (rules.judge_disagreement(correction(state)) is None) == (state == "denied")
    partly = correction(state, was_partial=True)
    assert (rules.judge_disagreement(partly) is None) == (state in {"denied", "amended"})
    assert rules.judge_disagreement(correction(state, disagrees_with=uuid4())) is not None


def test_every_state_has_a_status_and_is_found_again_by_it() -> None:
    assert rules.STATUS.keys() == set(STATES)
    for state, (_, business) in rules.STATUS.items():
        assert rules.state_of(business) == state
    assert rules.state_of("partial-amendment-completed") == "amended"
    assert rules.state_of("inform-rebuttal-option") == "denied"
    assert rules.state_of("received") is None


@pytest.mark.parametrize(
    ("disputed", "standing", "is_amended"), [(1, 1, False), (1, 2, True), (2, 1, False), (3, 9, True)]
)
def test_an_amendment_is_a_newer_version(disputed: int, standing: int, is_amended: bool) -> None:
    assert (rules.judge_amendment(disputed, standing) is None) == is_amended


def test_a_disagreement_is_said_once_and_nothing_said_later_is_lost() -> None:
    def said(state: State) -> Correction:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        first = Message(communication_id="1", by="person", text="It never was.", at=at)
        return correction(state, disagrees_with=uuid4(), messages=(first,))

    for state in ("queued", "in-review", "disagreement-logged", "rebutted"):
        assert rules.judge_repeated_disagreement(said(state), " It never was. ") is None
        other = rules.judge_repeated_disagreement(said(state), "Something else.")
        assert other is not None
        assert ("Add a message" in other.reason) == (state in rules.OPEN)
    for words in ("It never was.", "Something else."):
        taken_back = rules.judge_repeated_disagreement(said("withdrawn"), words)
        assert taken_back is not None
        assert "took back" in taken_back.reason


def test_some_steps_need_words() -> None:
    for state in STATES:
        is_needed = state in {"waiting-for-information", "denied", "rebutted"}
        assert (rules.judge_words(state, " \n") is not None) == is_needed
        assert rules.judge_words(state, "Words.") is None


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ((2026, 11, 22), (2026, 12, 22)),
        ((2026, 1, 31), (2026, 2, 28)),
        ((2028, 1, 31), (2028, 2, 29)),
        ((2026, 12, 31), (2027, 1, 31)),
        ((2026, 2, 28), (2026, 3, 28)),
        ((2026, 10, 31), (2026, 11, 30)),
    ],
)
def test_it_is_due_one_calendar_month_later(asked: tuple[int, ...], due: tuple[int, ...]) -> None:
    year, month, day = asked
    at = datetime(year, month, day, 23, 59, 59, tzinfo=UTC)
    found = rules.due_after(at)
    assert (found.year, found.month, found.day) == due
    assert found - found.replace(hour=0, minute=0, second=0) == timedelta(hours=23, minutes=59, seconds=59)


GOOD = Question(kind="wrong", target="Condition/12", should_say="Bronchitis")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"target": "Condition/12/_history/3"},
        {"element": "Condition.code"},
        {"element": "Condition.stage[0].summary"},
        {"kind": "missing", "target": None},
        {"kind": "missing", "target": None, "element": "Condition.code"},
        {"kind": "not-mine", "should_say": ""},
        {"kind": "out-of-date", "says": "Asthma"},
        {"should_say": "x" * rules.TEXT_CHARACTERS_MAX},
    ],
)
def test_a_question_that_says_what_it_is_about_may_be_asked(said: dict[str, Any]) -> None:
    assert rules.judge_question(msgspec.structs.replace(GOOD, **said)) is None


@pytest.mark.parametrize(
    ("said", "pointer"),
    [
        ({"target": None}, "/target"),
        ({"target": "Condition"}, "/target"),
        ({"target": "Condition/12/_history/0"}, "/target"),
        ({"target": "Condition/12/_history/x"}, "/target"),
        ({"target": "https://elsewhere.example/Condition/12"}, "/target"),
        ({"target": "Condition/12\n"}, "/target"),
        ({"element": "Observation.code"}, "/element"),
        ({"element": "code"}, "/element"),
        ({"element": "Condition.code; drop"}, "/element"),
        ({"should_say": " "}, "/should_say"),
        ({"should_say": "x" * (rules.TEXT_CHARACTERS_MAX + 1)}, "/should_say"),
        ({"says": "x" * (rules.TEXT_CHARACTERS_MAX + 1)}, "/says"),
        ({"evidence": ("a",)}, "/evidence"),
    ],
)
def test_a_question_that_does_not_is_refused(said: dict[str, Any], pointer: str) -> None:
    refused = rules.judge_question(msgspec.structs.replace(GOOD, **said))
    assert refused is not None
    assert refused.pointer == pointer


def test_references_name_items() -> None:
    assert rules.named_by("Condition/12/_history/3") == Named("Condition", "12", 3)
    assert rules.named_by("Condition/12") == Named("Condition", "12", None)
    assert rules.named_by("#answer") is None
