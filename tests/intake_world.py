"""A citizen who lets a practice push, and the practice's own calls, for tests through the front door."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec

from fhir_profiles.heads import Head
from server.commands.held_client import HeldClient
from server.storage import feed
from server.storage.session import ReadSession
from tests.extracts import Resource, bundle, encoded, patient
from tests.held_app import ServedHeld, served_held
from tests.world import AMINA, EVERYONE, PRACTICE, World, record_id_of

FHIR_JSON = "application/fhir+json"


class IntakeWorld:
    """Amina's record, linked with the practice, whose system is signed in as `sender`."""

    def __init__(self, held: ServedHeld, world: World, owner: HeldClient, sender: HeldClient) -> None:
        self.held = held
        self.world = world
        self.owner = owner
        self.sender = sender
        self.record_id = UUID(int=0)
        self.patient_id = ""

    async def post(
        self,
        body: bytes | Resource,
        *,
        query: str = "",
        sender: HeldClient | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """POST /extracts."""
        content = body if isinstance(body, bytes) else encoded(body)
        sent = {"Content-Type": FHIR_JSON} | (headers or {})
        return await (sender or self.sender).call("POST", f"/extracts{query}", content=content, headers=sent)

    async def send(self, body: bytes | Resource, **how: Any) -> dict[str, Any]:
        """Pushes an extract and answers its final report."""
        response = await self.post(body, **how)
        assert response.status_code == 202, response.text
        return await self.final(response, how.get("sender"))

    async def final(self, response: httpx.Response, sender: HeldClient | None = None) -> dict[str, Any]:
        """The report once nothing is being worked on."""
        await asyncio.wait_for(self.held.parts.intake.settled(), 120)
        return await (sender or self.sender).expect(200, "GET", response.headers["Location"])

    async def send_items(self, *resources: Resource, **how: Any) -> dict[str, Any]:
        """Pushes Amina's Patient and these items."""
        return await self.send(self.about_amina(*resources), **how)

    def about_amina(self, *resources: Resource, kind: str = "collection") -> Resource:
        """A Bundle of Amina's Patient and these items."""
        return bundle([patient(str(AMINA.nhs_number), str(AMINA.birth_date)), *resources], kind)

    async def seq(self) -> int:
        """Where the feed stands."""
        state = await self.held.parts.storage.read(self.record_id, lambda session: session.hot.record_state())
        assert state is not None
        return state[0]

    async def heads(self, resource_type: str | None = None) -> list[Head]:
        """The heads of the live items in the feed, of one type or of all."""

        def read(session: ReadSession) -> list[Head]:
            found = [each.head for each in feed.heads(session, 0, 100_000)]
            return [head for head in found if resource_type in {None, head.resource_type}]

        return await self.held.parts.storage.read(self.record_id, read)

    async def clinical_types(self) -> list[str]:
        """The types in the feed that came from a source, sorted, one for each item."""
        heads = await self.heads()
        return sorted(head.resource_type for head in heads if head.source is not None)

    async def served(self, head: Head) -> bytes:
        """The served bytes of an item."""

        def read(session: ReadSession) -> bytes:
            found = feed.body(session, session.sealer.item_key(head.resource_type, head.logical_id))
            assert found is not None
            return found.body

        return await self.held.parts.storage.read(self.record_id, read)

    async def served_items(self, resource_type: str) -> list[Resource]:
        """The items of a type as the owner gets them."""
        bodies = [await self.served(head) for head in await self.heads(resource_type)]
        return [msgspec.json.decode(body) for body in bodies]


@asynccontextmanager
async def intake_world(folder: Path, *, is_linked: bool = True) -> AsyncIterator[IntakeWorld]:
    """Amina signed in with her record, linked with the practice unless said otherwise."""
    async with served_held(folder, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        made = IntakeWorld(held, world, owner, await world.integrator_client(world.practice))
        made.record_id = UUID(await record_id_of(owner))
        made.patient_id = (await held.parts.records.profile(made.record_id)).patient_id
        if is_linked:
            await world.link(owner, PRACTICE)
        yield made


def verdicts(report: dict[str, Any]) -> dict[str, str]:
    """Pointer -> verdict."""
    return {item["pointer"]: item["verdict"] for item in report["items"]}


def only(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The one item."""
    assert len(items) == 1, items
    return items[0]
