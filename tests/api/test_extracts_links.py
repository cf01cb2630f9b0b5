"""A citizen chooses who may push; an organisation learns of its own links and of nobody else's."""

from pathlib import Path

from tests.extracts import observation
from tests.intake_world import intake_world, only
from tests.world import AMINA, BEN, HOSPITAL, PRACTICE, record_id_of


async def test_a_citizen_links_and_ends_and_links_again(tmp_path: Path) -> None:
    async with intake_world(tmp_path, is_linked=False) as world:
        path = f"/records/{world.record_id}/links"
        before = await world.owner.expect(200, "GET", path)
        assert before == {
            "links": [],
            "available": [
                {"organisation": PRACTICE, "name": "Beeston Practice"},
                {"organisation": HOSPITAL, "name": "Leeds Hospital"},
            ],
        }
        made = await world.owner.expect(201, "POST", path, json={"organisation": PRACTICE})
        assert made == {
            "organisation": PRACTICE, "name": "Beeston Practice", "state": "accepted", "connected": False,
        }  # fmt: skip
        await world.send_items(observation())
        after = await world.owner.expect(200, "GET", path)
        link = only(after["links"])
        assert link["connected"]
        assert link["last_extract_at"].endswith("Z")
        assert [one["organisation"] for one in after["available"]] == [HOSPITAL]

        ended = await world.owner.call("DELETE", f"{path}/{PRACTICE}")
        assert (ended.status_code, ended.content) == (204, b"")
        assert (await world.owner.call("DELETE", f"{path}/{PRACTICE}")).status_code == 204
        assert only((await world.owner.expect(200, "GET", path))["links"])["state"] == "ended"
        assert (await world.send_items(observation(value="1.0")))["state"] == "held"
        await world.owner.expect(201, "POST", path, json={"organisation": PRACTICE})
        assert (await world.send_items(observation(value="1.0")))["counts"]["changed"] == 1


async def test_what_cannot_be_linked_is_not_found(tmp_path: Path) -> None:
    async with intake_world(tmp_path, is_linked=False) as world:
        path = f"/records/{world.record_id}/links"
        unknown = await world.owner.call("POST", path, json={"organisation": "X0000"})
        assert unknown.status_code == 404
        assert (
            await world.owner.call("POST", path, json={"organisation": PRACTICE, "x": 1})
        ).status_code == 400
        assert (await world.owner.call("POST", path, json={})).status_code == 400
        assert (await world.owner.call("DELETE", f"{path}/{PRACTICE}")).status_code == 404


async def test_nobody_but_the_owner_sees_or_changes_links(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        path = f"/records/{world.record_id}/links"
        ben = await world.world.sign_in(BEN)
        calls = [
            ("GET", path, {}),
            ("POST", path, {"json": {"organisation": HOSPITAL}}),
            ("DELETE", f"{path}/{PRACTICE}", {}),
        ]
        for method, where, options in calls:
            refused = await ben.call(method, where, **options)
            never = await ben.call(
                method, where.replace(str(world.record_id), "0" * 8 + str(world.record_id)[8:]), **options
            )
            assert (refused.status_code, refused.content) == (never.status_code, never.content)
            assert refused.status_code == 404
            assert (await world.sender.call(method, where, **options)).status_code in {403, 404}
        assert len((await world.owner.expect(200, "GET", path))["links"]) == 1


async def test_an_organisation_is_told_of_changes_since_its_cursor(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        first = await world.sender.expect(200, "GET", "/extracts/links")
        amina = only(first["links"])
        assert (amina["nhs_number"], amina["state"]) == (AMINA.nhs_number, "accepted")
        assert (await world.sender.expect(200, "GET", f"/extracts/links?since={first['cursor']}"))[
            "links"
        ] == []

        ben = await world.world.sign_in(BEN)
        await world.world.link(ben)
        await world.owner.call("DELETE", f"/records/{world.record_id}/links/{PRACTICE}")
        since = await world.sender.expect(200, "GET", f"/extracts/links?since={first['cursor']}")
        assert [(one["nhs_number"], one["state"]) for one in since["links"]] == [
            (BEN.nhs_number, "accepted"),
            (AMINA.nhs_number, "ended"),
        ]
        hospital = await world.world.integrator_client(world.world.hospital)
        assert (await hospital.expect(200, "GET", "/extracts/links"))["links"] == []
        foreign = await hospital.call("GET", f"/extracts/links?since={since['cursor']}")
        assert foreign.status_code == 400
        assert (await record_id_of(ben)) not in str(since)


async def test_a_made_up_cursor_is_refused(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        for cursor in ("x", "AAAA", "%00", "a" * 300, "é"):
            assert (await world.sender.call("GET", f"/extracts/links?since={cursor}")).status_code == 400, (
                cursor
            )


async def test_linking_twice_is_told_once(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        first = await world.sender.expect(200, "GET", "/extracts/links")
        await world.world.link(world.owner)
        again = await world.sender.expect(200, "GET", f"/extracts/links?since={first['cursor']}")
        assert again["links"] == []
