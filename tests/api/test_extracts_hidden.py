"""What its source hides from the person (NOPAT) never reaches the feed, a count or a reference."""

from pathlib import Path

import msgspec
import pytest

from server.storage import feed
from tests.extracts import NOPAT, condition, identified, observation
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


async def test_no_visible_item_names_a_hidden_one(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        visible = observation(
            "seen",
            hasMember=[{"reference": "Observation/hid"}],
            text={
                "status": "generated",
                "div": '<div xmlns="http://www.w3.org/1999/xhtml">see the other</div>',
            },
        )
        report = await world.send_items(visible, observation("hid", **HIDDEN))
        served = only(await world.served_items("Observation"))
        assert "hasMember" not in served
        assert "text" not in served
        assert report["items"][2]["id"] not in msgspec.json.encode(served).decode()
        later = await world.send_items(observation("later", hasMember=[{"reference": "Observation/hid"}]))
        assert later["counts"]["new"] == 1
        assert all("hasMember" not in item for item in await world.served_items("Observation"))


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
