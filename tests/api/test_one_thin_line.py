"""Extract in, granted, redeemed, read, logged, ended: the one line through every wall."""

from pathlib import Path

from tests.held_app import served_held
from tests.world import AMINA, EVERYONE, PATEL, World, extract_for, record_id_of


async def test_one_thin_line_through_every_wall(tmp_path: Path) -> None:
    async with served_held(tmp_path, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        record_id = await record_id_of(owner)
        await world.link(owner)
        report = await world.push(extract_for(AMINA, "AMINA"))
        assert report["state"] == "done", report
        assert report["counts"]["quarantined"] == 0

        doctor = await world.sign_in(PATEL)
        shared = await world.share(owner, {"current": True, "categories": ["medicines"]}, doctor)
        conditions = await shared.client.expect(200, "GET", "/fhir/Condition")
        texts = [entry["resource"]["code"]["text"] for entry in conditions["entry"]]
        assert texts == ["AMINA-asthma"]
        mine = await owner.expect(200, "GET", "/fhir/Condition")
        assert len(mine["entry"]) == 2

        log = await owner.expect(200, "GET", f"/records/{record_id}/log?limit=200")
        searches = [entry for entry in log["entries"] if entry["kind"] == "search"]
        reads = [entry for entry in searches if entry["who"]["name"] != "Amina Yusuf"]
        assert [entry["items"][0][0] for entry in reads] == ["Condition"]

        ending = f"/records/{record_id}/grants/{shared.grant_id}/end"
        receipt = await owner.expect(200, "POST", ending, json={})
        assert [item["type"] for item in receipt["receipt"]["seen"]] == ["Condition"]
        refused = await shared.client.call("GET", "/fhir/Condition")
        assert refused.status_code == 401
        assert b"AMINA" not in refused.content
