import json
from typing import Any

import pytest

from fhir_profiles.bundles import EntryResource, envelope_issues, kind_of, positions_by_reference
from fhir_profiles.issues import Issue
from fhir_profiles.parse import BundleScan, scan_bundle

REQUEST = {"method": "POST", "url": "Observation"}
PATIENT = {"resourceType": "Patient", "id": "a"}
COMPOSITION = {"resourceType": "Composition", "id": "c"}
DOCUMENT = {"identifier": {"system": "urn:x", "value": "1"}, "timestamp": "2026-11-21T09:00:00Z"}


def scanned(kind: Any, *entries: dict[str, Any], **members: Any) -> BundleScan:
    bundle = {"resourceType": "Bundle", "type": kind, **members}
    if entries:
        bundle["entry"] = list(entries)
    return scan_bundle(json.dumps(bundle).encode())


def judged(kind: Any, *entries: dict[str, Any], **members: Any) -> tuple[Issue, ...]:
    resources = [each.get("resource", {}) for each in entries]
    names = [
        EntryResource(each.get("resourceType", ""), each.get("meta", {}).get("versionId", ""))
        for each in resources
    ]
    return envelope_issues(scanned(kind, *entries, **members), names)


def test_the_kinds_we_take_are_sound() -> None:
    assert judged("collection", {"fullUrl": "urn:uuid:1", "resource": PATIENT}) == ()
    assert judged("collection") == ()
    assert judged("transaction", {"fullUrl": "urn:uuid:1", "resource": PATIENT, "request": REQUEST}) == ()
    assert judged("transaction", {"request": {"method": "DELETE", "url": "Patient/1"}}) == ()
    assert judged("document", {"fullUrl": "urn:uuid:1", "resource": COMPOSITION}, **DOCUMENT) == ()


VERSION_1 = {"fullUrl": "urn:uuid:1", "resource": {**PATIENT, "meta": {"versionId": "1"}}}
VERSION_2 = {"fullUrl": "urn:uuid:1", "resource": {**PATIENT, "meta": {"versionId": "2"}}}
BROKEN = [
    (judged("transaction", {"resource": PATIENT}), "bdl-3", "/entry/0"),
    (
        judged("collection", {"resource": PATIENT}, {"resource": PATIENT, "request": REQUEST}),
        "bdl-3",
        "/entry/1",
    ),
    (judged("collection", {"resource": PATIENT, "response": {"status": "200"}}), "bdl-4", "/entry/0"),
    (judged("collection", {"resource": PATIENT, "search": {"mode": "match"}}), "bdl-2", "/entry/0"),
    (judged("collection", {"fullUrl": "urn:uuid:1"}), "bdl-5", "/entry/0"),
    (judged("collection", VERSION_1, VERSION_1), "bdl-7", "/entry/1"),
    (
        judged("collection", {"fullUrl": "https://e.org/Patient/1/_history/2", "resource": PATIENT}),
        "bdl-8",
        "/entry/0",
    ),
    (judged("document", {"resource": PATIENT}, **DOCUMENT), "bdl-11", "/entry/0"),
    (judged("document", **DOCUMENT), "bdl-11", "/entry/0"),
    (judged("document", {"resource": COMPOSITION}, timestamp="2026-11-21T09:00:00Z"), "bdl-9", "/identifier"),
    (
        judged("document", {"resource": COMPOSITION}, identifier=DOCUMENT["identifier"]),
        "bdl-10",
        "/timestamp",
    ),
    (judged("searchset", {"resource": PATIENT}), "bundle-type", "/type"),
    (judged("batch", {"resource": PATIENT, "request": REQUEST}), "bundle-type", "/type"),
    (judged("pile", {"resource": PATIENT}), "required-code", "/type"),
    (judged(5), "code", "/type"),
    (judged("collection", {"resource": PATIENT}, colour="red"), "unknown-property", "/colour"),
    (judged("collection", {"resource": PATIENT, "fullUrl": "a b"}), "uri", "/entry/0/fullUrl"),
    (
        judged("transaction", {"resource": PATIENT, "request": {"method": "POKE", "url": "x"}}),
        "required-code",
        "/entry/0/request/method",
    ),
]


@pytest.mark.parametrize(("issues", "rule", "pointer"), BROKEN)
def test_a_broken_envelope_is_told_with_rule_and_place(
    issues: tuple[Issue, ...], rule: str, pointer: str
) -> None:
    assert (rule, pointer) in {(issue.rule, issue.pointer) for issue in issues}


def test_two_versions_of_one_thing_are_not_a_repeat() -> None:
    assert judged("collection", VERSION_1, VERSION_2) == ()


def test_only_a_bundle_has_a_kind() -> None:
    assert kind_of(scan_bundle(b'{"resourceType":"Patient","type":"collection"}')) is None
    assert kind_of(scanned("collection")) == "collection"
    assert kind_of(scanned(["collection"])) is None


def test_references_find_their_entry_by_url_and_by_name() -> None:
    scan = scanned(
        "collection",
        {"fullUrl": "urn:uuid:1", "resource": PATIENT},
        {"resource": COMPOSITION},
        {"fullUrl": "urn:uuid:1"},
    )
    names = [("Patient", "a"), ("Composition", "c"), ("", "")]
    assert positions_by_reference(scan.entries, names) == {
        "urn:uuid:1": 0,
        "Patient/a": 0,
        "Composition/c": 1,
    }
