"""The demo's people are synthetic, whole and valid, and their extracts show what slices are for."""

import json
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle

from fhir_profiles import parse
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.heads import SENSITIVE_CLASSES
from fhir_profiles.identifiers import is_nhs_number
from fhir_profiles.labels import is_hidden_from_patient, labels_of
from fhir_profiles.validate import validate
from server.commands.demo_cast import WRITTEN_ON, cast, extract_bytes, extract_names
from server.commands.demo_steps.journey import references_in

EXTRACTS = extract_names()


def entries_of(name: str, as_on: date = WRITTEN_ON) -> list[dict[str, Any]]:
    return parse.decode(extract_bytes(name, as_on=as_on))["entry"]


@pytest.mark.parametrize("name", EXTRACTS)
def test_every_extract_is_valid_by_the_published_models(name: str) -> None:
    Bundle.model_validate_json(extract_bytes(name, as_on=WRITTEN_ON))


@pytest.mark.parametrize("name", EXTRACTS)
def test_every_resource_is_valid_by_our_own_rules_and_of_a_type_we_hold(name: str) -> None:
    for entry in entries_of(name):
        resource = entry["resource"]
        assert validate(resource) == (), resource
        assert resource["resourceType"] in CATALOGUE


@pytest.mark.parametrize("name", EXTRACTS)
def test_every_reference_is_to_an_item_of_the_same_extract(name: str) -> None:
    entries = entries_of(name)
    urls = {entry["fullUrl"] for entry in entries}
    assert len(urls) == len(entries)
    for entry in entries:
        assert set(references_in(entry["resource"])) <= urls


@pytest.mark.parametrize("name", EXTRACTS)
def test_every_code_has_words_beside_it(name: str) -> None:
    for entry in entries_of(name):
        code = entry["resource"].get("code") or entry["resource"].get("vaccineCode")
        assert not isinstance(code, dict) or code.get("text"), entry["resource"]


def test_nhs_numbers_are_of_the_test_range_valid_and_each_persons_own() -> None:
    people = [*cast().citizens, *cast().refused]
    numbers = [person.nhs_number for person in people]
    assert all(number.startswith("999") and is_nhs_number(number) for number in numbers)
    assert len(set(numbers)) == len(numbers) == 6


@pytest.mark.parametrize("name", EXTRACTS)
def test_an_extract_is_about_its_own_citizen(name: str) -> None:
    citizen = next(one for one in cast().citizens if any(name in names for names in one.extracts.values()))
    patients = [one["resource"] for one in entries_of(name) if one["resource"]["resourceType"] == "Patient"]
    assert [patient["birthDate"] for patient in patients] == [citizen.birth_date]
    assert patients[0]["identifier"][0]["value"] == citizen.nhs_number


def test_there_are_five_citizens_six_professionals_two_senders_and_one_who_is_refused() -> None:
    people = cast()
    counts = (len(people.citizens), len(people.professionals), len(people.organisations), len(people.refused))
    assert counts == (5, 6, 2, 1)
    assert people.refused[0].proofing_level == "P5"
    assert {one.role_code for one in people.professionals} >= {"R0260", "R0050", "R1290", "R0001"}


def test_between_them_the_citizens_have_every_sensitive_class() -> None:
    found = Counter[str]()
    for name in EXTRACTS:
        for entry in entries_of(name):
            found.update(labels_of(entry["resource"]).sensitive)
    assert set(found) == set(SENSITIVE_CLASSES)


def test_one_item_is_hidden_from_the_person_by_its_source() -> None:
    hidden = [
        entry["resource"]["resourceType"]
        for name in EXTRACTS
        for entry in entries_of(name)
        if is_hidden_from_patient(entry["resource"])
    ]
    assert hidden == ["DocumentReference"]


def test_numbers_keep_digits_a_float_would_lose() -> None:
    text = extract_bytes("george-hartley.gp.json", as_on=WRITTEN_ON).decode()
    assert '"value": 101.00' in text
    assert '"value": 2.40' in text


def test_moving_an_extract_in_time_moves_days_and_nothing_else() -> None:
    then, now = (
        json.loads(extract_bytes("george-hartley.gp.json", as_on=day))
        for day in (WRITTEN_ON, WRITTEN_ON + timedelta(days=400))
    )
    by_name = {
        entry["resource"].get("identifier", [{}])[0].get("value"): (entry["resource"], moved["resource"])
        for entry, moved in zip(then["entry"], now["entry"], strict=True)
    }
    patient, same_patient = by_name["9993001007"]
    assert patient == same_patient
    result, moved = by_name["george-hba1c-2026-10"]
    assert result["effectiveDateTime"] == "2026-10-06T09:15:00+01:00"
    assert moved["effectiveDateTime"] == "2027-11-10T09:15:00+01:00"
    assert {**result, "effectiveDateTime": ""} == {**moved, "effectiveDateTime": ""}
    partial, same_partial = by_name["george-hypertension"]
    assert partial["onsetDateTime"] == same_partial["onsetDateTime"] == "2006"


def test_an_extract_as_on_one_day_is_always_the_same_bytes() -> None:
    day = date(2027, 3, 1)
    assert extract_bytes(EXTRACTS[0], as_on=day) == extract_bytes(EXTRACTS[0], as_on=day)
