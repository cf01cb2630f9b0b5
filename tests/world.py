"""A small world for tests through the front door: citizens with records, professionals, integrators.

Every text that stands in a record carries a marker, so that a test can tell what leaked from where.
"""

import asyncio
import json
from typing import Any
from uuid import uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from server.commands.held_client import OFFER_CODE, REDEMPTION, HeldClient
from server.identity.clients import integrator
from server.identity.development_provider import DemoPerson
from server.identity.tokens import Jwk
from server.intake.organisations import Organisation, register_organisation
from tests.held_app import PHONE, PORTAL, ServedHeld

SNOMED = "http://snomed.info/sct"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def nhs_number(index: int) -> str:
    """The index-th valid NHS number of the test range 999."""
    found = -1
    for body in range(999_000_000, 999_100_000):
        digits = str(body)
        check = (
            11 - sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=True)) % 11
        )
        if check == 10:
            continue
        found += 1
        if found == index:
            return digits + str(check % 11)
    raise AssertionError


def citizen(name: str, index: int, birth_date: str = "1980-02-03") -> DemoPerson:
    """A citizen who proved who they are."""
    given, _, family = name.partition(" ")
    return DemoPerson(
        provider="nhs-login",
        subject=name.lower().replace(" ", "-"),
        given_name=given,
        family_name=family,
        nhs_number=nhs_number(index),
        birth_date=birth_date,
    )


def professional(name: str, role: str = "GP", role_code: str = "R0260") -> DemoPerson:
    """A professional at a practice."""
    given, _, family = name.partition(" ")
    return DemoPerson(
        provider="cis2",
        subject=name.lower().replace(" ", "-"),
        given_name=given,
        family_name=family,
        role_code=f"S0010:G0020:{role_code}",
        role=role,
        organisation="B86001",
        organisation_name="Beeston Practice",
    )


AMINA = citizen("Amina Yusuf", 0)
BEN = citizen("Ben Carter", 1, "1991-05-06")
PATEL = professional("Asha Patel")
OKAFOR = professional("Sam Okafor", "Pharmacist", "R1290")
EVERYONE = [AMINA, BEN, PATEL, OKAFOR]
PRACTICE = "B86001"
HOSPITAL = "RR801"


class Integrator:
    """An organisation's system that pushes extracts."""

    def __init__(self, client_id: str, organisation: str) -> None:
        self.client_id = client_id
        self.organisation = organisation
        self.key = ec.generate_private_key(ec.SECP384R1())
        self.kid = f"{client_id}-1"

    def public_jwk(self) -> Jwk:
        """Its public key, as the operator registers it."""
        members = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return msgspec.convert({**members, "kid": self.kid, "alg": "ES384"}, Jwk, strict=False)


class World:
    """Amina's and Ben's records, filled by a practice; Dr Patel and Sam Okafor, a pharmacist."""

    def __init__(self, held: ServedHeld) -> None:
        self.held = held
        self.practice = Integrator("practice-system", PRACTICE)
        self.hospital = Integrator("hospital-system", HOSPITAL)

    async def register_integrators(self) -> None:
        """What the operator does before anybody pushes."""
        for system, name in ((self.practice, "Beeston Practice"), (self.hospital, "Leeds Hospital")):
            registered = Organisation(organisation=system.organisation, name=name)
            await register_organisation(self.held.parts.storage, registered)
            client = integrator(
                system.client_id, name=name, organisation=system.organisation, jwk=system.public_jwk()
            )
            await self.held.parts.identity.clients.register(client)

    async def sign_in(self, person: DemoPerson, *, with_record: bool = True) -> HeldClient:
        """A citizen with a token for their record, or a professional with their own token."""
        client = self.held.client()
        if person.provider == "cis2":
            await client.sign_in(PORTAL, person.held_subject)
            return client
        await client.sign_in(PHONE, person.held_subject)
        if with_record:
            await client.refresh(record_id=await record_id_of(client))
        return client

    async def integrator_client(self, system: Integrator) -> HeldClient:
        """An integrator that has signed in."""
        client = self.held.client()
        await client.sign_in_integrator(system.client_id, system.key, system.kid)
        return client

    async def link(self, owner: HeldClient, organisation: str = PRACTICE) -> None:
        """The citizen lets an organisation push."""
        record_id = await record_id_of(owner)
        await owner.expect(201, "POST", f"/records/{record_id}/links", json={"organisation": organisation})

    async def push(self, bundle: dict[str, Any], system: Integrator | None = None) -> dict[str, Any]:
        """Pushes an extract and waits for its report."""
        client = await self.integrator_client(system or self.practice)
        return await push(client, bundle)

    async def share(
        self, owner: HeldClient, slice_: dict[str, Any], reader: HeldClient, **terms: Any
    ) -> "Shared":
        """Offers, redeems, confirms: the reader's client for the grant."""
        offered = await offer(owner, slice_, **terms)
        return await redeem(owner, reader, offered)


class Shared:
    """A grant that is in use."""

    def __init__(self, client: HeldClient, answer: dict[str, Any]) -> None:
        self.client = client
        self.answer = answer
        self.grant_id: str = answer["grant"]
        self.patient_id: str = answer["patient"]


async def record_id_of(client: HeldClient) -> str:
    """The citizen's own record."""
    me = await client.expect(200, "GET", "/me")
    return me["records"][0]["record_id"]


async def push(client: HeldClient, bundle: dict[str, Any] | bytes) -> dict[str, Any]:
    """Pushes an extract and waits until its report is final."""
    body = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    headers = {"Content-Type": "application/fhir+json"}
    response = await client.call("POST", "/extracts", content=body, headers=headers)
    assert response.status_code == 202, response.text
    for _ in range(600):
        report = await client.expect(200, "GET", response.headers["Location"])
        if report["state"] in ("done", "held"):
            return report
        await asyncio.sleep(0.01)
    raise AssertionError(report)


async def offer(owner: HeldClient, slice_: dict[str, Any], **terms: Any) -> dict[str, Any]:
    """An open offer of a slice."""
    record_id = await record_id_of(owner)
    asked = {"to": {"open": True}, "slice": slice_, "purpose": "TREAT", "seconds": 86_400} | terms
    return await owner.expect(201, "POST", f"/records/{record_id}/grants", json=asked)


async def redeem(owner: HeldClient, reader: HeldClient, offered: dict[str, Any]) -> Shared:
    """The reader uses the code, the owner says yes, the reader collects the token."""
    waiting = (await reader.exchange(offered["offer"]["code"], OFFER_CODE)).json()
    assert waiting["error"] == "authorization_pending", waiting
    record_id = await record_id_of(owner)
    path = f"/records/{record_id}/grants/{offered['grant_id']}"
    pending = (await owner.expect(200, "GET", path))["pending"]
    answer = {"redemption": waiting["redemption"], "match": pending["match"], "allow": True}
    await owner.expect(200, "POST", f"{path}/confirm", json=answer)
    collected = await reader.exchange(waiting["redemption"], REDEMPTION)
    assert collected.status_code == 200, collected.text
    token = collected.json()
    return Shared(reader.with_token(token["access_token"]), token)


def extract_for(person: DemoPerson, marker: str) -> dict[str, Any]:
    """A transaction Bundle about the person whose every text carries the marker."""
    ids = {
        name: f"urn:uuid:{uuid4()}" for name in ("patient", "gp", "org", "asthma", "low-mood", "encounter")
    }
    subject = {"reference": ids["patient"]}
    resources = [
        (
            ids["patient"],
            {
                "resourceType": "Patient",
                "identifier": [{"system": "https://fhir.nhs.uk/Id/nhs-number", "value": person.nhs_number}],
                "name": [{"family": person.family_name, "given": [person.given_name]}],
                "birthDate": person.birth_date,
                "address": [{"line": [f"1 {marker}-address Street"], "city": "Leeds"}],
            },
        ),
        (ids["org"], {"resourceType": "Organization", "name": f"{marker}-org Practice"}),
        (ids["gp"], {"resourceType": "Practitioner", "name": [{"text": f"Dr {marker}-gp"}]}),
        (
            ids["encounter"],
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
                "subject": subject,
                "period": {"start": "2026-03-01T09:00:00Z"},
                "type": [{"text": f"{marker}-encounter"}],
                "participant": [{"individual": {"reference": ids["gp"]}}],
            },
        ),
        (ids["asthma"], _condition(subject, f"{marker}-asthma", "195967001", ids["encounter"])),
        (ids["low-mood"], _condition(subject, f"{marker}-depression", "35489007", ids["encounter"])),
        (
            f"urn:uuid:{uuid4()}",
            {
                "resourceType": "AllergyIntolerance",
                "clinicalStatus": _coded(
                    "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "active"
                ),
                "verificationStatus": _coded(
                    "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification", "confirmed"
                ),
                "code": {"text": f"{marker}-penicillin"},
                "patient": subject,
            },
        ),
        *[(f"urn:uuid:{uuid4()}", _result(subject, f"{marker}-result", day)) for day in range(1, 6)],
        (
            f"urn:uuid:{uuid4()}",
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "intent": "order",
                "medicationCodeableConcept": {"text": f"{marker}-salbutamol"},
                "subject": subject,
                "authoredOn": "2026-02-01",
                "requester": {"reference": ids["gp"]},
                "reasonReference": [{"reference": ids["asthma"]}, {"reference": ids["low-mood"]}],
            },
        ),
        (
            f"urn:uuid:{uuid4()}",
            {
                "resourceType": "List",
                "status": "current",
                "mode": "snapshot",
                "subject": subject,
                "title": f"{marker}-problems",
                "code": {"coding": [{"system": SNOMED, "code": "717711000000103"}], "text": "Problems"},
                "entry": [{"item": {"reference": ids["asthma"]}}, {"item": {"reference": ids["low-mood"]}}],
            },
        ),
        (
            f"urn:uuid:{uuid4()}",
            {
                "resourceType": "Immunization",
                "status": "completed",
                "vaccineCode": {"text": f"{marker}-flu-jab"},
                "patient": subject,
                "occurrenceDateTime": "2025-10-01",
            },
        ),
    ]
    entries = [
        {"fullUrl": url, "resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
        for url, resource in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _condition(subject: dict[str, str], text: str, code: str, encounter: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "clinicalStatus": _coded(CLINICAL, "active"),
        "code": {"coding": [{"system": SNOMED, "code": code}], "text": text},
        "subject": subject,
        "encounter": {"reference": encounter},
        "recordedDate": "2024-05-01",
    }


def _result(subject: dict[str, str], text: str, day: int) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [_coded(CATEGORY, "laboratory")],
        "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4"}], "text": text},
        "subject": subject,
        "effectiveDateTime": f"2026-09-0{day}",
        "valueQuantity": {"value": 41 + day, "unit": "mmol/mol", "code": "mmol/mol"},
    }


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
