"""Who takes part in the two worlds, and the one world they begin as: records, grants, tokens."""

from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from fhir_profiles.slices import Slice
from server.commands.held_client import HeldClient
from server.identity.development_provider import DemoPerson
from tests.api.two_worlds import Caller
from tests.api.two_worlds_items import (
    PROBLEM_LIST,
    Resource,
    Shape,
    concept,
    make,
    narrative,
    person,
    refers,
)
from tests.api.two_worlds_pointing import point
from tests.extracts import bundle
from tests.held_app import ServedHeld, served_held
from tests.world import OKAFOR, PATEL, World, citizen, professional, record_id_of

STRANGER = professional("Noor Khan")
OTHER_CITIZEN = citizen("Other Person", 90)
TELECOM = [{"system": "phone", "value": "0113 496 0001"}]
ADDRESS = {"line": ["1 Sample Street"], "city": "Leeds", "postalCode": "LS1 1AA"}

DOCTORS_SLICES: tuple[Slice, ...] = (
    Slice(current=False, categories=("problems", "results"), from_="2024-01-01"),
    Slice(current=True),
    Slice(
        current=False,
        categories=("problems", "medicines", "consultations", "documents"),
        sensitive=("mental-health",),
    ),
    Slice(
        current=False,
        categories=("consultations", "results", "procedures"),
        from_="2024-03",
        to="2026-10",
        sensitive=("hiv", "genetics"),
    ),
    Slice(current=True, categories=("immunisations", "problems", "contact"), from_="2020"),
)
PHARMACISTS_SLICES: tuple[Slice, ...] = (
    Slice(current=False, categories=("medicines", "allergies")),
    Slice(current=False, categories=("medicines", "immunisations", "problems"), from_="2025"),
)


class Person(NamedTuple):
    """A citizen with a record in both worlds, and everyone who may call about it."""

    record_id: str
    device_id: str
    patient_id: str
    grants: dict[str, str]
    own_tokens: dict[str, str]
    """Of the professionals who hold the grants."""
    demo: DemoPerson
    callers: dict[str, Caller]
    shapes: dict[str, Shape]
    names: dict[str, str]
    """`Type/source id` -> `Type/served id`."""

    @property
    def patient(self) -> Resource:
        """As the practice sends it."""
        who = self.demo
        return person(str(who.nhs_number), str(who.birth_date), who.family_name, who.given_name)


class Cast(NamedTuple):
    """The records, and the practice that fills them."""

    people: list[Person]
    practice: Caller


def citizens(count: int) -> list[DemoPerson]:
    """So many citizens."""
    return [citizen(f"Citizen{number} Green", number) for number in range(count)]


def everyone(count: int) -> list[DemoPerson]:
    """All who can sign in."""
    return [*citizens(count), OTHER_CITIZEN, PATEL, OKAFOR, STRANGER]


async def begin(folder: Path, rng: Random, count: int) -> Cast:
    """The world before it parts, in the folder, with so many records; it is not served any more."""
    folder.mkdir()
    async with served_held(folder, everyone(count)) as held:
        building = _Building(held, rng)
        await building.begin()
        people = [await building.record_of(who, number) for number, who in enumerate(citizens(count))]
        return Cast(people, Caller.of("practice", building.practice))


class _Building:
    def __init__(self, held: ServedHeld, rng: Random) -> None:
        self._world = World(held)
        self._rng = rng

    async def begin(self) -> None:
        world = self._world
        await world.register_integrators()
        self.practice = await world.integrator_client(world.practice)
        self._hospital = Caller.of(
            "integrator of another organisation", await world.integrator_client(world.hospital)
        )
        self._doctor = await world.sign_in(PATEL)
        self._pharmacist = await world.sign_in(OKAFOR)
        self._stranger = await world.sign_in(STRANGER)
        self._other = await world.sign_in(OTHER_CITIZEN)

    async def record_of(self, who: DemoPerson, number: int) -> Person:
        owner = await self._world.sign_in(who)
        await self._world.link(owner)
        patient = person(str(who.nhs_number), str(who.birth_date), who.family_name, who.given_name)
        report = await self._world.push(bundle([patient, *base_items()]))
        assert report["state"] == "done", report
        assert report["counts"]["quarantined"] == 0, report["items"]
        names = {
            f"{item['type']}/{item['source_id']}": f"{item['type']}/{item['id']}" for item in report["items"]
        }
        doctors = self._named(DOCTORS_SLICES[number % len(DOCTORS_SLICES)], names)
        pharmacists = self._named(PHARMACISTS_SLICES[number % len(PHARMACISTS_SLICES)], names)
        doctor = await self._world.share(owner, msgspec.to_builtins(doctors), self._doctor)
        pharmacist = await self._world.share(owner, msgspec.to_builtins(pharmacists), self._pharmacist)
        record_id = await record_id_of(owner)
        phone = {"key": owner.key.jwk, "name": "Phone", "platform": "test"}
        registered = await owner.expect(201, "POST", f"/sync/v1/records/{record_id}/devices", json=phone)
        callers = [
            Caller.of("owner", owner),
            Caller.of("doctor", doctor.client),
            Caller.of("pharmacist", pharmacist.client),
            Caller.of("stranger", self._stranger),
            Caller.of("another citizen", self._other),
            self._hospital,
        ]
        return Person(
            record_id=record_id,
            device_id=registered["deviceId"],
            patient_id=doctor.patient_id,
            grants={"doctor": doctor.grant_id, "pharmacist": pharmacist.grant_id},
            own_tokens={"doctor": self._doctor.token or "", "pharmacist": self._pharmacist.token or ""},
            demo=who,
            callers={caller.name: caller for caller in callers},
            shapes={
                "doctor": Shape("doctor", doctors),
                "pharmacist": Shape("pharmacist", pharmacists),
            },
            names=names,
        )

    def _named(self, shared: Slice, names: dict[str, str]) -> Slice:
        """The slice with items hidden one by one, and sometimes a condition or an item added."""
        hide = [names[name] for name in ("Practitioner/hidden-gp", "Condition/hidden-one")]
        add = [names["Procedure/added"]] if self._rng.random() < 0.5 else []
        conditions = [names["Condition/asthma"].partition("/")[2]] if self._rng.random() < 0.3 else []
        return msgspec.structs.replace(shared, hide=tuple(hide), add=tuple(add), conditions=tuple(conditions))


def client_of(caller: Caller, held: ServedHeld) -> HeldClient:
    """A client of one world that is this caller."""
    client = HeldClient(held.http, held.parts.settings.base_url, key=caller.key)
    client.token = caller.token
    return client


def base_items() -> list[Resource]:
    """What every record begins with: something for every slice, and references to what is not there."""
    contained = {"resourceType": "Practitioner", "id": "p", "name": [{"text": "Contained Person"}]}
    asthma = point(
        point(make("Condition", "asthma", "Asthma", "2024-05-01"), "encounter", "Encounter/clinic", "Clinic"),
        "evidence.detail",
        "Observation/absent-evidence",
        "Absent evidence",
    )
    panel = make("Observation", "panel", "Panel") | {"text": narrative("A panel with everything in it")}
    for target in ("result-1", "absent-result", "absent-second"):
        panel = point(panel, "hasMember", f"Observation/{target}", f"named {target}")
    panel = point(panel, "derivedFrom", "DocumentReference/absent-letter", "Absent letter")
    panel |= {
        "contained": [contained],
        "component": [
            {
                "code": concept("Part"),
                "extension": [
                    {"url": "https://supplier.example/by", "valueReference": {"reference": "#p"}},
                    {
                        "url": "https://supplier.example/at",
                        "valueReference": refers("Location/absent-clinic", "Absent clinic"),
                    },
                ],
            }
        ],
    }
    holder = make("Procedure", "holder", "Operation", "2025-02-01") | {
        "contained": [contained | {"id": "q", "qualification": [_issued_by("Organization/absent-college")]}],
        "performer": [{"actor": {"reference": "#q"}, "onBehalfOf": refers("Organization/absent-trust")}],
    }
    mixed = point(
        make("MedicationRequest", "inhaler", "Inhaler", "2026-02-01"), "requester", "Practitioner/gp", "GP"
    )
    for target in ("asthma", "low-mood", "absent-reason"):
        mixed = point(mixed, "reasonReference", f"Condition/{target}", f"named {target}")
    return [
        make("Organization", "practice", "Beeston Practice") | {"telecom": TELECOM, "address": [ADDRESS]},
        make("Practitioner", "gp", "Dr Gale") | {"telecom": TELECOM},
        make("Practitioner", "hidden-gp", "Dr Kept-Back"),
        make("Location", "surgery", "The Surgery") | {"address": ADDRESS},
        make("Medication", "tablets", "Tablets") | {"manufacturer": refers("Organization/absent-maker")},
        point(
            point(
                make("Encounter", "clinic", "Asthma clinic", "2025-03-01")
                | {"serviceProvider": refers("Organization/practice", "Practice")},
                "participant.individual",
                "Practitioner/gp",
                "GP",
            ),
            "location.location",
            "Location/absent-clinic",
            "Absent clinic",
        ),
        with_orphan(asthma, "Contained"),
        make("Condition", "diabetes", "Diabetes", "2023-01-01"),
        make("Condition", "hidden-one", "Kept back by name", "2024-06-01"),
        make("Condition", "low-mood", "Depression", "2024-05-02"),
        make("Condition", "resolved", "Broken arm", "2015-01-01")
        | {
            "clinicalStatus": concept(
                "Resolved", "resolved", "http://terminology.hl7.org/CodeSystem/condition-clinical"
            )
        },
        make("AllergyIntolerance", "penicillin", "Penicillin", "2010-01-01"),
        *[
            point(
                make("Observation", f"result-{day}", f"Result {day}", f"2026-09-0{day}"),
                "performer",
                "Practitioner/gp",
                "GP",
            )
            for day in (1, 2, 3)
        ],
        make("Observation", "old-result", "Old result", "2019-09-01"),
        with_orphan(panel, "Contained"),
        mixed,
        point(
            make("MedicationRequest", "tablets", "", "2026-03-01"),
            "medicationReference",
            "Medication/tablets",
            "Tablets",
        ),
        point(
            make("MedicationRequest", "not-standing", "", "2026-03-02"),
            "medicationReference",
            "Medication/absent-medicine",
            "Absent medicine",
        ),
        point(
            make("MedicationStatement", "vitamins", "Vitamins"),
            "reasonReference",
            "Condition/absent-reason",
            "Why",
        ),
        point(
            point(
                make("Immunization", "flu", "Flu jab", "2025-10-01")
                | {"location": refers("Location/surgery", "Surgery")},
                "performer.actor",
                "Practitioner/hidden-gp",
                "Dr",
            ),
            "performer.actor",
            "Practitioner/absent-nurse",
            "Absent nurse",
        ),
        with_orphan(holder, "Contained"),
        make("Procedure", "added", "Mole removed", "2018-01-01"),
        point(
            make("DiagnosticReport", "report", "Report") | {"text": narrative("All that was found")},
            "result",
            "Observation/absent-result",
            "Absent result",
        ),
        point(
            make("DocumentReference", "letter", "Letter", "2026-01-05"),
            "author",
            "Practitioner/absent-nurse",
            "Nurse",
        ),
        _list(),
        needing(make("Observation", "needs-a-step", "Needs a step"), "Observation/absent-step"),
        needing(make("Condition", "needs-a-step", "Needs a step"), "Condition/absent-step"),
        provenance("whole", ["Observation/result-1"]),
        provenance("mixed", ["Observation/result-2", "Condition/low-mood"]),
        provenance("absent", ["Observation/result-3", "Observation/absent-result"]),
    ]


def needing(item: Resource, target: str) -> Resource:
    """The item as one that cannot stand without another."""
    extension = {"url": "https://supplier.example/step-of", "valueReference": refers(target, "A step")}
    return item | {"modifierExtension": [extension]}


def with_orphan(item: Resource, text: str) -> Resource:
    """The item with something contained that is only reached by way of what is cut."""
    falls = make("MedicationStatement", "falls", "") | {"informationSource": {"reference": "#orphan"}}
    falls = point(falls, "medicationReference", "Medication/absent-medicine", text)
    orphan = {"resourceType": "Practitioner", "id": "orphan", "name": [{"text": text}]}
    others = [inner for inner in item.get("contained", ()) if inner["id"] not in ("falls", "orphan")]
    extension = {"url": "https://supplier.example/with", "valueReference": {"reference": "#falls"}}
    return item | {"contained": [*others, falls, orphan], "extension": [extension]}


def _list() -> Resource:
    problems = make("List", "problems", "Problems", "2026-01-01") | {"code": PROBLEM_LIST, "entry": []}
    for name in ("asthma", "low-mood", "absent-reason", "resolved"):
        problems = point(problems, "entry.item", f"Condition/{name}", f"named {name}")
    return problems | {"text": narrative("Asthma and others")}


def provenance(name: str, targets: list[str]) -> Resource:
    """A Provenance by the practice."""
    return {
        "resourceType": "Provenance",
        "id": name,
        "target": [refers(target) for target in targets],
        "recorded": "2026-09-02T10:00:00Z",
        "agent": [{"who": refers("Practitioner/gp", "GP")}],
    }


def _issued_by(name: str) -> Resource:
    return {"code": concept("Nurse"), "issuer": refers(name, "A college")}
