"""What a person may record themselves, and the Observation that each becomes.

https://hl7.org/fhir/R4/observation.html; UK Core vital signs carry a LOINC and a SNOMED code. Codes are
LOINC's and SNOMED CT's, units UCUM's.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from server.commands.phone_app.refusals import PhoneRefusal

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
NOTE_CHARACTERS_MAX = 4_000
# What a meter can print. More digits are a slip of the finger.
VALUE_CHARACTERS_MAX = 7

Resource = dict[str, Any]


class ReadingUnclear(PhoneRefusal):
    """We cannot tell what this reading says."""


class Measure(NamedTuple):
    """One number of a reading: what it is, its unit, and the least and most that can be true of a person."""

    name: str
    loinc: str
    loinc_name: str
    unit: str
    ucum: str
    least: str
    most: str
    snomed: str = ""
    snomed_name: str = ""


SYSTOLIC = Measure(
    name="The upper number of a blood pressure",
    loinc="8480-6",
    loinc_name="Systolic blood pressure",
    unit="mmHg",
    ucum="mm[Hg]",
    least="40",
    most="350",
    snomed="271649006",
    snomed_name="Systolic blood pressure",
)
DIASTOLIC = Measure(
    name="The lower number of a blood pressure",
    loinc="8462-4",
    loinc_name="Diastolic blood pressure",
    unit="mmHg",
    ucum="mm[Hg]",
    least="10",
    most="250",
    snomed="271650006",
    snomed_name="Diastolic blood pressure",
)
WEIGHT = Measure(
    name="A weight",
    loinc="29463-7",
    loinc_name="Body weight",
    unit="kg",
    ucum="kg",
    least="0.2",
    most="700",
    snomed="27113001",
    snomed_name="Body weight",
)
GLUCOSE = Measure(
    name="A blood glucose",
    loinc="14743-9",
    loinc_name="Glucose [Moles/volume] in Capillary blood by Glucometer",
    unit="mmol/L",
    ucum="mmol/L",
    least="0.3",
    most="60",
    snomed="434912009",
    snomed_name="Blood glucose concentration",
)
PEAK_FLOW = Measure(
    name="A peak flow",
    loinc="19935-6",
    loinc_name="Maximum expiratory gas flow Respiratory system airway by Peak flow meter",
    unit="L/min",
    ucum="L/min",
    least="20",
    most="1000",
)


def blood_pressure(said: str) -> Resource:
    """`128/82` as one panel of two numbers."""
    upper, slash, lower = said.partition("/")
    if not slash:
        raise ReadingUnclear("Write a blood pressure as two numbers, such as 128/82.")
    systolic, diastolic = _value(SYSTOLIC, upper), _value(DIASTOLIC, lower)
    if diastolic["value"] >= systolic["value"]:
        raise ReadingUnclear("The upper number of a blood pressure comes first, such as 128/82.")
    codings = [
        _coding(LOINC, "85354-9", "Blood pressure panel with all children optional"),
        _coding(SNOMED, "75367002", "Blood pressure"),
    ]
    return {
        "category": [_category("vital-signs")],
        "code": {"coding": codings, "text": "Blood pressure"},
        "component": [
            {"code": _code(SYSTOLIC), "valueQuantity": systolic},
            {"code": _code(DIASTOLIC), "valueQuantity": diastolic},
        ],
    }


def weight(said: str) -> Resource:
    """Kilograms."""
    return _single(WEIGHT, said, "Body weight", "vital-signs")


def glucose(said: str) -> Resource:
    """Millimoles per litre, from a finger prick."""
    return _single(GLUCOSE, said, "Blood glucose", "laboratory")


def peak_flow(said: str) -> Resource:
    """Litres per minute."""
    return _single(PEAK_FLOW, said, "Peak flow", "survey")


def note(said: str) -> Resource:
    """A few words of the person's own."""
    text = said.strip()
    if not text:
        raise ReadingUnclear("A note needs some words.")
    if len(text) > NOTE_CHARACTERS_MAX:
        raise ReadingUnclear(f"A note has at most {NOTE_CHARACTERS_MAX} characters.")
    coding = _coding(LOINC, "51855-5", "Patient Note")
    return {
        "category": [_category("survey")],
        "code": {"coding": [coding], "text": "Note"},
        "valueString": text,
    }


KINDS: Mapping[str, Callable[[str], Resource]] = {
    "blood-pressure": blood_pressure,
    "weight": weight,
    "glucose": glucose,
    "peak-flow": peak_flow,
    "note": note,
}


def reading(kind: str, said: str, *, at: str, logical_id: str, patient_id: str) -> Resource:
    """The Observation of a reading; ReadingUnclear says in plain words what is wrong with it."""
    whose = {"reference": f"Patient/{patient_id}"}
    return {
        "resourceType": "Observation",
        "id": logical_id,
        "status": "final",
        **KINDS[kind](said),
        "subject": whose,
        "effectiveDateTime": at,
        "performer": [whose],
    }


def taken_at(said: str | None, now: datetime, zone: tzinfo | None) -> str:
    """When a reading was taken, as FHIR writes it: a day, or an instant with its offset. `now` is aware."""
    if said is None:
        return now.replace(microsecond=0).isoformat()
    try:
        if len(said) == len("2026-11-20"):
            day = date.fromisoformat(said)
            is_later = day > now.date()
            written = day.isoformat()
        else:
            instant = datetime.fromisoformat(said)
            instant = instant.replace(tzinfo=zone) if instant.tzinfo is None else instant
            is_later = instant > now
            written = instant.replace(microsecond=0).isoformat()
    except ValueError as unclear:
        raise ReadingUnclear("Write a time such as 2026-11-20 or 2026-11-20T08:15.") from unclear
    if is_later:
        raise ReadingUnclear("A reading cannot be from the future.")
    return written


def _single(measure: Measure, said: str, text: str, category: str) -> Resource:
    return {
        "category": [_category(category)],
        "code": _code(measure) | {"text": text},
        "valueQuantity": _value(measure, said),
    }


def _value(measure: Measure, said: str) -> dict[str, Any]:
    """The number with the digits the person wrote: 72.40 stays 72.40."""
    text = said.strip()
    try:
        value = Decimal(text)
    except InvalidOperation as unclear:
        raise ReadingUnclear(f"{measure.name} is a number. You wrote '{text[:20]}'.") from unclear
    is_plain = text.isascii() and set(text) <= set("0123456789.") and len(text) <= VALUE_CHARACTERS_MAX
    if not is_plain or not Decimal(measure.least) <= value <= Decimal(measure.most):
        raise ReadingUnclear(
            f"{measure.name} lies between {measure.least} and {measure.most} {measure.unit}. "
            f"You wrote '{text[:20]}'."
        )
    return {"value": value, "unit": measure.unit, "system": UCUM, "code": measure.ucum}


def _code(measure: Measure) -> dict[str, Any]:
    codings = [_coding(LOINC, measure.loinc, measure.loinc_name)]
    if measure.snomed:
        codings.append(_coding(SNOMED, measure.snomed, measure.snomed_name))
    return {"coding": codings}


def _coding(system: str, code: str, display: str) -> dict[str, str]:
    return {"system": system, "code": code, "display": display}


def _category(code: str) -> dict[str, Any]:
    return {"coding": [{"system": CATEGORY, "code": code}]}
