"""What its source hides from the person (NOPAT) never reaches the feed, a count or a reference."""

from pathlib import Path

import pytest

from server.storage import feed
from tests.extracts import NOPAT, Resource, condition, identified, observation
from tests.intake_world import IntakeWorld, intake_world, only

HIDDEN = {"meta": {"security": [NOPAT]}}
STU3_NOPAT = {"system": "http://hl7.org/fhir/v3/ActCode", "code": "NOPAT"}


async def hidden_names(world: IntakeWorld) -> list[str]:
    names = await world.held.parts.storage.read(world.record_id, feed.hidden_names)
    return sorted(name[0] for name in names)


@pytest.mark.parametrize("label", [NOPAT, STU3_NOPAT])
async def test_a_hidden_item_is_kept_beside_the_feed(tmp_path: Path, label: dict[str, str]) -> None:
    async with intake_world(tmp_path) as world:
        report = await world.send_items(
            condition(), observation(meta={"security": [label]}, note=[{"text": "MARKER-h"}])
        )
        assert report["counts"]["new"] == 2
        assert await world.clinical_types() == ["Condition"]
        assert await hidden_names(world) == ["Observation"]
        provenance = only(await world.served_items("Provenance"))
        assert [target["reference"].split("/")[0] for target in provenance["target"]] == ["Condition"]
        hidden_id = report["items"][2]["id"]
        assert (await world.owner.call("GET", f"/fhir/Observation/{hidden_id}")).status_code == 404
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log")
        extract_lines = [entry for entry in log["entries"] if entry["kind"] == "extract"]
        assert extract_lines[0]["sentence"].endswith("1 new item.")
        assert extract_lines[0]["listed"] == 1


async def test_a_reference_to_a_hidden_item_is_as_one_to_nothing(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        hidden = identified(observation("hid", **HIDDEN), "an-identifier")
        report = await world.send_items(referring("hid"), referring("absent"), hidden)
        await world.send_items(referring("hid", "later"))
        served = await world.served_items("Observation")
        assert len(served) == 3
        for item in served:
            (member,) = item["hasMember"]
            assert list(member) == ["reference"]
            assert member["reference"] != f"Observation/{report['items'][3]['id']}"
            assert (await world.owner.call("GET", f"/fhir/{member['reference']}")).status_code == 404
            assert item["performer"] == [
                {"reference": item["performer"][0]["reference"], "display": "Dr Gale"}
            ]
            assert item["text"]["div"]


async def test_a_display_stays_beside_a_reference_to_what_is_there(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await world.send_items(referring("result"), observation("result"))
        await world.send_items(referring("result", "later"))
        served = [item for item in await world.served_items("Observation") if "hasMember" in item]
        assert [item["hasMember"][0]["display"] for item in served] == ["MARKER-said", "MARKER-said"]


async def test_what_cannot_stand_without_a_hidden_item_is_hidden_and_named_by_nothing(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        request = {
            "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
            "medicationReference": {"reference": "Medication/hid"}, "subject": {"reference": "Patient/pat"},
        }  # fmt: skip
        medicine = {"resourceType": "Medication", "id": "hid", **HIDDEN}
        extension = {
            "url": "https://supplier.example/of",
            "valueReference": {"reference": "MedicationRequest/m", "display": "MARKER-said"},
        }
        await world.send_items(observation(extension=[extension]), request, medicine)
        assert await world.clinical_types() == ["Observation"]
        assert await hidden_names(world) == ["Medication", "MedicationRequest"]
        assert "MARKER-said" not in str(await world.served_items("Observation"))


def referring(target: str, source_id: str | None = None) -> Resource:
    """A result that names another, and whoever made it."""
    return observation(
        source_id or f"of-{target}",
        hasMember=[{"reference": f"Observation/{target}", "display": "MARKER-said"}],
        performer=[{"reference": "Practitioner/absent", "display": "Dr Gale"}],
        text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Seen</div>'},
    )


async def test_an_extract_of_hidden_items_alone_moves_no_seq(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        seq = await world.seq()
        for verdict in ("new", "unchanged"):
            report = await world.send_items(observation(**HIDDEN))
            assert report["items"][1]["verdict"] == verdict
        changed = await world.send_items(observation(value="9.9", **HIDDEN))
        assert (changed["items"][1]["verdict"], changed["items"][1]["version"]) == ("changed", 2)
        assert await world.seq() == seq


async def test_an_item_that_becomes_hidden_leaves_the_feed(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        item = identified(condition(text="MARKER-gone"), "c")
        await world.send_items(item)
        logical_id = only(await world.heads("Condition")).logical_id
        await world.send_items(item | HIDDEN)
        assert await world.heads("Condition") == []
        assert (await world.owner.call("GET", f"/fhir/Condition/{logical_id}")).status_code == 404
        history = await world.owner.call("GET", f"/fhir/Condition/{logical_id}/_history/1")
        assert b"MARKER-gone" not in history.content
        assert (await world.send_items(item | HIDDEN))["items"][1]["verdict"] == "unchanged"
        report = await world.send_items(item)
        assert only(await world.heads("Condition")).version == 3
        assert report["items"][1]["verdict"] == "changed"
        assert await hidden_names(world) == []
