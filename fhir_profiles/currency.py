"""What a resource says of itself: whether it counts as current, its clinical date, and a short title."""

from typing import Any, cast

from fhir_profiles.labels_by_type import categories_of
from fhir_profiles.shapes import Resource, codes_of, elements_in, objects_in, value_at

TITLE_LENGTH_MAX = 80

_ACTIVE_PROBLEM = frozenset({"active", "recurrence", "relapse"})
_NOT_A_PROBLEM = frozenset({"refuted", "entered-in-error"})
# A medicine whose state the source does not know counts as current: leaving it out could do harm.
_CURRENT_MEDICINE = frozenset({"active", "on-hold", "unknown", "intended"})
_PAST_NEED = frozenset({"inactive", "entered-in-error"})

_DATED: dict[str, tuple[str, ...]] = {
    "AllergyIntolerance": ("onsetDateTime", "onsetPeriod", "recordedDate", "lastOccurrence"),
    "Appointment": ("start", "created"),
    "CarePlan": ("period", "created"),
    "Condition": ("onsetDateTime", "onsetPeriod", "recordedDate"),
    "DiagnosticReport": ("effectiveDateTime", "effectivePeriod", "issued"),
    "DocumentReference": ("date", "context.period"),
    "Encounter": ("period",),
    "FamilyMemberHistory": ("date",),
    "Flag": ("period",),
    "Goal": ("startDate", "statusDate"),
    "ImagingStudy": ("started",),
    "Immunization": ("occurrenceDateTime", "recorded"),
    "List": ("date",),
    "Media": ("createdDateTime", "createdPeriod", "issued"),
    "MedicationAdministration": ("effectiveDateTime", "effectivePeriod"),
    "MedicationDispense": ("whenHandedOver", "whenPrepared"),
    "MedicationRequest": ("authoredOn",),
    "MedicationStatement": ("effectiveDateTime", "effectivePeriod", "dateAsserted"),
    "Observation": ("effectiveDateTime", "effectivePeriod", "effectiveInstant", "effectiveTiming", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod"),
    "QuestionnaireResponse": ("authored",),
    "ServiceRequest": ("authoredOn", "occurrenceDateTime", "occurrencePeriod"),
    "Consent": ("dateTime",),
    "Provenance": ("recorded",),
    "Task": ("authoredOn",),
    "Communication": ("sent", "received"),
}
_TITLED: tuple[str, ...] = (
    "code",
    "medicationCodeableConcept",
    "medicationReference",
    "vaccineCode",
    "title",
    "description",
    "type",
    "name",
    "class",
)


def is_current(resource: Resource) -> bool:
    """True for active problems, current medicines, needs not ended, and every allergy."""
    match resource.get("resourceType"):
        case "Condition":
            return _is_active_problem(resource)
        case "MedicationRequest" | "MedicationStatement":
            return resource.get("status") in _CURRENT_MEDICINE
        case "Flag":
            return resource.get("status") not in _PAST_NEED
        case _:
            return "allergies" in categories_of(resource)


def dated(resource: Resource) -> str:
    """The clinical date as sent (the start of a period), or "" when there is none."""
    for path in _DATED.get(str(resource.get("resourceType")), ()):
        found = _date_in(value_at(resource, *path.split(".")))
        if found:
            return found
    return ""


def title_of(resource: Resource) -> str:
    """A short plain name in the source's own words, or the type when it has none.

    Of references only the medication's display is used: an item whose medication is cut is not shown at all.
    """
    for name in _TITLED:
        words = " ".join(_words_of(resource.get(name)).split())
        if words:
            return words if len(words) <= TITLE_LENGTH_MAX else words[: TITLE_LENGTH_MAX - 1].rstrip() + "…"
    return str(resource.get("resourceType", ""))


def _is_active_problem(condition: Resource) -> bool:
    if codes_of(condition.get("verificationStatus")) & _NOT_A_PROBLEM:
        return False
    status = codes_of(condition.get("clinicalStatus"))
    if status:
        return bool(status & _ACTIVE_PROBLEM)
    # A problem on the problem list without a status is shown rather than lost, unless it has ended.
    categories = {code for concept in objects_in(condition.get("category")) for code in codes_of(concept)}
    has_ended = any(name.startswith("abatement") for name in condition)
    return "problem-list-item" in categories and not has_ended


def _date_in(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    holder = cast("Resource", value)
    for name in ("start", "end"):
        if isinstance(holder.get(name), str):
            return str(holder[name])
    events = [event for event in elements_in(holder.get("event")) if isinstance(event, str)]
    return events[0] if events else ""


def _words_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return next((words for words in map(_words_of, cast("list[Any]", value)) if words), "")
    if not isinstance(value, dict):
        return ""
    concept = cast("Resource", value)
    for candidate in (concept.get("text"), concept.get("display")):
        if isinstance(candidate, str) and candidate.strip():
            return candidate
    name = [*elements_in(concept.get("given")), concept.get("family")]
    return " ".join(part for part in name if isinstance(part, str)) or _words_of(concept.get("coding"))
