"""Resources like those of a GP record after UK Core: as varied, and of the same mean size (1,276 B served).

Generated, so that the figures can be made anywhere; every value comes from the seed.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.parse import encode

Resource = dict[str, Any]

SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
UK_CORE = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-"
LAST_UPDATED = "2026-09-01T09:30:00.000Z"

_MEASURED = (
    ("4548-4", "Haemoglobin A1c level", "mmol/mol", 31, 98),
    ("2160-0", "Serum creatinine level", "umol/L", 48, 160),
    ("2951-2", "Serum sodium level", "mmol/L", 131, 147),
    ("2823-3", "Serum potassium level", "mmol/L", 3, 6),
    ("718-7", "Haemoglobin concentration", "g/L", 96, 171),
    ("2093-3", "Serum cholesterol level", "mmol/L", 3, 9),
    ("3016-3", "Serum thyroid stimulating hormone level", "mU/L", 1, 9),
    ("29463-7", "Body weight", "kg", 49, 121),
    ("39156-5", "Body mass index", "kg/m2", 18, 41),
    ("8867-4", "Heart rate", "/min", 51, 104),
    ("1742-6", "Serum alanine aminotransferase level", "U/L", 9, 84),
    ("6690-2", "White blood cell count", "10*9/L", 3, 14),
)
_PROBLEMS = (
    ("38341003", "Hypertensive disorder"),
    ("44054006", "Type 2 diabetes mellitus"),
    ("195967001", "Asthma"),
    ("396275006", "Osteoarthritis"),
    ("40930008", "Hypothyroidism"),
    ("709044004", "Chronic kidney disease"),
    ("54150009", "Upper respiratory infection"),
    ("279039007", "Low back pain"),
    ("162864005", "Body mass index 30+ - obesity"),
)
_MEDICINES = (
    ("39720311000001101", "Amlodipine 5mg tablets", "One to be taken each morning"),
    ("39108411000001107", "Metformin 500mg tablets", "One to be taken twice a day with meals"),
    ("39113311000001107", "Salbutamol 100micrograms/dose inhaler CFC free", "Two puffs when needed"),
    ("39695211000001102", "Atorvastatin 20mg tablets", "One to be taken at night"),
    ("39021411000001107", "Ramipril 5mg capsules", "One to be taken each day"),
    ("39683111000001100", "Levothyroxine sodium 50microgram tablets", "One to be taken before breakfast"),
)
_WORDS = (
    *("reviewed", "advised", "home", "fasting", "sample", "reading", "well", "today", "clinic", "weeks"),
    *("dose", "results", "stable", "again", "repeat", "asked", "months", "checked", "feeling", "better"),
    *("tired", "sleep", "walking", "diet", "discussed", "agreed", "continue", "return", "concern", "left"),
    *("right", "mild", "since", "morning", "evening", "after", "before", "normal", "raised", "slightly"),
    *("cough", "pain", "settled", "family"),
)


class Made(NamedTuple):
    """One resource as it is stored: what is decided on and what is served."""

    resource_type: str
    logical_id: str
    head: Head
    body: bytes


class Corpus:
    """Makes resources of one person, each from the seed and its number."""

    def __init__(self, patient_id: str, seed: int = 1) -> None:
        self._dice = random.Random(seed)
        self._subject = {"reference": f"Patient/{patient_id}"}
        self._people = [self._uuid() for _ in range(12)]
        self._encounters = [self._uuid() for _ in range(400)]
        self._kinds: dict[str, Callable[[], Resource]] = {
            "Observation": self._result,
            "Encounter": self._encounter,
            "MedicationRequest": self._medicine,
            "Condition": self._problem,
        }

    def make(self) -> Made:
        """The next resource."""
        resource_type = self._dice.choices(list(self._kinds), (50, 18, 18, 14))[0]
        return self.make_version(resource_type, self._uuid(), 1)

    def make_version(self, resource_type: str, name: str, version: int) -> Made:
        """A version of this resource that says something else than any before it."""
        made = self._kinds[resource_type]()
        stamped = served.stamp(made, name, version, LAST_UPDATED)
        source = ("00000000-0000-4000-8000-000000000000", 0, 1)
        head = served.head_of(
            stamped, version=version, last_updated=LAST_UPDATED, source=source, organisation="B86001"
        )
        return Made(resource_type, name, head, encode(stamped))

    def _result(self) -> Resource:
        code, display, unit, low, high = self._dice.choice(_MEASURED)
        day = self._day()
        value = f"{self._dice.randint(low, high)}.{self._dice.randint(0, 9)}"
        return self._about("Observation", "Observation") | {
            "status": "final",
            "category": [_coded(f"{TERMINOLOGY}/observation-category", "laboratory", "Laboratory")],
            "code": _coded(LOINC, code, display) | {"text": display},
            "subject": self._subject,
            "encounter": self._visit(),
            "effectiveDateTime": f"{day}T{self._time()}Z",
            "issued": f"{day}T{self._time()}.000Z",
            "performer": [self._person()],
            "valueQuantity": {
                "value": msgspec.Raw(value.encode()),
                "unit": unit,
                "system": "http://unitsofmeasure.org",
                "code": unit,
            },
            "referenceRange": [
                {
                    "low": {"value": low, "unit": unit, "code": unit},
                    "high": {"value": high, "unit": unit, "code": unit},
                }
            ],
            "note": [{"text": self._sentence(6)}],
        }

    def _problem(self) -> Resource:
        code, display = self._dice.choice(_PROBLEMS)
        return self._about("Condition", "Condition") | {
            "clinicalStatus": _coded(f"{TERMINOLOGY}/condition-clinical", "active", "Active"),
            "verificationStatus": _coded(f"{TERMINOLOGY}/condition-ver-status", "confirmed", "Confirmed"),
            "category": [
                _coded(f"{TERMINOLOGY}/condition-category", "problem-list-item", "Problem List Item")
            ],
            "code": _coded(SNOMED, code, display) | {"text": display},
            "subject": self._subject,
            "encounter": self._visit(),
            "onsetDateTime": self._day(),
            "recordedDate": self._day(),
            "recorder": self._person(),
            "note": [{"text": self._sentence(23)}],
        }

    def _medicine(self) -> Resource:
        code, display, dosage = self._dice.choice(_MEDICINES)
        return self._about("MedicationRequest", "MedicationRequest") | {
            "status": self._dice.choice(("active", "completed", "stopped")),
            "intent": "order",
            "category": [_coded(f"{TERMINOLOGY}/medicationrequest-category", "community", "Community")],
            "medicationCodeableConcept": _coded(SNOMED, code, display) | {"text": display},
            "subject": self._subject,
            "encounter": self._visit(),
            "authoredOn": self._day(),
            "requester": self._person(),
            "dosageInstruction": [{"text": dosage, "patientInstruction": self._sentence(9)}],
            "dispenseRequest": {
                "validityPeriod": {"start": self._day(), "end": self._day()},
                "quantity": {"value": self._dice.choice((28, 56, 84)), "unit": "tablet"},
                "expectedSupplyDuration": {"value": 28, "unit": "day", "code": "d"},
            },
        }

    def _encounter(self) -> Resource:
        day = self._day()
        return self._about("Encounter", "Encounter") | {
            "status": "finished",
            "class": {"system": f"{TERMINOLOGY}/v3-ActCode", "code": "AMB", "display": "ambulatory"},
            "type": [_coded(SNOMED, "185316007", "Indirect encounter") | {"text": self._sentence(4)}],
            "subject": self._subject,
            "participant": [
                {
                    "type": [_coded(f"{TERMINOLOGY}/v3-ParticipationType", "PPRF", "primary performer")],
                    "individual": self._person(),
                }
            ],
            "period": {"start": f"{day}T{self._time()}Z", "end": f"{day}T{self._time()}Z"},
            "reasonCode": [{"text": self._sentence(23)}],
            "location": [{"location": {"reference": f"Location/{self._people[0]}"}, "status": "completed"}],
            "serviceProvider": {"reference": f"Organization/{self._people[1]}"},
        }

    def _about(self, resource_type: str, profile: str) -> Resource:
        identifier = {"system": "https://supplier.example/item", "value": self._uuid()}
        return {
            "resourceType": resource_type,
            "meta": {"profile": [f"{UK_CORE}{profile}"]},
            "identifier": [identifier],
        }

    def _visit(self) -> Resource:
        return {"reference": f"Encounter/{self._dice.choice(self._encounters)}"}

    def _person(self) -> Resource:
        return {"reference": f"Practitioner/{self._dice.choice(self._people)}", "display": "Dr Jo Marsh"}

    def _sentence(self, words: int) -> str:
        return " ".join(self._dice.choices(_WORDS, k=words)).capitalize() + "."

    def _day(self) -> str:
        year, month, day = (
            self._dice.randint(2009, 2026),
            self._dice.randint(1, 12),
            self._dice.randint(1, 28),
        )
        return f"{year}-{month:02d}-{day:02d}"

    def _time(self) -> str:
        return f"{self._dice.randint(8, 18):02d}:{self._dice.randint(0, 59):02d}:00"

    def _uuid(self) -> str:
        return str(UUID(int=self._dice.getrandbits(128), version=4))


def _coded(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}
