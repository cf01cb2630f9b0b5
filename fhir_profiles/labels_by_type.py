"""Which sharing categories a resource belongs to, by its type and, for lists, by its own code."""

from functools import cache

from fhir_profiles.shapes import Resource, codings_in, value_at
from fhir_profiles.terminology import rows_of

SUPPORTING_TYPES = frozenset(
    {
        "BodyStructure",
        "CareTeam",
        "Device",
        "Endpoint",
        "HealthcareService",
        "Location",
        "Medication",
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "RelatedPerson",
        "Specimen",
        "Substance",
    }
)
# Nobody but the owner is ever shown these, whatever a slice says.
OWNER_ONLY_TYPES = frozenset({"AuditEvent", "Communication", "Consent", "Task"})

_CATEGORY: dict[str, str] = {
    "AllergyIntolerance": "allergies",
    "Appointment": "consultations",
    "CarePlan": "care-plan",
    "ClinicalImpression": "consultations",
    "Condition": "problems",
    "DiagnosticReport": "results",
    "DocumentReference": "documents",
    "Encounter": "consultations",
    "FamilyMemberHistory": "problems",
    "Flag": "needs",
    "Goal": "care-plan",
    "ImagingStudy": "results",
    "Immunization": "immunisations",
    "ImmunizationRecommendation": "immunisations",
    "Media": "documents",
    "MedicationAdministration": "medicines",
    "MedicationDispense": "medicines",
    "MedicationRequest": "medicines",
    "MedicationStatement": "medicines",
    "NutritionOrder": "care-plan",
    "Observation": "results",
    "Procedure": "procedures",
    "QuestionnaireResponse": "consultations",
    "ServiceRequest": "consultations",
}
_SELF_RECORDED_TYPES = frozenset({"Observation", "QuestionnaireResponse", "DocumentReference"})


def categories_of(resource: Resource, *, self_recorded: bool = False) -> tuple[str, ...]:
    """The categories of an item; none for supporting and owner-only types and for any type not known here."""
    resource_type = str(resource.get("resourceType", ""))
    if self_recorded and resource_type in _SELF_RECORDED_TYPES:
        return ("self-recorded",)
    if resource_type == "List":
        return _categories_of_list(resource)
    category = _CATEGORY.get(resource_type)
    return (category,) if category else ()


def _categories_of_list(resource: Resource) -> tuple[str, ...]:
    """A list belongs to every area its codes name; one with no code we know is part of a consultation."""
    known = _list_codes()
    codings = codings_in(value_at(resource, "code", "coding"))
    found = dict.fromkeys(known[coding] for coding in codings if coding in known)
    return tuple(found) or ("consultations",)


@cache
def _list_codes() -> dict[tuple[str, str], str]:
    return {(row["system"], row["code"]): row["category"] for row in rows_of("list_codes.csv")}
