from typing import Any

import pytest

from fhir_profiles.validate import validate
from tests.unit.fhir_profiles.minimal import as_read, minimal

ABSENT = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
ALLERGY_VERIFICATION = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"
QUANTITY = {"value": 6.3, "unit": "mmol/L", "system": "http://unitsofmeasure.org", "code": "mmol/L"}


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


# What is sent, the rule that catches it and where.
BROKEN = {
    "no status": ({"resourceType": "Observation", "code": {"text": "x"}}, "required", "/status"),
    "no required choice": (
        {
            "resourceType": "MedicationRequest",
            "status": "active",
            "intent": "order",
            "subject": {"display": "x"},
        },
        "required",
        "/medicationCodeableConcept",
    ),
    "a status outside its codes": (minimal("Observation", status="done"), "required-code", "/status"),
    "a code with a blank at its end": (minimal("Patient", language="en "), "code", "/language"),
    "a concept outside its required codes": (
        minimal("Condition", clinicalStatus=coded(CONDITION_CLINICAL, "done")),
        "required-code",
        "/clinicalStatus",
    ),
    "a concept with the right code of another system": (
        minimal("Condition", clinicalStatus=coded("https://e.org", "active")),
        "required-code",
        "/clinicalStatus",
    ),
    "a concept with text alone where a code is required": (
        minimal("Condition", clinicalStatus={"text": "active"}),
        "required-code",
        "/clinicalStatus",
    ),
    "a code in an array outside its codes": (
        minimal("AllergyIntolerance", category=["food", "dust"]),
        "required-code",
        "/category/1",
    ),
    "a reference to the wrong type": (
        minimal("Observation", subject={"reference": "Observation/1"}),
        "reference-type",
        "/subject/reference",
    ),
    "a contained reference to the wrong type": (
        minimal(
            "Observation",
            contained=[{"resourceType": "Medication", "id": "m"}],
            encounter={"reference": "#m"},
        ),
        "reference-type",
        "/encounter/reference",
    ),
    "a contained reference to nothing": (
        minimal("Observation", encounter={"reference": "#m"}),
        "ref-1",
        "/encounter/reference",
    ),
    "a reference in prose": (
        minimal("Observation", subject={"reference": "the patient above"}),
        "reference-form",
        "/subject/reference",
    ),
    "a profile's URL in place of an id": (
        minimal("Provenance", agent=[{"who": {"reference": "Organization/https://e.org/Profile"}}]),
        "reference-form",
        "/agent/0/who/reference",
    ),
    "a practitioner who dispenses": (
        minimal("MedicationRequest", dispenseRequest={"performer": {"reference": "Practitioner/f001"}}),
        "reference-type",
        "/dispenseRequest/performer/reference",
    ),
    "text for an array of text": (
        minimal("Patient", name=[{"prefix": "Mr"}]),
        "not-an-array",
        "/name/0/prefix",
    ),
    "a boolean as text": (minimal("Patient", active="true"), "boolean", "/active"),
    "a boolean as a number": (minimal("Patient", active=1), "boolean", "/active"),
    "digits as text for a number": (
        minimal("Patient", multipleBirthInteger="2"),
        "integer",
        "/multipleBirthInteger",
    ),
    "a fraction for a whole number": (
        minimal("Patient", multipleBirthInteger=2.5),
        "integer",
        "/multipleBirthInteger",
    ),
    "a whole number out of range": (
        minimal("Patient", multipleBirthInteger=2**31),
        "integer",
        "/multipleBirthInteger",
    ),
    "text for a decimal": (
        minimal("Observation", valueQuantity={"value": "6.3"}),
        "decimal",
        "/valueQuantity/value",
    ),
    "a number for text": (minimal("Patient", name=[{"family": 5}]), "string", "/name/0/family"),
    "JSON text for an object": (
        minimal("Observation", code='{"text":"x"}'),
        "not-an-object",
        "/code",
    ),
    "an object for an array": (minimal("Patient", name={"family": "Khan"}), "not-an-array", "/name"),
    "an array for one value": (minimal("Patient", gender=["female"]), "unexpected-array", "/gender"),
    "an array for an object": (minimal("Observation", code=[{"text": "x"}]), "not-an-object", "/code"),
    "an unknown property": (minimal("Patient", colour="red"), "unknown-property", "/colour"),
    "an unknown property within": (
        minimal("Patient", name=[{"fmaily": "Khan"}]),
        "unknown-property",
        "/name/0/fmaily",
    ),
    "comments of an older FHIR": (
        minimal("Patient", fhir_comments=["x"]),
        "unknown-property",
        "/fhir_comments",
    ),
    "a null property": (minimal("Patient", gender=None), "null", "/gender"),
    "a null object": (minimal("Observation", subject=None), "not-an-object", "/subject"),
    "a null in an array of objects": (minimal("Patient", name=[None]), "not-an-object", "/name/0"),
    "a null without its extension": (
        minimal("Patient", name=[{"given": ["A", None]}]),
        "null",
        "/name/0/given/1",
    ),
    "an empty text": (minimal("Patient", name=[{"family": ""}]), "empty", "/name/0/family"),
    "an empty array": (minimal("Patient", name=[]), "empty", "/name"),
    "an empty object": (minimal("Patient", name=[{}]), "empty", "/name/0"),
    "an empty extension of a primitive": (minimal("Patient", _gender={}), "empty", "/_gender"),
    "an extension of a primitive that is no object": (
        minimal("Patient", _gender="x"),
        "not-an-object",
        "/_gender",
    ),
    "an extension of an array's primitives that is no array": (
        minimal("Patient", name=[{"_given": {"extension": [ABSENT]}}]),
        "not-an-array",
        "/name/0/_given",
    ),
    "an underscore before an object": (minimal("Patient", _name=[{"id": "x"}]), "unknown-property", "/_name"),
    "an id with an underscore": (minimal("Patient", id="a_b"), "id", "/id"),
    "an id with a newline after it": (minimal("Patient", id="ab\n"), "id", "/id"),
    "an id of 65 characters": (minimal("Patient", id="a" * 65), "id", "/id"),
    "a URI with a blank": (
        minimal("Patient", identifier=[{"system": "https://e.org/a b", "value": "1"}]),
        "uri",
        "/identifier/0/system",
    ),
    "a URI of 2,049 characters": (
        minimal("Patient", identifier=[{"system": "urn:" + "a" * 2045}]),
        "uri-too-long",
        "/identifier/0/system",
    ),
    "no such day": (minimal("Patient", birthDate="2023-02-30"), "calendar", "/birthDate"),
    "no such leap day": (
        minimal("Observation", effectiveDateTime="2023-02-29T10:00:00Z"),
        "calendar",
        "/effectiveDateTime",
    ),
    "no such month": (minimal("Patient", birthDate="2023-13"), "date", "/birthDate"),
    "a date with blanks": (minimal("Patient", birthDate=" 2023-01-01"), "date", "/birthDate"),
    "a time without seconds": (
        minimal("Observation", effectiveDateTime="2023-01-01T10:00Z"),
        "date-time",
        "/effectiveDateTime",
    ),
    "a time without a zone": (
        minimal("Observation", effectiveDateTime="2023-01-01T10:00:00"),
        "date-time",
        "/effectiveDateTime",
    ),
    "a time at 24 o'clock": (
        minimal("Observation", effectiveDateTime="2023-01-01T24:00:00Z"),
        "date-time",
        "/effectiveDateTime",
    ),
    "an instant that is a date": (minimal("Observation", issued="2023-01-01"), "instant", "/issued"),
    "two of a choice": (
        minimal("Observation", valueString="x", valueBoolean=True),
        "one-choice",
        "/valueBoolean",
    ),
    "two of a choice, one as an extension": (
        minimal("Observation", valueString="x", _valueBoolean={"extension": [ABSENT]}),
        "one-choice",
        "/_valueBoolean",
    ),
    "an extension with value and children": (
        minimal("Patient", extension=[{"url": "a", "valueString": "b", "extension": [ABSENT]}]),
        "ext-1",
        "/extension/0",
    ),
    "an extension with nothing": (minimal("Patient", extension=[{"url": "a"}]), "ext-1", "/extension/0"),
    "an extension without url": (
        minimal("Patient", extension=[{"valueString": "b"}]),
        "required",
        "/extension/0/url",
    ),
    "an extension with two values": (
        minimal("Patient", extension=[{"url": "a", "valueString": "b", "valueCode": "c"}]),
        "one-choice",
        "/extension/0/valueCode",
    ),
    "a contained resource of unknown type": (
        minimal("Patient", contained=[{"resourceType": "Zork", "id": "z"}]),
        "contained-type",
        "/contained/0/resourceType",
    ),
    "a contained resource without type": (
        minimal("Patient", contained=[{"id": "z"}]),
        "contained-type",
        "/contained/0/resourceType",
    ),
    "a contained resource with a broken date": (
        minimal("Observation", contained=[{"resourceType": "Patient", "id": "p", "birthDate": "x"}]),
        "date",
        "/contained/0/birthDate",
    ),
    "a contained resource in a contained one": (
        minimal(
            "Observation",
            contained=[
                {"resourceType": "Patient", "id": "p", "contained": [{"resourceType": "Patient", "id": "q"}]}
            ],
        ),
        "dom-2",
        "/contained/0",
    ),
    "a contained resource without id": (
        minimal("Observation", contained=[{"resourceType": "Patient"}]),
        "contained-id",
        "/contained/0/id",
    ),
    "two contained resources with one id": (
        minimal("Observation", contained=[{"resourceType": "Patient", "id": "p"}] * 2),
        "contained-id-twice",
        "/contained/1/id",
    ),
    "hostile narrative in a contained type whose definition we do not hold": (
        minimal(
            "AllergyIntolerance",
            contained=[
                {
                    "resourceType": "Substance",
                    "id": "s",
                    "code": {"text": "Latex"},
                    "text": {"status": "generated", "div": "<div><script>x</script></div>"},
                }
            ],
        ),
        "narrative-active",
        "/contained/0/text/div",
    ),
    "a null deep in a contained type whose definition we do not hold": (
        minimal(
            "AllergyIntolerance",
            contained=[{"resourceType": "Substance", "id": "s", "code": {"coding": [{"code": None}]}}],
        ),
        "empty",
        "/contained/0/code/coding/0/code",
    ),
    "a contained resource that is text": (
        minimal("Patient", contained=["x"]),
        "not-an-object",
        "/contained/0",
    ),
    "base64 that is not": (
        minimal("DocumentReference", content=[{"attachment": {"data": "a.b"}}]),
        "base64",
        "/content/0/attachment/data",
    ),
    "an attachment that is a script": (
        minimal("DocumentReference", content=[{"attachment": {"url": "javascript:alert(1)"}}]),
        "attachment-scheme",
        "/content/0/attachment/url",
    ),
    "an attachment in a file": (
        minimal("DocumentReference", content=[{"attachment": {"url": "FILE:///etc/passwd"}}]),
        "attachment-scheme",
        "/content/0/attachment/url",
    ),
    "an allergy without clinical status": (
        {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/p1"}},
        "ait-1",
        "/clinicalStatus",
    ),
    "an allergy in error with clinical status": (
        minimal("AllergyIntolerance", verificationStatus=coded(ALLERGY_VERIFICATION, "entered-in-error")),
        "ait-2",
        "/clinicalStatus",
    ),
    "an active condition that has ended": (
        minimal("Condition", clinicalStatus=coded(CONDITION_CLINICAL, "active"), abatementDateTime="2020"),
        "con-4",
        "/clinicalStatus",
    ),
    "a condition in error with clinical status": (
        minimal(
            "Condition",
            clinicalStatus=coded(CONDITION_CLINICAL, "active"),
            verificationStatus=coded(CONDITION_VERIFICATION, "entered-in-error"),
        ),
        "con-5",
        "/clinicalStatus",
    ),
    "a value and a reason for none": (
        minimal("Observation", valueString="x", dataAbsentReason={"text": "refused"}),
        "obs-6",
        "/dataAbsentReason",
    ),
    "the same in a component": (
        minimal(
            "Observation",
            component=[{"code": {"text": "x"}, "valueString": "x", "dataAbsentReason": {"text": "refused"}}],
        ),
        "obs-6",
        "/component/0/dataAbsentReason",
    ),
    "a list of entries said to be empty": (
        minimal("List", emptyReason={"text": "none"}, entry=[{"item": {"display": "x"}}]),
        "lst-1",
        "/emptyReason",
    ),
    "a deleted entry in a snapshot": (
        minimal("List", entry=[{"item": {"display": "x"}, "deleted": True}]),
        "lst-2",
        "/entry/0/deleted",
    ),
    "no resource type": ({"id": "a"}, "resource-type", "/resourceType"),
    "a resource type that is a number": ({"resourceType": 5}, "resource-type", "/resourceType"),
    "a resource type nobody knows": ({"resourceType": "Zork"}, "resource-type", "/resourceType"),
    "a data type for a resource": ({"resourceType": "HumanName"}, "resource-type", "/resourceType"),
    "another resource type within": (
        minimal("Patient", name=[{"family": "A", "resourceType": "Patient"}]),
        "unknown-property",
        "/name/0/resourceType",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_with_rule_and_place(name: str) -> None:
    resource, rule, pointer = BROKEN[name]
    issues = validate(as_read(resource))
    assert (rule, pointer) in {(issue.rule, issue.pointer) for issue in issues}
    assert all(issue.severity == "error" and issue.detail.endswith(".") for issue in issues)
