"""A correction as FHIR, and what is read of a Task that comes back."""

import json
from typing import Any
from uuid import UUID

import pytest

from fhir_profiles.labels_by_type import OWNER_ONLY_TYPES
from fhir_profiles.parse import decode, encode
from fhir_profiles.validate import validate
from server.corrections import resources, rules
from server.corrections.answers import Answer, read_answer
from server.corrections.correction import Amendment, Correction, Message, State, Target
from server.corrections.rules import Named, Refused
from server.corrections.sentences import step_sentence
from tests.api.correction_world import moved
from tests.shared_data import shared_folder
from tests.unit.corrections.test_rules import NOW, STATES

BUSINESS_OF = {state: business for state, (_, business) in rules.STATUS.items()}


def correction(state: State = "in-review", **changed: Any) -> Correction:
    asked = Message(communication_id="c0", by="person", text="This is wrong.", at=NOW)
    final = Message(communication_id="c1", by="source", text="Put right.", at=NOW, is_final=True)
    parts: dict[str, Any] = {
        "correction_id": UUID(int=1),
        "version": 1,
        "kind": "wrong",
        "state": state,
        "patient_id": "p1",
        "organisation": "B86001",
        "organisation_name": "Beeston Practice",
        "asked_at": NOW,
        "changed_at": NOW,
        "due_at": NOW,
        "target": Target(
            resource_type="Condition",
            logical_id="12",
            version=3,
            title="Asthma",
            dated="2024-05-01",
            identifier="https://p.example|7",
        ),
        "element": "Condition.code",
        "messages": (asked,) if state in rules.OPEN else (asked, final),
        "task_version": 4,
    }
    return Correction(**(parts | changed))


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_a_valid_task_and_communications(state: State) -> None:
    for disagrees_with in (None, UUID(int=2)):
        one = correction(state, disagrees_with=disagrees_with)
        head, body = resources.task(one)
        task = decode(body)
        assert validate(task) == ()
        assert head.resource_type in OWNER_ONLY_TYPES
        assert head.source is None
        assert head.search["owner"] == ("Organization/B86001",)
        assert (task["status"], task["businessStatus"]["coding"][0]["code"]) == rules.STATUS[state]
        assert ("output" in task) == (state not in rules.OPEN)
        assert ("reasonReference" in task) == (disagrees_with is not None)
        assert not {"restriction", "encounter", "basedOn", "partOf"} & task.keys()
        for message in one.messages:
            head, body = resources.communication(one, message)
            assert validate(decode(body)) == ()
            assert head.resource_type in OWNER_ONLY_TYPES


@pytest.mark.shared_data
def test_the_task_has_what_the_published_ones_have() -> None:
    published = json.loads(
        (shared_folder("patient-correction") / "Task-correctionrequestprocess6.json").read_bytes()
    )
    ours = decode(resources.task(correction("amended"))[1])
    assert published.keys() <= ours.keys()
    for name in ("code", "businessStatus", "intent", "status"):
        assert ours[name] == published[name]
    for name in ("input", "output"):
        assert ours[name][0]["type"] == published[name][0]["type"]
    published = json.loads(
        (shared_folder("patient-correction") / "Communication-recordamended.json").read_bytes()
    )
    one = correction("amended")
    ours = decode(resources.communication(one, one.messages[1])[1])
    assert published.keys() - {"topic"} <= ours.keys()
    assert ours["category"] == published["category"]


def test_the_provenance_of_an_amendment_names_both_versions() -> None:
    amendment = Amendment(resource_type="Condition", logical_id="12", version=5, title="Bronchitis")
    _, body = resources.provenance(correction("amended", amendment=amendment), "prov-1")
    provenance = decode(body)
    assert validate(provenance) == ()
    assert provenance["target"] == [{"reference": "Condition/12/_history/5"}]
    assert provenance["entity"] == [{"role": "revision", "what": {"reference": "Condition/12/_history/3"}}]


def test_an_answer_is_read_from_where_the_guide_puts_it() -> None:
    task = decode(resources.task(correction())[1])
    said = moved(task, "denied", "No.\u202e  Really\tnot.")
    assert read(said, task) == Answer(to="denied", text="No. Really not.")
    by_reason = moved(task, "denied") | {"statusReason": {"text": "No."}}
    assert read(by_reason, task) == Answer(to="denied", text="No.")
    outputs = [
        {"type": {"text": "answer"}, "valueString": "Done."},
        {"type": {"text": "item"}, "valueReference": {"reference": "Condition/12/_history/5"}},
    ]
    named = moved(task, "amendment-completed") | {"output": outputs}
    assert read(named, task) == Answer(to="amended", text="Done.", resolved_by=Named("Condition", "12", 5))
    assert read(moved(task, "accepted"), task) == Answer(to="accepted")


def test_words_too_long_are_refused() -> None:
    task = decode(resources.task(correction())[1])
    for length, is_taken in ((rules.TEXT_CHARACTERS_MAX, True), (rules.TEXT_CHARACTERS_MAX + 1, False)):
        assert isinstance(read(moved(task, "denied", "x" * length), task), Answer) is is_taken


@pytest.mark.parametrize(
    "changed",
    [
        {"status": "completed"},
        {"businessStatus": {"text": "in review"}},
        {"businessStatus": {"coding": [{"system": "https://other.example", "code": "denied"}]}},
        {"for": {"reference": "Patient/other"}},
        {"focus": {"reference": "Condition/12/_history/4"}},
        {"owner": {"reference": "Organization/RR801"}},
        {"restriction": {"repetitions": 1}},
        {"surprise": 1},
        {"status": "not-a-status"},
    ],
)
def test_what_is_not_the_source_s_to_say_is_refused(changed: dict[str, Any]) -> None:
    task = decode(resources.task(correction())[1])
    assert isinstance(read(moved(task, "accepted") | changed, task), Refused)


def test_every_state_is_told_in_a_plain_sentence() -> None:
    of_a_disagreement = {"queued", "in-review", "disagreement-logged", "rebutted", "withdrawn"}
    for state in STATES:
        one = correction(state, disagrees_with=UUID(int=2) if state == "rebutted" else None)
        others = [correction(state, disagrees_with=UUID(int=2))] if state in of_a_disagreement else []
        for each in (one, *others):
            sentence = step_sentence(each, state, is_named=True)
            assert "Beeston Practice" in sentence
            assert '"Asthma" of 1 May 2024' in sentence
            quiet = step_sentence(each, state, is_named=False)
            assert "Asthma" not in quiet
            assert quiet.endswith(".")
            assert "{" not in sentence
            assert sentence.endswith(".")
    assert "what is missing" in step_sentence(correction("queued", target=None), "queued", is_named=True)


def read(sent: dict[str, Any], standing: dict[str, Any]) -> Answer | Refused:
    return read_answer(decode(encode(sent)), standing)
