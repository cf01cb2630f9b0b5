"""Every published R4 resource of our types: sound ones are taken, broken ones are known by name."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.parse import JsonRefused, decode, decode_checked, encode, scan_bundle
from fhir_profiles.search_values import values_of
from fhir_profiles.validate import validate
from tests.shared_data import shared_folder, shared_json

pytestmark = pytest.mark.shared_data

Resource = dict[str, Any]

# How many resources of our types each folder holds, so that a test which reads nothing is noticed.
FOLDERS = {
    "hl7-r4-examples": 665,
    "uk-core": 57,
    "synthea-r4": 2474,
    "fhir-validator-cases": 16,
    "ips": 96,
    "nhs-england-medicines": 95,
    "nhs-england-observations": 47,
    "nhs-england-pathology": 97,
    "nhs-england-programmes": 24,
    "gp-connect-r4-prescriptions": 14,
    "summary-care-record": 3,
    "smart-health-cards": 4,
    "ihe-balp": 5,
    "patient-correction": 13,
}
# Published, and broken all the same: (file, rule, JSON pointer). Each is a mistake of its publisher.
KNOWN_ERRORS = {
    # A practitioner where R4 allows only the organisation that dispenses.
    ("MedicationRequest-medrx0301.json", "reference-type", "/dispenseRequest/performer/reference"),
    # The URL of a profile where the id of an organisation belongs.
    (
        "examples-json/UKCore-Provenance-RARecordConsent-Example.json",
        "reference-form",
        "/agent/0/onBehalfOf/reference",
    ),
    # Text where an array of text belongs.
    ("GPReg-QuestionnaireResponse-Extracted-Example.json", "not-an-array", "/name/0/prefix"),
    # The validator's own broken cases.
    ("ai3.json", "unknown-property", "/unknownElement"),
    ("patient-id-bad-1.json", "id", "/id"),
    ("patient-id-bad-2.json", "id", "/id"),
    ("resource-invalid-id-2.json", "id", "/id"),
    ("resource-invalid-id-3.json", "id", "/contained/0/id"),
    ("resource-invalid-id-3.json", "reference-form", "/managingOrganization/reference"),
}
# Narrative with a tag that is never closed.
KNOWN_WARNINGS = {("HK_IPS_Sample1.json", "narrative-not-xhtml", "/text/div")}
NOT_READ = {"xml-bad-entities.json": "byte-order-mark"}
# The HL7 validator objects to these for reasons of terminology or style, which we do not judge.
JUDGED_BY_HL7_ALONE = {
    "dr-example-org.json": "an example URL",
    "maiden-name.json": "an extension of a draft",
}


def resources_in(resource: Resource) -> Iterator[Resource]:
    """The resource itself, or those inside a Bundle, if they are of our types."""
    if resource.get("resourceType") == "Bundle":
        for entry in resource.get("entry", []):
            yield from resources_in(entry.get("resource", {}))
    elif resource.get("resourceType") in CATALOGUE:
        yield resource


def published(folder: str) -> Iterator[tuple[str, Resource]]:
    for name, raw in shared_json(folder):
        if name in NOT_READ:
            with pytest.raises(JsonRefused, match=NOT_READ[name]):
                decode(raw)
            continue
        for resource in resources_in(decode(raw)):
            yield name, resource


@pytest.mark.parametrize("folder", FOLDERS)
def test_published_resources_are_taken_but_for_known_mistakes(folder: str) -> None:
    count = 0
    for name, resource in published(folder):
        count += 1
        for issue in validate(resource):
            known = KNOWN_ERRORS if issue.severity == "error" else KNOWN_WARNINGS
            assert (name, issue.rule, issue.pointer) in known
        assert all(values_of(resource).values())
    assert count == FOLDERS[folder]


def test_the_validators_verdicts_are_ours() -> None:
    table = (shared_folder("fhir-validator-cases") / "EXPECTED.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(io.StringIO(table)) if row["resourceType"] in CATALOGUE]
    expected = {row["file"]: int(row["hl7JavaValidatorErrors"]) for row in rows}
    for name, resource in published("fhir-validator-cases"):
        if name in expected and name not in JUDGED_BY_HL7_ALONE:
            has_errors = any(issue.severity == "error" for issue in validate(resource))
            assert has_errors is bool(expected[name]), name


def one_of_each_type() -> Iterator[Resource]:
    """The first published example of each type that is valid."""
    seen: set[str] = set()
    for _, resource in published("hl7-r4-examples"):
        if resource["resourceType"] not in seen and not validate(resource):
            seen.add(resource["resourceType"])
            yield resource
    assert seen == CATALOGUE.keys()


def broken_in_each_way(resource: Resource) -> Iterator[tuple[str, Resource]]:
    for name, value in resource.items():
        if name in {"resourceType", "id"}:
            continue
        yield f"{name} is null", {**resource, name: None}
        yield f"{name} is an empty array", {**resource, name: []}
        yield f"{name} is an empty object", {**resource, name: {}}
        yield f"{name} is empty text", {**resource, name: ""}
        yield f"{name} is given twice over", {**resource, name: [[value]]}
        yield f"{name} is misspelt", {**resource, name: value, f"{name}x": value}
        yield (
            f"{name} is JSON in text",
            {**resource, name: [json.dumps("x")] if isinstance(value, list) else 5.5},
        )


def test_published_resources_broken_in_each_way_are_refused() -> None:
    tried: Counter[str] = Counter()
    for resource in one_of_each_type():
        for how, broken in broken_in_each_way(resource):
            if how.endswith("in text") and is_still_valid_text(resource, how.partition(" ")[0]):
                continue
            tried[resource["resourceType"]] += 1
            assert any(issue.severity == "error" for issue in validate(broken)), (
                resource["resourceType"],
                how,
            )
    assert sum(tried.values()) > 700


def is_still_valid_text(resource: Resource, name: str) -> bool:
    """Whether the element is an array of text, for which JSON in text is as good as any."""
    value = resource[name]
    return isinstance(value, list) and isinstance(value[0], str)


@pytest.mark.parametrize("indent", [None, 1])
def test_published_bundles_fall_into_the_bytes_they_were_made_of(indent: int | None) -> None:
    for _, raw in shared_json("synthea-r4"):
        reference = json.loads(raw)
        body = raw if indent is None else json.dumps(reference, indent=indent).encode()
        scan = scan_bundle(body)
        assert len(scan.entries) == len(reference["entry"])
        for entry, sent in zip(scan.entries, reference["entry"], strict=True):
            assert json.loads(body[entry.start : entry.end]) == sent["resource"]
            assert {**entry.envelope, "resource": sent["resource"]} == sent


def test_published_digits_survive() -> None:
    for _, raw in shared_json("synthea-r4"):
        for entry in scan_bundle(raw).entries:
            sent = raw[entry.start : entry.end]
            served = encode(decode_checked(sent))
            assert json.loads(served, parse_float=str) == json.loads(sent, parse_float=str)
