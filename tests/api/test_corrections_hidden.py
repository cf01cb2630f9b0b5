"""What is questioned outside a recipient's slice changes nothing they can see (THREATS T28)."""

from pathlib import Path
from typing import Any

from fhir_profiles.catalogue import CATALOGUE
from server.commands.held_client import HeldClient
from tests.api.correction_world import CorrectionWorld
from tests.held_app import served_held
from tests.world import EVERYONE, PATEL

SLICE = {"current": True, "categories": ["results", "consultations"]}


async def test_questioning_what_is_kept_back_changes_no_answer(tmp_path: Path) -> None:
    async with served_held(tmp_path, EVERYONE) as held:
        world = await CorrectionWorld(held).begin()
        desk = await world.world.sign_in(PATEL)
        reader = (await world.world.share(world.owner, SLICE, desk)).client
        hidden = await world.item("Condition", "AMINA-depression")
        before = await transcript(reader, hidden["id"])
        assert any("AMINA-asthma" in text for text in before.values())
        assert not any("AMINA-depression" in text for text in before.values())

        asked = await world.question(f"Condition/{hidden['id']}", should_say="It never was.")
        assert await transcript(reader, hidden["id"]) == before
        path = world.path(asked["correction_id"], "message")
        await world.owner.expect(200, "POST", path, json={"text": "Please look."})
        await world.move(asked["task_id"], "in-review", "partial-accept")
        assert await transcript(reader, hidden["id"]) == before
        await world.amend("AMINA-depression", "AMINA-depression, mild")
        await world.move(asked["task_id"], "amendment-completed", text="Put right.")
        path = world.path(asked["correction_id"], "disagree")
        await world.owner.expect(201, "POST", path, json={"statement": "It never was."})
        assert await transcript(reader, hidden["id"]) == before
        assert (await desk.expect(200, "GET", "/notices"))["notices"] == []
        assert (await world.listed(asked["correction_id"]))["followed"]["people"] == []


async def transcript(reader: HeldClient, hidden_id: str) -> dict[str, str]:
    """Every answer the reader can get, without the Bundle's own random id."""
    answers: dict[str, str] = {}
    for resource_type in CATALOGUE:
        path = f"/fhir/{resource_type}?_count=200"
        found = await reader.expect(200, "GET", path)
        entries: list[dict[str, Any]] = found.get("entry", [])
        answers[path] = str((found["link"], entries))
        for entry in entries[:3]:
            one = f"/fhir/{resource_type}/{entry['resource']['id']}"
            read = await reader.call("GET", one)
            kept = ("etag", "last-modified", "content-length")
            answers[one] = str([read.text, *(read.headers.get(name) for name in kept)])
    unseen = await reader.call("GET", f"/fhir/Condition/{hidden_id}")
    answers["hidden"] = str([unseen.status_code, unseen.text])
    return answers
