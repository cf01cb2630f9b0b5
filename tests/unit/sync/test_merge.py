"""SYNC 3.4 by example: what is one unit, and what becomes of two changes of it."""

from typing import Any

import pytest

from sync.merge import merge, with_mine
from sync.units import moves_back, unit_of
from sync.values import read_json, write_json

BASE: dict[str, Any] = read_json(
    b"""{"resourceType":"Observation","id":"1",
    "meta":{"versionId":"3","lastUpdated":"then","tag":[{"system":"s","code":"a"}]},
    "identifier":[{"system":"s","value":"1"}],"extension":[{"url":"u","valueCode":"x"}],
    "status":"final","category":[{"text":"vital"}],"code":{"text":"Weight"},
    "effectiveDateTime":"2026-01-01","_effectiveDateTime":{"id":"e"},
    "valueQuantity":{"value":80.0,"unit":"kg"},"interpretation":[{"text":"high"}],
    "note":[{"time":"1","text":"first"}],
    "telecom":[{"system":"phone","value":"0113"},{"system":"email","value":"a@example.org"}]}"""
)


def edited(**members: Any) -> dict[str, Any]:
    """BASE with these members; None takes one away."""
    merged = BASE | {name.replace("UNDER", "_"): value for name, value in members.items()}
    return {name: value for name, value in merged.items() if value is not None}


def test_changes_of_different_units_both_stand():
    merged = merge(BASE, edited(code={"text": "Body weight"}), edited(valueQuantity={"value": 81}))
    assert merged.resource["code"] == {"text": "Body weight"}
    assert merged.resource["valueQuantity"] == {"value": 81}
    assert merged.changed
    assert not merged.clashes


def test_a_value_as_sent_keeps_its_digits():
    merged = merge(BASE, edited(code={"text": "Body weight"}), BASE)
    assert b'"value":80.0,' in write_json(merged.resource)


def test_more_digits_are_another_value():
    mine = read_json(write_json(BASE).replace(b"80.0", b"80.00"))
    theirs = read_json(write_json(BASE).replace(b"80.0", b"80"))
    assert [clash.path for clash in merge(BASE, mine, theirs).clashes] == ["value[x]"]


@pytest.mark.parametrize(
    ("mine", "theirs", "unit"),
    [
        ({"valueQuantity": {"value": 81}}, {"valueQuantity": {"value": 82}}, "value[x]"),
        ({"valueQuantity": {"value": 81}}, {"interpretation": [{"text": "low"}]}, "value[x]"),
        ({"valueQuantity": None, "dataAbsentReason": {}}, {"valueQuantity": {"value": 82}}, "value[x]"),
        ({"valueQuantity": None, "valueString": "heavy"}, {"referenceRange": [{"text": "r"}]}, "value[x]"),
        ({"effectiveDateTime": "2026-01-02"}, {"UNDEReffectiveDateTime": None}, "effective[x]"),
        ({"effectiveDateTime": None}, {"effectiveDateTime": "2027"}, "effective[x]"),
        ({"code": {"text": "a"}}, {"code": {"text": "b"}}, "code"),
        ({"category": [{"text": "a"}]}, {"category": []}, "category"),
        ({"status": "a word nobody knows"}, {"status": "amended"}, "status"),
        ({"status": "amended", "UNDERstatus": {"id": "x"}}, {"status": "corrected"}, "status"),
        ({"identifier": []}, {"identifier": [{"system": "s", "value": "1", "use": "old"}]}, "identifier"),
        ({"extension": [{"url": "u", "id": "y"}]}, {"extension": [{"url": "u", "id": "z"}]}, "extension"),
        ({"telecom": [{"value": "no system"}] * 2}, {"telecom": []}, "telecom"),
    ],
)  # fmt: skip
def test_two_different_changes_of_one_unit_clash_and_the_current_stays(
    mine: dict[str, Any], theirs: dict[str, Any], unit: str
):
    current = edited(**theirs)
    merged = merge(BASE, edited(**mine), current)
    assert [clash.path for clash in merged.clashes] == [unit]
    assert merged.resource == current
    assert not merged.changed
    assert merged.clashes[0].mine == units(edited(**mine), unit)
    assert merged.clashes[0].theirs == units(current, unit)


def units(resource: dict[str, Any], unit: str) -> dict[str, Any] | None:
    return {name: value for name, value in resource.items() if unit_of(name) == unit} or None


def test_a_clash_in_one_unit_leaves_the_others_merged():
    mine = edited(valueQuantity={"value": 81}, method={"text": "scales"})
    merged = merge(BASE, mine, edited(valueQuantity={"value": 82}))
    assert merged.resource["valueQuantity"] == {"value": 82}
    assert merged.resource["method"] == {"text": "scales"}
    assert merged.changed
    assert with_mine(merged)["valueQuantity"] == {"value": 81}


def test_notes_and_tags_of_both_sides_stand():
    mine = edited(note=[*BASE["note"], {"text": "mine"}], meta={"tag": [{"code": "m"}]})
    theirs = edited(note=[*BASE["note"], {"text": "theirs"}], meta=BASE["meta"] | {"tag": [{"code": "t"}]})
    merged = merge(BASE, mine, theirs)
    assert [note["text"] for note in merged.resource["note"]] == ["first", "theirs", "mine"]
    assert [tag["code"] for tag in merged.resource["meta"]["tag"]] == ["t", "m"]
    assert not merged.clashes


def test_keyed_lists_are_joined_entry_by_entry():
    phone, email = BASE["telecom"]
    mine = edited(telecom=[phone | {"use": "work"}, email])
    theirs = edited(telecom=[phone, {"system": "sms", "value": "07"}])
    merged = merge(BASE, mine, theirs)
    assert merged.resource["telecom"] == [phone | {"use": "work"}, {"system": "sms", "value": "07"}]
    assert not merged.clashes


@pytest.mark.parametrize(
    ("mine", "theirs", "joined"),
    [("amended", "corrected", "corrected"), ("entered-in-error", "amended", "entered-in-error")],
)
def test_a_status_moves_on_to_the_later_of_two(mine: str, theirs: str, joined: str):
    merged = merge(BASE, edited(status=mine), edited(status=theirs))
    assert merged.resource["status"] == joined
    assert not merged.clashes


def test_a_status_of_a_type_whose_order_we_do_not_know_clashes():
    task: dict[str, Any] = {"resourceType": "Task", "status": "ready"}
    merged = merge(task, task | {"status": "cancelled"}, task | {"status": "in-progress"})
    assert [clash.path for clash in merged.clashes] == ["status"]


def test_the_stamps_are_the_servers_own():
    mine = edited(meta=BASE["meta"] | {"versionId": "99", "lastUpdated": "never"}, code={"text": "x"})
    theirs = edited(meta=BASE["meta"] | {"versionId": "4", "lastUpdated": "now"})
    merged = merge(BASE, mine, theirs)
    assert merged.resource["meta"] == BASE["meta"] | {"versionId": "4", "lastUpdated": "now"}
    assert merge(BASE, edited(meta={"versionId": "99", "tag": BASE["meta"]["tag"]}), BASE).changed is False


def test_two_sources_in_meta_clash_by_their_full_path():
    merged = merge(BASE, edited(meta={"source": "a"}), edited(meta={"source": "b"}))
    assert [clash.path for clash in merged.clashes] == ["meta.source"]
    assert with_mine(merged)["meta"]["source"] == "a"


def test_the_members_keep_the_order_of_the_current_resource():
    theirs = edited(code={"text": "b"})
    merged = merge(BASE, edited(status="amended", bodySite={"text": "arm"}), theirs)
    assert list(merged.resource) == [*theirs, "bodySite"]


def test_a_status_that_goes_back_is_named():
    assert moves_back("Observation", BASE, edited(status="preliminary")) == "status"
    assert moves_back("Observation", BASE, edited(status="amended")) is None
    assert moves_back("Observation", BASE, edited(status="a word nobody knows")) is None
    assert (
        moves_back("DocumentReference", {"docStatus": "final"}, {"docStatus": "preliminary"}) == "docStatus"
    )


@pytest.mark.parametrize(
    ("member", "unit"),
    [
        ("valueQuantity", "value[x]"),
        ("_valueString", "value[x]"),
        ("dataAbsentReason", "value[x]"),
        ("effectivePeriod", "effective[x]"),
        ("_status", "status"),
        ("value", "value"),
        ("valued", "valued"),
        ("component", "component"),
    ],
)
def test_a_member_belongs_to_its_unit(member: str, unit: str):
    assert unit_of(member) == unit
