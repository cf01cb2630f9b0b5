"""A journey through the real front door that leaves a marker at every turn (THREATS i)."""

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import msgspec

from server.commands.held_client import ACCESS_GRANT, OFFER_CODE, HeldClient
from server.development.people import keep_people, people_file
from server.identity.clients import Clients, integrator
from server.identity.development_provider import DemoPerson
from server.intake.organisations import Organisation, register_organisation
from server.secret_files import make_missing_secrets
from server.settings import Settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from server.storage.migrating import migrate
from tests.extracts import NOPAT, Resource, bundle, condition, observation, patient
from tests.markers import marker
from tests.world import Integrator, citizen, offer, push, record_id_of, redeem

ITEMS = 50
FHIR_JSON = "application/fhir+json"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'


class Planter:
    """Gives out markers and counts where they went."""

    def __init__(self) -> None:
        self.where: Counter[str] = Counter()

    def __call__(self, where: str) -> str:
        self.where[where] += 1
        return marker(self.where.total())


class Journey:
    """Two citizens, a doctor, a practice; all their names and words are markers."""

    def __init__(self, settings: Settings, plant: Planter) -> None:
        self.settings = settings
        self.plant = plant
        self.amina = _named(citizen("Amina Yusuf", 0), plant)
        self.ben = _named(citizen("Ben Carter", 1), plant)
        self.doctor = DemoPerson(
            provider="cis2",
            subject=plant("subject of a professional"),
            given_name=plant("name"),
            family_name=plant("name"),
            role_code="S0010:G0020:R0260",
            role=plant("role"),
            organisation=plant("organisation code"),
            organisation_name=plant("organisation name"),
        )
        self.practice = Integrator(plant("client id"), plant("organisation code"))
        self.record_id = ""
        self._items = 0

    async def prepare(self) -> None:
        """What an operator does before the start."""
        make_missing_secrets(self.settings)
        if self.settings.uses_sqlite:
            await migrate(self.settings.database_url)
        keep_people(people_file(self.settings), [self.amina, self.ben, self.doctor])
        storage = await Storage.open(self.settings.database_url, KeyFile.open(self.settings.key_file))
        try:
            code = self.practice.organisation
            known = Organisation(organisation=code, name=self.plant("organisation name"))
            await register_organisation(storage, known)
            client = integrator(
                self.practice.client_id,
                name=self.plant("client name"),
                organisation=code,
                jwk=self.practice.public_jwk(),
            )
            await Clients(storage, self.settings.base_url).register(client)
        finally:
            await storage.close()

    async def walk(self, http: httpx.AsyncClient) -> None:
        """Signs in, links, sends, shares, reads, searches, fails and ends."""
        owner, doctor, sender = (HeldClient(http, self.settings.base_url) for _ in range(3))
        await self._sign_in(owner, self.amina)
        self.record_id = await record_id_of(owner)
        await self._sign_in(HeldClient(http, self.settings.base_url), self.ben)
        portal = {"client_id": "held-portal", "redirect_uri": f"{self.settings.base_url}/portal/signed-in"}
        await doctor.sign_in(portal, self.doctor.held_subject)
        await self._link(owner)
        await sender.sign_in_integrator(self.practice.client_id, self.practice.key, self.practice.kid)
        await self._send(sender)
        await self._read(owner)
        await self._share(owner, doctor)
        await self._fail(owner, doctor, sender)

    async def _sign_in(self, client: HeldClient, person: DemoPerson) -> None:
        phone = {"client_id": "held-phone", "redirect_uri": f"{self.settings.base_url}/app/signed-in"}
        await client.sign_in(phone, person.held_subject)
        await client.refresh(record_id=await record_id_of(client))

    async def _link(self, owner: HeldClient) -> None:
        code = self.practice.organisation
        await owner.expect(201, "POST", f"/records/{self.record_id}/links", json={"organisation": code})
        for _ in range(5):
            alias = {
                "record_id": self.record_id,
                "organisation": code,
                "system": f"https://{self.plant('alias')}.example",
                "value": self.plant("alias"),
            }
            await owner.expect(204, "POST", "/development/aliases", json=alias)

    async def _send(self, sender: HeldClient) -> None:
        plant = self.plant
        told = await push(sender, self._extract([self._item() for _ in range(ITEMS)]))
        assert told["state"] == "done", told
        assert told["counts"]["quarantined"] == 0, told
        await push(sender, self._extract([self._item()]))
        hidden = [self._item() | {"meta": {"security": [NOPAT]}} for _ in range(3)]
        await push(sender, self._extract(hidden))
        faulty = [self._item() | {"status": f"not {plant('quarantined item')}"} for _ in range(3)]
        report = await push(sender, self._extract(faulty))
        assert report["counts"]["quarantined"] == 3, report
        other = {
            "resourceType": "Basic",
            "id": plant("type we do not take"),
            "code": {"text": plant("type we do not take")},
        }
        await push(sender, self._extract([other]))
        for number in (str(self.ben.nhs_number), "9990000999"):
            stranger = bundle([patient(number, name=[{"family": plant("held extract")}]), self._item()])
            assert (await push(sender, stranger))["state"] == "held"
        for query in ("?dry_run=true", "?dry_run=false", "?extent=full"):
            extract = msgspec.json.encode(self._extract([self._item()]))
            for _ in range(2):
                key = {"Content-Type": FHIR_JSON, "Idempotency-Key": plant("Idempotency-Key")}
                await sender.call("POST", f"/extracts{query}", content=extract, headers=key)

    def _extract(self, items: list[Resource]) -> Resource:
        plant = self.plant
        person = patient(
            str(self.amina.nhs_number),
            str(self.amina.birth_date),
            name=[{"family": self.amina.family_name, "given": [self.amina.given_name]}],
            address=[{"line": [plant("address")], "city": plant("address")}],
            telecom=[{"system": "email", "value": f"{plant('contact')}@example.org"}],
        )
        organisation = {
            "resourceType": "Organization",
            "id": plant("source id"),
            "name": plant("organisation name"),
        }
        doctor = {"resourceType": "Practitioner", "id": plant("source id"), "name": [{"text": plant("name")}]}
        return bundle([person, organisation, doctor, *items])

    def _item(self) -> Resource:
        plant = self.plant
        more: dict[str, Any] = {
            "identifier": [
                {"system": f"https://{plant('identifier')}.example", "value": plant("identifier")}
            ],
            "note": [{"text": plant("note")}],
            "text": {"status": "generated", "div": f"{DIV}{plant('narrative')}</div>"},
        }
        self._items += 1
        if self._items % 3:
            made = observation(plant("source id"), valueString=plant("body"), **more)
            del made["valueQuantity"]
            return made
        return condition(plant("source id")) | more | {"code": {"text": plant("body")}}

    async def _read(self, owner: HeldClient) -> None:
        plant = self.plant
        found = await owner.expect(200, "GET", "/fhir/Observation?_count=5")
        logical_id = found["entry"][0]["resource"]["id"]
        next_page = next(link["url"] for link in found["link"] if link["relation"] == "next")
        for path in (
            f"/fhir/Observation/{logical_id}",
            f"/fhir/Observation/{logical_id}/_history",
            next_page,
        ):
            await owner.expect(200, "GET", path)
        for _ in range(5):
            await owner.expect(200, "GET", f"/fhir/Condition?code={plant('query')}")
            await owner.expect(200, "POST", "/fhir/Condition/_search", data={"code": plant("query")})
        await owner.expect(200, "GET", f"/records/{self.record_id}/log")
        await owner.expect(200, "GET", f"/records/{self.record_id}/links")

    async def _share(self, owner: HeldClient, doctor: HeldClient) -> None:
        plant = self.plant
        slice_ = {
            "current": True,
            "categories": ["results"],
            "hide": [f"Condition/{plant('hidden by name')}"],
            "add": [f"Observation/{plant('added by name')}"],
        }
        used = await redeem(owner, doctor, await offer(owner, slice_, reason=plant("reason of a grant")))
        await used.client.expect(200, "GET", "/fhir/Observation")
        await used.client.expect(200, "GET", f"/fhir/Condition?code={plant('query')}")
        await doctor.exchange(used.grant_id, ACCESS_GRANT, operation_id=plant("operation id"))
        path = f"/records/{self.record_id}/grants"
        await owner.expect(
            200, "POST", f"{path}/{used.grant_id}/end", json={"reason": plant("reason of an end")}
        )
        assert (await used.client.call("GET", "/fhir/Observation")).status_code == 401
        for to in (
            {"professional": {"subject": f"cis2:{plant('subject of a professional')}"}},
            {"role_code": plant("role"), "organisation": plant("organisation code")},
            {"guest": {"name": plant("guest name"), "organisation": plant("guest organisation")}},
        ):
            await owner.call("POST", path, json={"to": to, "reason": plant("reason of a grant")})
        await owner.expect(200, "GET", path)
        await owner.expect(200, "POST", f"/records/{self.record_id}/end-all", json={})

    async def _fail(self, owner: HeldClient, doctor: HeldClient, sender: HeldClient) -> None:
        """Everything a log on the way might be tempted to keep."""
        plant = self.plant
        json_type = {"Content-Type": "application/json"}
        for path in (
            f"/records/{self.record_id}/grants",
            f"/records/{self.record_id}/links",
            "/development/people",
        ):
            await owner.call("POST", path, content=f'{{"a":"{plant("refused body")}"', headers=json_type)
            await owner.call("POST", path, json={plant("refused body"): plant("refused body")})
        await owner.call(
            "POST", f"/records/{self.record_id}/links", json={"organisation": plant("refused body")}
        )
        await sender.call(
            "POST", "/extracts", content=plant("refused body"), headers={"Content-Type": FHIR_JSON}
        )
        for path in (
            "/fhir/Condition/",
            "/nothing/",
            "/fhir/Condition?nothing=",
            "/me?",
            "/fhir/Condition?_page=",
        ):
            await owner.call("GET", path + plant("path"))
        await owner.call("GET", "/me", headers={"Authorization": f"DPoP {plant('token')}"})
        await owner.call("GET", "/me", headers={"DPoP": plant("proof")})
        await owner.call(
            "GET",
            "/me",
            headers={"User-Agent": plant("browser"), "Referer": f"https://{plant('browser')}.example"},
        )
        await doctor.exchange(plant("offer code"), OFFER_CODE)
        await owner.call("BREW", "/me", headers={"X-Word": plant("browser")})
        await owner.http.get(
            "/oauth/authorize", params={"client_id": plant("client id"), "state": plant("state")}
        )
        await owner.http.post(
            "/oauth/token", data={"grant_type": plant("token"), "client_id": plant("client id")}
        )
        await owner.http.post("/oauth/revoke", data={"token": plant("token"), "client_id": "held-phone"})
        await owner.http.get("/oauth/callback", params={"state": plant("state"), "code": plant("state")})


def _named(person: DemoPerson, plant: Planter) -> DemoPerson:
    named = {
        "given_name": plant("name"),
        "family_name": plant("name"),
        "subject": plant("subject of a citizen"),
    }
    return msgspec.structs.replace(person, **named)


def files_of(folder: Path) -> list[Path]:
    """The files of an installation that the server may have written a word to.

    Not the list of made-up people: it stands in for NHS login and CIS2, which keep people's names elsewhere.
    """
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("development-people")
    ]
