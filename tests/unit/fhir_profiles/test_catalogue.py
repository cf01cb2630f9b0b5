import json
import re
from pathlib import Path

import pytest

from fhir_profiles.catalogue import CATALOGUE, SEARCH_PARAMETER, field_at
from fhir_profiles.definitions.generate import as_text, generate
from fhir_profiles.schema import type_spec
from tests.shared_data import shared_folder

EXPECTED = (
    "Patient Practitioner PractitionerRole Organization Location AllergyIntolerance Condition Observation "
    "MedicationRequest MedicationStatement Medication Immunization Encounter Procedure DiagnosticReport "
    "DocumentReference List Consent Provenance Task Communication"
)


def test_the_catalogue_holds_the_twenty_one_types() -> None:
    assert CATALOGUE.keys() == set(EXPECTED.split())


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_path_of_an_entry_is_an_element_of_its_type(name: str) -> None:
    entry = CATALOGUE[name]
    for path in (*entry.dated_paths, *(each for param in entry.search.values() for each in param.paths)):
        field_at(name, path)
    if entry.subject_path:
        assert field_at(name, entry.subject_path).type_name == "Reference"


@pytest.mark.parametrize("name", CATALOGUE)
def test_only_elements_that_need_their_reference_are_said_to(name: str) -> None:
    for path in CATALOGUE[name].mandatory_references:
        assert field_at(name, path).type_name == "Reference"


def test_clinical_items_have_a_person_and_a_date() -> None:
    for entry in CATALOGUE.values():
        assert (entry.kind == "clinical") <= bool(
            entry.subject_path and entry.dated_paths and "patient" in entry.search
        )


def test_the_references_a_resource_cannot_do_without_are_known() -> None:
    assert CATALOGUE["AllergyIntolerance"].mandatory_references == {"patient"}
    assert CATALOGUE["Observation"].mandatory_references == frozenset()
    assert CATALOGUE["List"].mandatory_references == {"entry.item"}
    assert CATALOGUE["MedicationRequest"].mandatory_references == {"medicationReference", "subject"}
    assert CATALOGUE["Provenance"].mandatory_references == {"target", "agent.who", "entity.what"}


@pytest.mark.shared_data
def test_the_kept_definitions_are_those_of_the_official_package() -> None:
    kept = Path(__file__).parents[3] / "fhir_profiles" / "definitions" / "r4.json"
    assert kept.read_text(encoding="utf-8") == as_text(generate(shared_folder("hl7-r4-definitions")))


def paths_of(expression: str, resource_type: str) -> set[str]:
    """The JSON paths an official FHIRPath expression stands for, of one type."""
    paths: set[str] = set()
    for part in expression.split("|"):
        plain = re.sub(r"\.where\(.*\)", "", part.strip())
        cast = re.match(r"\(?(.*?)(?: as |\.as\()(\w+)\)?$", plain)
        plain, as_type = (cast[1], cast[2]) if cast else (plain, "")
        if not plain.startswith(f"{resource_type}."):
            continue
        path = plain.removeprefix(f"{resource_type}.") + as_type[:1].upper() + as_type[1:]
        paths |= set(chosen(resource_type, path))
    return paths


def chosen(resource_type: str, path: str) -> list[str]:
    """A path whose last element is a choice, once for each of its types."""
    *before, last = path.split(".")
    spec = type_spec(resource_type)
    for step in before:
        assert spec is not None
        spec = type_spec(spec.fields[step].type_name)
    assert spec is not None
    if last in spec.fields:
        return [path]
    return [".".join([*before, name]) for name, field in spec.fields.items() if field.group == last]


@pytest.mark.shared_data
def test_search_parameters_mean_what_r4_says() -> None:
    official = {}
    for path in (shared_folder("hl7-r4-definitions") / "searchparameters").glob("*.json"):
        definition = json.loads(path.read_bytes())
        official[definition["url"]] = definition
    for entry in CATALOGUE.values():
        for name, param in entry.search.items():
            definition = official[param.definition]
            assert param.definition.startswith(SEARCH_PARAMETER)
            assert entry.name in definition["base"]
            assert (definition["code"], definition["type"]) == (name, param.kind)
            stated = paths_of(definition["expression"], entry.name)
            if param.kind == "date":
                stated = {each for each in stated if not each.endswith(("Age", "Range", "String"))}
            assert set(param.paths) == stated, (entry.name, name)
