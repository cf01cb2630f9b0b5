"""Amina's record with a practice that answers corrections, for tests through the front door."""

import copy
from typing import Any
from uuid import uuid4

import httpx

from server.commands.held_client import HeldClient
from tests.held_app import ServedHeld
from tests.world import AMINA, World, extract_for, record_id_of

BASE = "http://hl7.org/fhir/uv/patient-corrections/CodeSystem"
BUSINESS = f"{BASE}/PatientCorrectionBusinessStatus"
STATUS = {
    "queued": "ready",
    "in-review": "in-progress",
    "waiting-for-information": "in-progress",
    "accepted": "in-progress",
    "partial-accept": "in-progress",
    "requester-cancelled": "cancelled",
    "amendment-completed": "completed",
    "denied": "completed",
    "disagreement-logged": "completed",
    "completed": "completed",
}
FHIR = {"Content-Type": "application/fhir+json"}


class CorrectionWorld:
    """The owner, their practice's system, and the extract it sends."""

    def __init__(self, held: ServedHeld) -> None:
        self.held = held
        self.world = World(held)
        self.record_id = ""
        self.extract: dict[str, Any] = {}
        self.owner: HeldClient
        self.practice: HeldClient

    async def begin(self) -> "CorrectionWorld":
        """Everybody is there and the practice has sent its extract."""
        await self.world.register_integrators()
        self.owner = await self.world.sign_in(AMINA)
        self.practice = await self.world.integrator_client(self.world.practice)
        self.record_id = await record_id_of(self.owner)
        await self.world.link(self.owner)
        self.extract = with_identifiers(extract_for(AMINA, "AMINA"))
        await self.send()
        return self

    async def send(self) -> dict[str, Any]:
        """The practice sends its extract as it stands."""
        report = await self.world.push(copy.deepcopy(self.extract))
        assert report["state"] == "done", report
        return report

    async def amend(self, text: str, new_text: str, **changed: Any) -> None:
        """The practice changes an item of its extract and sends it again."""
        for entry in self.extract["entry"]:
            resource = entry["resource"]
            if resource.get("code", {}).get("text") == text:
                resource["code"]["text"] = new_text
                resource.update(changed)
        await self.send()

    def add_condition(self, text: str) -> None:
        """The practice will send one more problem."""
        asthma = next(
            entry
            for entry in self.extract["entry"]
            if entry["resource"].get("code", {}).get("text", "").endswith("-asthma")
        )
        added = copy.deepcopy(asthma)
        added["fullUrl"] = f"urn:uuid:{uuid4()}"
        added["resource"]["code"]["text"] = text
        added["resource"]["identifier"][0]["value"] = f"item-{text}"
        self.extract["entry"].append(added)

    async def item(self, resource_type: str, text: str, client: HeldClient | None = None) -> dict[str, Any]:
        """An item by its text, as the owner or another reader sees it."""
        found = await (client or self.owner).expect(200, "GET", f"/fhir/{resource_type}?_count=200")
        return next(
            entry["resource"] for entry in found["entry"] if entry["resource"]["code"]["text"] == text
        )

    async def question(self, target: str | None = None, **said: Any) -> dict[str, Any]:
        """The owner questions an item."""
        body = {"kind": "wrong", "should_say": "Bronchitis, in 2019", **said}
        if target is not None:
            body["target"] = target
        return await self.owner.expect(201, "POST", self.path(), json=body)

    def path(self, *steps: str) -> str:
        """The address of the owner's corrections."""
        return "/".join((f"/records/{self.record_id}/corrections", *steps))

    async def listed(self, correction_id: str) -> dict[str, Any]:
        """One correction as the owner sees it."""
        found = await self.owner.expect(200, "GET", self.path())
        return next(one for one in found["corrections"] if one["correction_id"] == correction_id)

    async def task(self, task_id: str) -> dict[str, Any]:
        """The Task as its practice reads it."""
        return await self.practice.expect(200, "GET", f"/fhir/Task/{task_id}")

    async def put(
        self,
        task: dict[str, Any],
        business: str,
        text: str | None = None,
        *,
        client: HeldClient | None = None,
        if_match: str | None = "",
    ) -> httpx.Response:
        """The practice sends a Task back in another state."""
        sent = moved(task, business, text)
        headers = dict(FHIR)
        if if_match is not None:
            headers["If-Match"] = if_match or f'W/"{task["meta"]["versionId"]}"'
        return await (client or self.practice).call(
            "PUT", f"/fhir/Task/{task['id']}", json=sent, headers=headers
        )

    async def move(self, task_id: str, *steps: str, text: str | None = None) -> dict[str, Any]:
        """The practice moves a Task through states; the text goes with the last."""
        task = await self.task(task_id)
        for business in steps:
            response = await self.put(task, business, text if business == steps[-1] else None)
            assert response.status_code == 200, response.text
            task = response.json()
        return task


def moved(task: dict[str, Any], business: str, text: str | None = None) -> dict[str, Any]:
    """The Task in another state, with the practice's words in a contained Communication."""
    sent = copy.deepcopy(task)
    sent["status"] = STATUS[business]
    sent["businessStatus"] = {"coding": [{"system": BUSINESS, "code": business}]}
    if text is not None:
        sent["contained"] = [
            {
                "resourceType": "Communication",
                "id": "answer",
                "status": "completed",
                "payload": [{"contentString": text}],
            }
        ]
    return sent


def with_identifiers(bundle: dict[str, Any]) -> dict[str, Any]:
    """The extract with an identifier on each item, so that sending it again finds the same items."""
    for number, entry in enumerate(bundle["entry"]):
        resource = entry["resource"]
        if resource["resourceType"] != "Patient":
            resource["identifier"] = [{"system": "https://practice.example/items", "value": f"item-{number}"}]
    return bundle
