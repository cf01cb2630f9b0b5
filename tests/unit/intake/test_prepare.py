from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from server.intake.gather import read_extract
from server.intake.naming import name_entries
from server.intake.prepare import Candidate, Setting, as_if_absent, examine, render
from server.intake.process import run_bounds
from server.intake.wire import ItemVerdict
from server.storage.sealing import Sealer
from tests.extracts import Resource, bundle, condition, encoded, observation, patient

MAC = partial(Sealer.of_record(UUID(int=1), bytes(32)).mac, "served-id", "A1")
PATIENT_ID = "11111111-1111-4111-8111-111111111111"
EXTRACT_ID = "22222222-2222-4222-8222-222222222222"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def setting_of(*resources: Resource, **changes: Any) -> Setting:
    extract = read_extract(encoded(bundle([patient("9990000018"), *resources])))
    names = name_entries(
        extract.entries, MAC, extract.content_key, patient_id=PATIENT_ID, is_transaction=False
    )
    setting = Setting(
        extract=extract,
        extract_id=EXTRACT_ID,
        names=names,
        mac=MAC,
        organisation="A1",
        hidden=frozenset(),
        held_back=frozenset(),
        known={},
        living=frozenset(),
    )
    return as_if_absent(msgspec.structs.replace(setting, **changes))


def candidate_of(setting: Setting, index: int) -> Candidate:
    found = examine(setting, index)
    assert isinstance(found, Candidate), found
    return found


def verdict_of(setting: Setting, index: int) -> ItemVerdict:
    found = examine(setting, index)
    assert isinstance(found, ItemVerdict), found
    return found


def test_a_sound_item_is_rendered_with_our_id_meta_and_source() -> None:
    setting = setting_of(observation())
    rendered = render(candidate_of(setting, 1), setting, 4, NOW)
    served = msgspec.json.decode(rendered.body)
    assert served["id"] == rendered.head.logical_id == setting.names.ids[1]
    assert served["meta"] == {"versionId": "5", "lastUpdated": "2026-11-22T09:00:00.000Z"}
    assert served["subject"] == {"reference": f"Patient/{PATIENT_ID}"}
    extract_id, offset, length = rendered.head.source or ("", 0, 0)
    assert extract_id == EXTRACT_ID
    assert setting.extract.raw[offset : offset + length] == encoded(observation())
    assert rendered.head.organisation == "A1"


def test_the_content_is_equal_whatever_the_version() -> None:
    setting = setting_of(observation())
    candidate = candidate_of(setting, 1)
    heads = [render(candidate, setting, base, NOW).head for base in (0, 7)]
    assert heads[0].content_hash == heads[1].content_hash == candidate.content_hash


def test_a_quarantined_item_says_where_and_why() -> None:
    verdict = verdict_of(setting_of(observation(effectiveDateTime="2026-02-30")), 1)
    assert verdict.verdict == "quarantined"
    assert verdict.pointer.startswith("/entry/1/resource/")
    assert verdict.rule
    assert verdict.outcome is not None
    assert verdict.outcome["issue"][0]["severity"] == "error"
    assert "2026-02-30" not in str(verdict.outcome)


def test_an_item_that_cannot_stand_without_what_is_hidden_is_hidden_with_it() -> None:
    request = {
        "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
        "medicationReference": {"reference": "Medication/hid"}, "subject": {"reference": "Patient/pat"},
    }  # fmt: skip
    open_setting = setting_of(request)
    assert not candidate_of(open_setting, 1).is_hidden
    target = candidate_of(open_setting, 1).resource["medicationReference"]["reference"].split("/")
    hiding = setting_of(request, hidden=frozenset({(target[0], target[1])}))
    assert candidate_of(hiding, 1).is_hidden


def test_what_needs_an_item_that_needs_a_hidden_one_is_hidden_too() -> None:
    def step(source_id: str, needs: str) -> Resource:
        reference = {"reference": f"Observation/{needs}"}
        of = {"url": "https://supplier.example/step-of", "valueReference": reference}
        return observation(source_id, modifierExtension=[of])

    first, second = step("first", "absent"), step("second", "first")
    open_setting = setting_of(second, first)
    (absent,) = candidate_of(open_setting, 2).resource["modifierExtension"]
    target = absent["valueReference"]["reference"].split("/")
    hiding = setting_of(second, first, hidden=frozenset({(target[0], target[1])}))
    assert [candidate_of(hiding, index).is_hidden for index in (1, 2)] == [True, True]
    assert not candidate_of(open_setting, 1).is_hidden


def test_a_reference_to_a_hidden_item_becomes_what_one_to_an_absent_item_is() -> None:
    member = {"reference": "Observation/other", "display": "Said"}
    visible = observation("visible", hasMember=[member])
    other = observation("other", identifier=[{"system": "urn:x", "value": "1"}])
    shown = setting_of(visible, other)
    name = ("Observation", shown.names.ids[2])
    hiding = setting_of(visible, other, hidden=frozenset({name}))
    alone = setting_of(visible)
    assert candidate_of(hiding, 1).resource == candidate_of(alone, 1).resource
    assert candidate_of(hiding, 1).resource["hasMember"] != candidate_of(shown, 1).resource["hasMember"]
    assert candidate_of(shown, 1).resource["hasMember"][0]["display"] == "Said"
    assert "display" not in candidate_of(alone, 1).resource["hasMember"][0]


def test_a_display_stays_beside_what_stands_in_the_record_and_beside_people() -> None:
    visible = observation(
        hasMember=[{"reference": "Observation/other", "display": "Said"}],
        performer=[{"reference": "Practitioner/absent", "display": "Dr Gale"}],
        derivedFrom=[{"reference": "urn:uuid:0", "display": "Said elsewhere"}],
    )
    alone = candidate_of(setting_of(visible), 1).resource
    kind, logical_id = alone["hasMember"][0]["reference"].split("/")
    known = candidate_of(setting_of(visible, living=frozenset({(kind, logical_id)})), 1).resource
    assert known["hasMember"][0]["display"] == "Said"
    assert alone["performer"][0]["display"] == "Dr Gale"
    assert "display" not in alone["derivedFrom"][0]


def test_runs_are_bounded_in_entries_and_bytes() -> None:
    many = setting_of(*[observation(f"o{index}") for index in range(250)])
    assert [len(run) for run in run_bounds(many.extract)] == [100, 100, 51]
    long = setting_of(*[condition(f"c{index}", "x" * 300_000) for index in range(4)])
    assert [list(run) for run in run_bounds(long.extract)] == [[0, 1, 2], [3, 4]]


def test_the_last_run_is_never_empty() -> None:
    exact = setting_of(*[observation(f"o{index}") for index in range(99)])
    assert [len(run) for run in run_bounds(exact.extract)] == [100]
