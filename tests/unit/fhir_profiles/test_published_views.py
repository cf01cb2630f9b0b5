"""Labels, cutting and stamping on the published files."""

import json
from collections.abc import Iterator

import pytest

from fhir_profiles import parse, references
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.currency import title_of
from fhir_profiles.labels import labels_of
from fhir_profiles.served import content_hash, head_of, stamp, without_contact
from fhir_profiles.validate import validate
from tests.shared_data import shared_json

pytestmark = pytest.mark.shared_data

WHEN = "2026-01-01T00:00:00.000Z"


def published(*folders: str) -> Iterator[tuple[str, dict]]:
    """The resources of the types we serve, entries of Bundles too, each with its file."""
    for folder in folders:
        for name, raw in shared_json(folder):
            try:
                resource = parse.decode(raw)
            except parse.JsonRefused:
                continue
            entries = (
                resource.get("entry", [])
                if resource.get("resourceType") == "Bundle"
                else [{"resource": resource}]
            )
            for entry in entries:
                found = entry.get("resource", {})
                if found.get("resourceType") in CATALOGUE:
                    yield name, found


def faults(resource: dict) -> list[tuple[str, str]]:
    return [
        (issue.rule, issue.pointer) for issue in validate(resource) if issue.severity in {"error", "fatal"}
    ]


def test_whatever_is_cut_from_a_sound_resource_leaves_a_sound_one() -> None:
    count = 0
    for name, resource in published("hl7-r4-examples", "uk-core/examples-json", "nhs-england-programmes"):
        if faults(resource):
            continue
        stamped = stamp(resource, "a", 1, WHEN)
        assert faults(stamped) == [], name
        assert content_hash(stamped) == content_hash(resource), name
        head = head_of(stamped, version=1, last_updated=WHEN, source=("x", 0, 0))
        standing: dict[str, bool] = {}
        for reference in head.references:
            if reference.is_needed:
                is_kept = standing.get(reference.path, False) or reference.resource_type == "Patient"
                standing[reference.path] = is_kept
        cut = references.cut(stamped, lambda kind, _: kind == "Patient")
        assert cut.is_valid == all(standing.values()), name
        if cut.is_valid:
            assert faults(without_contact(cut.resource)) == [], name
        count += 1
    assert count > 200


def test_every_item_that_speaks_of_hiv_is_labelled_so() -> None:
    said = 0
    for name, resource in published("synthea-r4"):
        text = json.dumps([resource.get("code"), resource.get("valueCodeableConcept")], default=str).lower()
        if "hiv" in text or "antiretroviral" in text:
            said += 1
            assert "hiv" in labels_of(resource).sensitive, name
    assert said > 50


def test_ordinary_records_hold_few_sensitive_items_and_no_false_alarm() -> None:
    ordinary = [resource for name, resource in published("synthea-r4") if not name.startswith("hiv-")]
    assert len(ordinary) > 1000
    marked = {title_of(resource) for resource in ordinary if labels_of(resource).sensitive}
    assert marked == {
        "0.65 ML medroxyprogesterone acetate 160 MG/ML Prefilled Syringe",
        "Blighted ovum",
        "Camila 28 Day Pack",
        "Chlamydia antigen test",
        "Depression screening",
        "Errin 28 Day Pack",
        "Etonogestrel 68 MG Drug Implant",
        "Gonorrhea infection test",
        "Human immunodeficiency virus antigen test",
        "Insertion of subcutaneous contraceptive",
        "Miscarriage in first trimester",
        "Prenatal visit",
        "Removal of subcutaneous contraceptive",
        "Screening for chromosomal aneuploidy in prenatal amniotic fluid",
        "Syphilis infection test",
    }
