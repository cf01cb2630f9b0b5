import json

import pytest

from fhir_profiles import parse
from fhir_profiles.closure import CONTACT, REDUCED, UNRESOLVED
from fhir_profiles.heads import decode_head, encode_head
from fhir_profiles.served import (
    content_hash,
    head_for_reader,
    head_of,
    render_for_reader,
    stamp,
    with_extension,
    with_tag,
    without_contact,
)

NHS_NUMBER = {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018"}
WHEN = "2026-11-21T09:00:00.000Z"
READING = (
    b'{"resourceType":"Observation","id":"theirs","meta":{"versionId":"9","profile":["http://p"]},'
    b'"status":"final","code":{"text":"Weight"},"subject":{"reference":"Patient/p"},'
    b'"encounter":{"reference":"Encounter/e"},"effectiveDateTime":"2026-11-20",'
    b'"valueQuantity":{"value":70.00,"unit":"kg"}}'
)
PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "meta": {"versionId": "4", "lastUpdated": WHEN, "profile": ["http://p"], "tag": [{"code": "MARK"}]},
    "text": {"status": "generated", "div": "<div>MARK</div>"},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "MARK"}],
    "extension": [{"url": "http://birthPlace", "valueAddress": {"city": "MARK"}}],
    "identifier": [
        NHS_NUMBER | {"assigner": {"display": "MARK"}},
        {"system": "http://hospital", "value": "MARK"},
    ],
    "active": True,
    "name": [
        {
            "use": "official",
            "family": "Green",
            "given": ["Ada"],
            "extension": [{"url": "u", "valueString": "MARK"}],
        },
        {"use": "old", "family": "MARK"},
        {"family": "MARK", "period": {"end": "2001"}},
    ],
    "telecom": [{"system": "phone", "value": "PHONE"}],
    "gender": "female",
    "birthDate": "1970-01-02",
    "address": [{"line": ["STREET"]}],
    "maritalStatus": {"text": "MARK"},
    "contact": [{"name": {"text": "KIN"}}],
    "generalPractitioner": [{"reference": "Practitioner/gp"}],
    "managingOrganization": {"reference": "Organization/x"},
}


def test_a_stamped_resource_has_our_id_and_meta_and_every_digit_as_sent() -> None:
    stamped = stamp(parse.decode(READING), "ours", 3, WHEN)
    assert parse.encode(stamped) == (
        b'{"resourceType":"Observation","id":"ours",'
        b'"meta":{"versionId":"3","lastUpdated":"2026-11-21T09:00:00.000Z","profile":["http://p"]},'
        b'"status":"final","code":{"text":"Weight"},"subject":{"reference":"Patient/p"},'
        b'"encounter":{"reference":"Encounter/e"},"effectiveDateTime":"2026-11-20",'
        b'"valueQuantity":{"value":70.00,"unit":"kg"}}'
    )


def test_stamping_leaves_what_was_given_alone() -> None:
    resource = parse.decode(READING)
    stamp(resource, "ours", 3, WHEN)
    assert parse.encode(resource) == READING


def test_a_source_cannot_forge_our_extensions() -> None:
    ours = {"url": "urn:held:extension:questioned", "valueString": "It may be wrong."}
    theirs = {"url": "https://source.example/x", "valueString": "y"}
    resource = parse.decode(READING) | {"extension": [ours, theirs]}
    stamped = stamp(resource, "ours", 3, WHEN)
    assert stamped["extension"] == [theirs]
    assert content_hash(resource) == content_hash(stamped)
    assert "extension" not in stamp(parse.decode(READING) | {"extension": [ours]}, "ours", 3, WHEN)
    loud = parse.decode(READING) | {"modifierExtension": [ours | {"url": "URN:Held:extension:questioned"}]}
    assert "modifierExtension" not in stamp(loud, "ours", 3, WHEN)
    in_meta = parse.decode(READING) | {"meta": {"extension": [ours]}}
    assert "extension" not in stamp(in_meta, "ours", 3, WHEN)["meta"]


def test_a_source_cannot_forge_our_tags() -> None:
    resource = {
        "resourceType": "Observation",
        "meta": {
            "tag": [{"system": "urn:held:tag", "code": "questioned"}, {"system": "http://t", "code": "x"}]
        },
    }
    assert stamp(resource, "a", 1, WHEN)["meta"]["tag"] == [{"system": "http://t", "code": "x"}]


def test_the_content_hash_is_of_what_was_said_not_of_when() -> None:
    resource = parse.decode(READING)
    assert content_hash(resource) == content_hash(stamp(resource, "ours", 3, WHEN))
    assert content_hash(resource) == content_hash(stamp(stamp(resource, "ours", 3, WHEN), "b", 4, "later"))
    reordered = dict(reversed(resource.items()))
    assert content_hash(resource) == content_hash(reordered)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"70.00", b"70.0"), (b"kg", b"g"), (b"Encounter/e", b"Encounter/f"), (b"http://p", b"http://q")],
)
def test_the_content_hash_tells_every_other_difference(old: bytes, new: bytes) -> None:
    assert content_hash(parse.decode(READING)) != content_hash(parse.decode(READING.replace(old, new)))


def test_the_head_says_all_that_is_decided_on() -> None:
    stamped = stamp(parse.decode(READING), "ours", 3, WHEN)
    head = head_of(stamped, version=3, last_updated=WHEN, source=("x", 1, 2), organisation="Y12345")
    assert (head.resource_type, head.logical_id, head.version) == ("Observation", "ours", 3)
    assert head.labels.categories == ("results",)
    assert (head.dated, head.title) == ("2026-11-20", "Weight")
    assert {(r.resource_type, r.logical_id) for r in head.references} == {
        ("Patient", "p"),
        ("Encounter", "e"),
    }
    assert head.search["subject"] == ("Patient/p",)
    assert decode_head(encode_head(head)) == head


def test_without_a_source_it_is_the_persons_own() -> None:
    stamped = stamp(parse.decode(READING), "ours", 3, WHEN)
    assert head_of(stamped, version=3, last_updated=WHEN).labels.categories == ("self-recorded",)


def test_what_is_not_cut_keeps_its_bytes() -> None:
    assert render_for_reader(READING, frozenset()) is READING


def test_what_is_cut_loses_reference_version_and_date_and_keeps_its_digits() -> None:
    body = parse.encode(stamp(parse.decode(READING), "ours", 3, WHEN))
    assert render_for_reader(body, {("Encounter", "e")}) == (
        b'{"resourceType":"Observation","id":"ours","meta":{"profile":["http://p"]},'
        b'"status":"final","code":{"text":"Weight"},"subject":{"reference":"Patient/p"},'
        b'"effectiveDateTime":"2026-11-20","valueQuantity":{"value":70.00,"unit":"kg"}}'
    )


def test_a_meta_that_says_nothing_else_goes() -> None:
    body = b'{"resourceType":"Observation","id":"a","meta":{"versionId":"1"},"focus":[{"reference":"urn:x"}]}'
    assert render_for_reader(body, {UNRESOLVED}) == b'{"resourceType":"Observation","id":"a"}'


def test_the_reduced_patient_is_name_birth_date_gender_and_nhs_number() -> None:
    shown = json.loads(render_for_reader(parse.encode(PATIENT), {REDUCED, CONTACT}))
    assert shown == {
        "resourceType": "Patient",
        "id": "p",
        "meta": {"profile": ["http://p"]},
        "identifier": [NHS_NUMBER],
        "name": [{"use": "official", "family": "Green", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1970-01-02",
    }


def test_with_contact_details_shared_the_patient_has_those_too() -> None:
    shown = json.loads(render_for_reader(parse.encode(PATIENT), {REDUCED}))
    assert {"telecom", "address", "contact"} <= shown.keys()
    assert "MARK" not in json.dumps(shown)


def test_a_patient_with_former_names_alone_still_has_one() -> None:
    only = {"resourceType": "Patient", "id": "p", "name": [{"use": "old", "family": "Green"}]}
    assert json.loads(render_for_reader(parse.encode(only), {REDUCED}))["name"] == only["name"]


def test_contact_details_appear_nowhere_without_their_category() -> None:
    resource = {
        "resourceType": "DocumentReference",
        "id": "d",
        "text": {"status": "generated", "div": "<div>MARK</div>"},
        "contained": [
            {"resourceType": "Organization", "id": "o", "name": "Clinic", "telecom": [{"value": "MARK"}]},
            {
                "resourceType": "RelatedPerson",
                "id": "r",
                "address": [{"text": "MARK"}],
                "text": {"div": "MARK"},
            },
            {
                "resourceType": "Location",
                "id": "l",
                "address": {"text": "MARK"},
                "position": {"latitude": "MARK"},
            },
        ],
        "custodian": {"reference": "#o", "extension": [{"url": "u", "valueContactPoint": {"value": "MARK"}}]},
        "extension": [
            {"url": "a", "valueAddress": {"text": "MARK"}},
            {"url": "b", "extension": [{"url": "c", "valueContactDetail": {"name": "MARK"}}]},
            {"url": "d", "valueString": "stays"},
        ],
        "author": [{"reference": "#r"}, {"reference": "#l"}],
    }
    shown = json.loads(render_for_reader(parse.encode(resource), {CONTACT}))
    assert "MARK" not in json.dumps(shown)
    assert shown["extension"] == [{"url": "d", "valueString": "stays"}]
    assert shown["custodian"] == {"reference": "#o"}
    assert len(shown["contained"]) == 3


def test_a_uri_called_address_is_not_an_address() -> None:
    endpoint = {"resourceType": "Endpoint", "address": "https://example.org"}
    assert without_contact(endpoint) == endpoint


def test_a_readers_search_finds_nothing_by_what_is_cut() -> None:
    stamped = stamp(parse.decode(READING), "ours", 3, WHEN)
    head = head_of(stamped, version=3, last_updated=WHEN, source=("x", 1, 2))
    seen = head_for_reader(head, {("Encounter", "e")})
    assert "encounter" not in seen.search
    assert seen.search["subject"] == ("Patient/p",)
    assert seen.last_updated == ""
    assert {r.logical_id for r in seen.references} == {"p"}
    assert head_for_reader(head, frozenset()) is head


def test_a_readers_search_finds_the_patient_only_by_what_is_shown() -> None:
    head = head_of(stamp(PATIENT, "p", 4, WHEN), version=4, last_updated=WHEN)
    seen = head_for_reader(head, {REDUCED, CONTACT})
    assert "MARK" not in str(seen.search)
    assert seen.search["identifier"] == (f"{NHS_NUMBER['system']}|{NHS_NUMBER['value']}",)
    assert "birthdate" in seen.search


def test_tags_and_extensions_are_added_to_those_there() -> None:
    resource = {"resourceType": "Observation", "meta": {"tag": [{"code": "x"}]}, "status": "final"}
    tagged = with_tag(resource, "questioned", "Questioned by the person")
    assert [tag["code"] for tag in tagged["meta"]["tag"]] == ["x", "questioned"]
    extended = with_extension(resource, "said", {"valueString": "no"})
    assert extended["extension"] == [{"url": "urn:held:extension:said", "valueString": "no"}]
    assert resource == {"resourceType": "Observation", "meta": {"tag": [{"code": "x"}]}, "status": "final"}
