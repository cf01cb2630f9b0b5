"""How the phone says what it holds: one plain line for an item, a time, a count.

Reads the resources as they are and never fails on one: what it does not know, it leaves out.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any

Resource = Mapping[str, Any]

TYPE_NAMES: Mapping[str, str] = {
    "AllergyIntolerance": "allergy",
    "Appointment": "appointment",
    "CarePlan": "care plan",
    "Communication": "message",
    "Condition": "problem",
    "Consent": "share",
    "DiagnosticReport": "report",
    "DocumentReference": "document",
    "Encounter": "consultation",
    "Flag": "need",
    "Goal": "goal",
    "Immunization": "immunisation",
    "List": "list",
    "Medication": "medicine",
    "MedicationRequest": "prescription",
    "MedicationStatement": "medicine taken",
    "Observation": "result",
    "Patient": "you",
    "Procedure": "procedure",
    "QuestionnaireResponse": "questionnaire",
    "ServiceRequest": "referral",
    "Task": "question",
}

# What a person may type to name several types at once, beside the types themselves.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "allergies": ("AllergyIntolerance",),
    "consultations": ("Encounter", "Appointment"),
    "documents": ("DocumentReference", "Composition"),
    "immunisations": ("Immunization",),
    "medicines": ("MedicationRequest", "MedicationStatement", "MedicationDispense"),
    "needs": ("Flag",),
    "problems": ("Condition",),
    "procedures": ("Procedure",),
    "care-plan": ("CarePlan", "Goal"),
    "questions": ("Task", "Communication"),
    "results": ("Observation", "DiagnosticReport"),
    "shares": ("Consent",),
}
SELF_RECORDED = "self-recorded"

_DATES = (
    "effectiveDateTime",
    "effectiveInstant",
    "onsetDateTime",
    "recordedDate",
    "occurrenceDateTime",
    "performedDateTime",
    "authoredOn",
    "dateAsserted",
    "date",
    "sent",
    "issued",
    "created",
    "start",
    "dateTime",
)
_PERIODS = ("effectivePeriod", "performedPeriod", "period", "executionPeriod", "onsetPeriod")
_NAMES = (
    "code",
    "vaccineCode",
    "medicationCodeableConcept",
    "title",
    "type",
    "description",
    "serviceType",
    "topic",
    "name",
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TEXT_MAX = 200


def one_line(text: object, *, longest: int = _TEXT_MAX) -> str:
    """Text from a record on one line of a terminal, without anything that would move the cursor."""
    flat = " ".join(_CONTROL.sub(" ", str(text)).split())
    return flat if len(flat) <= longest else flat[: longest - 3] + "..."


def title_of(resource: Resource) -> str:
    """What an item is called, or an empty text."""
    if resource.get("resourceType") == "Task":
        return one_line(f"Question to {_said(resource.get('owner')) or 'the source'}")
    for name in _NAMES:
        found = _said(resource.get(name))
        if found:
            return one_line(found)
    medicine = resource.get("medicationReference")
    return one_line(_said(medicine))


def date_of(resource: Resource) -> str:
    """The day an item is about, as written there, or an empty text."""
    for name in _DATES:
        if isinstance(resource.get(name), str):
            return one_line(resource[name])[:10]
    for name in _PERIODS:
        period = resource.get(name)
        if isinstance(period, Mapping) and isinstance(period.get("start"), str):  # pyright: ignore[reportUnknownMemberType]
            return one_line(period["start"])[:10]  # pyright: ignore[reportUnknownArgumentType]
    return ""


def value_of(resource: Resource) -> str:
    """What was measured or written, or how it stands, or an empty text."""
    if resource.get("resourceType") == "Task":
        return one_line(_said(resource.get("businessStatus"))).replace("-", " ")
    own = _value_in(resource) or _message_in(resource)
    if own:
        return own
    parts = resource.get("component")
    if not isinstance(parts, list):
        return ""
    found = [_value_in(part) for part in parts if isinstance(part, Mapping)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    units = {value.partition(" ")[2] for value in found}
    if len(found) == 2 and len(units) == 1:
        numbers = "/".join(value.partition(" ")[0] for value in found)
        return f"{numbers} {units.pop()}".strip()
    return ", ".join(value for value in found if value)


def line_of(resource: Resource, *, medicine: Resource | None = None) -> str:
    """An item on one line: its day, its name, its value, and where to find it.

    `medicine` is the item that a prescription refers to, whose name it goes by.
    """
    resource_type = str(resource.get("resourceType", ""))
    own = title_of(resource) or title_of(medicine or {})
    name = own or TYPE_NAMES.get(resource_type, resource_type)
    value = value_of(resource)
    said = f"{name}: {value}" if value else name
    return f"{date_of(resource) or '-':10}  {said}  [{resource_type}/{resource.get('id', '')}]"


def types_named(word: str) -> tuple[str, ...] | None:
    """The types a person means by a word; None when it names none."""
    if word in GROUPS:
        return GROUPS[word]
    for name in TYPE_NAMES:
        if word.lower() in {name.lower(), TYPE_NAMES[name]}:
            return (name,)
    return (word,) if re.fullmatch(r"[A-Z][A-Za-z]{2,40}", word) else None


def clock_time(instant: datetime, now: datetime, zone: tzinfo | None) -> str:
    """`14:02` today; the day as well when it was another one."""
    local, today = instant.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    return f"{local:%H:%M} on {local.day} {local:%B}" + (f" {local.year}" if local.year != today.year else "")


def counted(count: int, one: str, several: str | None = None) -> str:
    """`1 change`, `3 changes`."""
    return f"{count} {one if count == 1 else several or one + 's'}"


def joined(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(names)
    return " and ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def _value_in(resource: Mapping[str, Any]) -> str:
    quantity = resource.get("valueQuantity")
    if isinstance(quantity, Mapping) and "value" in quantity:
        unit = quantity.get("unit") or quantity.get("code") or ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return one_line(f"{quantity['value']} {unit}")
    for name in ("valueString", "valueDateTime", "valueInteger"):
        if name in resource:
            return one_line(resource[name])
    return one_line(_said(resource.get("valueCodeableConcept")))


def _message_in(resource: Mapping[str, Any]) -> str:
    """The words of a message."""
    payload: Any = resource.get("payload")
    match payload:
        case [{"contentString": str(words)}, *_]:
            return one_line(words)
        case _:
            return ""


def _said(value: Any) -> str:
    """The words in a text, a CodeableConcept, a name or a reference, or in the first of several."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return next((found for one in value if (found := _said(one))), "")  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, Mapping):
        return ""
    for name in ("text", "display", "coding", "code", "family"):
        found = _said(value.get(name))  # pyright: ignore[reportUnknownMemberType]
        if found:
            return found
    return ""
