"""Whatever single thing in an extract points at another person holds it; all else lets it through (T5).

The mutators below are a list, so that more can be added beside them; `make prove` raises the counts.
"""

import copy
import os
import random
from collections.abc import Callable
from typing import Any

from server.intake.gather import read_extract
from server.intake.identify import KnownPerson, disagreement, named_person
from tests.extracts import NHS_NUMBER, Resource, bundle, condition, encoded, observation, patient
from tests.world import nhs_number

EXTRACTS = int(os.environ.get("HELD_GATE_EXTRACTS", "300"))
NUMBER, OTHER = nhs_number(0), nhs_number(1)
PERSON = KnownPerson(patient_id="p", nhs_number=NUMBER, birth_date="1980-02-03")
Mutator = Callable[[Resource, random.Random], None]


def clean(chance: random.Random) -> Resource:
    """One of many ways to say that everything is Amina's."""
    form = chance.choice(["Patient/pat", "urn:uuid:pat", "https://a.example/fhir/Patient/pat"])
    count = chance.randint(1, 8)
    items = [
        observation(f"o{index}") if chance.random() < 0.5 else condition(f"c{index}")
        for index in range(count)
    ]
    subjects: list[Resource] = [
        {"reference": form},
        {"reference": f"{form}/_history/2"},
        {"reference": form, "display": "Amina"},
        {"identifier": {"system": NHS_NUMBER, "value": NUMBER}},
        {"reference": f"Patient?identifier={NHS_NUMBER}|{NUMBER}"},
    ]
    for item in items:
        item["subject"] = chance.choice(subjects)
    extract = bundle([patient(NUMBER), *items])
    if not form.startswith("Patient/"):
        extract["entry"][0]["fullUrl"] = form
    chance.shuffle(extract["entry"])
    return extract


def harmless(extract: Resource, chance: random.Random) -> None:
    """A change that says nothing of whose the extract is."""
    person = patient_in(extract)
    changes: list[Callable[[], Any]] = [
        lambda: person.update(name=[{"text": "Another Name"}]),
        lambda: person.update(gender="female"),
        lambda: person["identifier"].append(
            {"system": "https://a.example/mrn", "value": str(chance.random())}
        ),
        lambda: person["identifier"].append({"system": NHS_NUMBER, "value": NUMBER}),
        lambda: person.pop("name", None),
        lambda: extract["entry"].append({"resource": {"resourceType": "Organization", "name": "x"}}),
        lambda: extract["entry"].append(
            {"resource": {"resourceType": "Claim", "patient": {"reference": "Patient/pat"}}}
        ),
        lambda: extract["entry"].append({"resource": {"resourceType": "Device", "id": "d"}}),
    ]
    chance.choice(changes)()


def patient_in(extract: Resource) -> Resource:
    return next(
        entry["resource"] for entry in extract["entry"] if entry["resource"]["resourceType"] == "Patient"
    )


def item_in(extract: Resource, chance: random.Random) -> Resource:
    items = [
        entry["resource"] for entry in extract["entry"] if entry["resource"]["resourceType"] != "Patient"
    ]
    return chance.choice(items)


def another_digit(extract: Resource, chance: random.Random) -> None:
    place, number = chance.randrange(10), NUMBER
    digit = chance.choice([each for each in "0123456789" if each != number[place]])
    patient_in(extract)["identifier"][0]["value"] = number[:place] + digit + number[place + 1 :]


def another_birth_date(extract: Resource, chance: random.Random) -> None:
    others = ["1980-02-04", "1980-03-02", "1981-02-03", "1980-02", "1980", "03/02/1980", "1980-2-3", ""]
    patient_in(extract)["birthDate"] = chance.choice(others)


def another_subject(extract: Resource, chance: random.Random) -> None:
    contained = {
        "resourceType": "Patient",
        "id": "c",
        "name": [{"text": "Amina Yusuf"}],
        "birthDate": "1980-02-03",
    }
    numbered = contained | {"identifier": [{"system": NHS_NUMBER, "value": OTHER}]}
    others: list[Resource] = [
        {"subject": {"reference": "Patient/other"}},
        {"subject": {"reference": "urn:uuid:other"}},
        {"subject": {"reference": "https://b.example/fhir/Patient/pat"}},
        {"subject": {"reference": "Patient/pat", "identifier": {"system": NHS_NUMBER, "value": OTHER}}},
        {"subject": {"identifier": {"system": NHS_NUMBER, "value": OTHER}}},
        {"subject": {"reference": f"Patient?identifier={NHS_NUMBER}|{OTHER}"}},
        {"subject": {"reference": "Patient?name=Yusuf"}},
        {"subject": {"display": "Amina Yusuf"}},
        {"subject": {"reference": "#c"}, "contained": [contained]},
        {"subject": {"reference": "#c"}, "contained": [numbered]},
        {"patient": {"reference": "Patient/other"}},
        {"contained": [{"resourceType": "Condition", "id": "i", "subject": {"reference": "Patient/other"}}]},
    ]
    item_in(extract, chance).update(copy.deepcopy(chance.choice(others)))


def another_patient(extract: Resource, chance: random.Random) -> None:
    others = [
        patient(OTHER, id="second"),
        patient(NUMBER, "1990-01-01", id="second"),
        patient(NUMBER, id="second", identifier=[]),
    ]
    extract["entry"].insert(chance.randrange(len(extract["entry"]) + 1), {"resource": chance.choice(others)})


def the_patient_gone(extract: Resource, chance: random.Random) -> None:
    extract["entry"] = [each for each in extract["entry"] if each["resource"] is not patient_in(extract)]


def a_second_number(extract: Resource, chance: random.Random) -> None:
    patient_in(extract)["identifier"].append({"system": NHS_NUMBER, "value": OTHER})


def no_number(extract: Resource, chance: random.Random) -> None:
    del patient_in(extract)["identifier"]


MUTATORS: list[Mutator] = [
    another_digit,
    another_birth_date,
    another_subject,
    another_patient,
    the_patient_gone,
    a_second_number,
    no_number,
]


def is_let_through(extract: Resource) -> bool:
    claims = read_extract(encoded(extract)).claims
    return named_person(claims) is not None and disagreement(claims, PERSON) is None


def test_every_mutated_extract_is_held() -> None:
    through: list[str] = []
    for seed in range(EXTRACTS):
        chance = random.Random(seed)
        extract = clean(chance)
        mutator = MUTATORS[seed % len(MUTATORS)]
        mutator(extract, chance)
        if is_let_through(extract):
            through.append(f"seed {seed}: {mutator.__name__}")
    assert through == []


def test_no_clean_extract_is_held() -> None:
    held: list[int] = []
    for seed in range(EXTRACTS):
        chance = random.Random(seed)
        extract = clean(chance)
        for _ in range(chance.randint(0, 3)):
            harmless(extract, chance)
        if not is_let_through(extract):
            held.append(seed)
    assert held == []
