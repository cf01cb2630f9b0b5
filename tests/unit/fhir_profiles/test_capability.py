from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from fhir_profiles.capability import capability_statement
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.validate import validate

STATEMENT = capability_statement("https://held.example", "0.1.0", published="2026-11-21")


def test_the_statement_is_valid() -> None:
    assert validate(STATEMENT) == ()
    CapabilityStatement.model_validate(STATEMENT)


def test_every_type_and_parameter_is_stated() -> None:
    stated = {each["type"]: each for each in STATEMENT["rest"][0]["resource"]}
    assert stated.keys() == CATALOGUE.keys()
    for name, entry in CATALOGUE.items():
        parameters = {each["name"] for each in stated[name]["searchParam"]}
        assert parameters == {"_id", "_lastUpdated", *entry.search}


def test_nothing_is_stated_that_writes_but_the_task_of_a_correction() -> None:
    reading = {"read", "vread", "history-instance", "search-type"}
    for resource in STATEMENT["rest"][0]["resource"]:
        codes = {each["code"] for each in resource["interaction"]}
        is_task = resource["type"] == "Task"
        assert codes == (reading | {"update"} if is_task else reading)
        assert resource["versioning"] == ("versioned-update" if is_task else "versioned")


def test_operations_stand_with_their_type() -> None:
    stated = {each["type"]: each.get("operation", []) for each in STATEMENT["rest"][0]["resource"]}
    assert [each["name"] for each in stated["Patient"]] == ["everything"]
    assert not any(operations for name, operations in stated.items() if name != "Patient")
