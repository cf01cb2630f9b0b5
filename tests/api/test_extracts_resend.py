"""A sender may repeat, retry and hurry: the same changes nothing, a change is one new version (T6)."""

import asyncio
from pathlib import Path
from uuid import uuid4

from tests.extracts import condition, encoded, identified, observation
from tests.intake_world import IntakeWorld, intake_world, only, verdicts


async def test_an_identical_resend_makes_no_version_and_moves_no_seq(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation(), identified(condition(), "c")))
        first = await world.send(extract)
        seq, heads = await world.seq(), await world.heads()
        again = await world.send(extract)
        assert again["extract_id"] != first["extract_id"]
        assert again["counts"]["unchanged"] == 3
        assert [item["id"] for item in again["items"]] == [item["id"] for item in first["items"]]
        assert [item.get("version") for item in again["items"]] == [None, 1, 1]
        assert (await world.seq(), await world.heads()) == (seq, heads)


async def test_a_transaction_sent_again_under_other_passing_names_changes_nothing(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        for verdict in ("new", "unchanged"):
            extract = world.about_amina(kind="transaction")
            urn = f"urn:uuid:{uuid4()}"
            extract["entry"][0]["fullUrl"] = urn
            item = condition(subject={"reference": urn})
            del item["id"]
            request = {"method": "POST", "url": "Condition"}
            named = {"fullUrl": f"urn:uuid:{uuid4()}", "resource": item, "request": request}
            extract["entry"].append(named)
            report = await world.send(extract)
            assert verdicts(report)["/entry/1/resource"] == verdict


async def test_a_changed_item_is_one_new_version_and_the_rest_stays(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await world.send_items(observation(value="7.40"), condition())
        seq = await world.seq()
        report = await world.send_items(condition(), observation(value="7.4"))
        assert list(verdicts(report).values()) == ["unchanged", "unchanged", "changed"]
        assert report["items"][2]["version"] == 2
        # The new version and the Provenance that says where it came from.
        assert await world.seq() == seq + 2
        body = await world.served(only(await world.heads("Observation")))
        assert b'"value":7.4,' in body


async def test_an_item_sent_twice_in_one_extract_is_one_item(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        report = await world.send_items(observation(), observation(), condition())
        assert list(verdicts(report).values()) == ["unchanged", "new", "unchanged", "new"]
        assert report["items"][2]["rule"] == "sent-twice"
        assert report["items"][1]["id"] == report["items"][2]["id"]
        assert await world.clinical_types() == ["Condition", "Observation"]


async def test_items_that_share_an_identifier_are_all_kept(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        items = [identified(condition("a"), "same"), identified(condition("b", "Eczema"), "same")]
        assert (await world.send_items(*items))["counts"]["new"] == 2
        assert (await world.send_items(*reversed(items)))["counts"]["unchanged"] == 3


async def test_the_same_key_and_body_is_the_same_extract(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation()))
        key = {"Idempotency-Key": "a-key"}
        first = await world.post(extract, headers=key)
        await world.final(first)
        again = await world.post(extract, headers=key)
        assert again.status_code == 202
        assert again.headers["Location"] == first.headers["Location"]
        assert again.json()["state"] == "done"
        other = await world.post(encoded(world.about_amina(condition())), headers=key)
        assert other.status_code == 422
        other_extent = await world.post(extract, headers=key, query="?extent=full")
        assert other_extent.status_code == 422
        assert await world.clinical_types() == ["Observation"]


async def test_two_organisations_may_use_the_same_key(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation()))
        hospital = await world.world.integrator_client(world.world.hospital)
        await world.world.link(world.owner, world.world.hospital.organisation)
        key = {"Idempotency-Key": "1"}
        mine = await world.send(extract, headers=key)
        theirs = await world.send(extract, headers=key, sender=hospital)
        assert mine["extract_id"] != theirs["extract_id"]
        # The same fact from two sources stands side by side.
        assert len(await world.heads("Observation")) == 2


async def test_many_copies_at_once_make_one_version(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(*[observation(f"o{index}") for index in range(30)]))
        answers = await asyncio.gather(*(world.post(extract) for _ in range(4)))
        assert {answer.status_code for answer in answers} == {202}
        reports = [await world.final(answer) for answer in answers]
        assert sum(report["counts"]["new"] for report in reports) == 30
        assert {head.version for head in await world.heads("Observation")} == {1}


async def test_parallel_use_of_one_key_makes_one_extract(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation()))
        answers = await asyncio.gather(
            *(world.post(extract, headers={"Idempotency-Key": "k"}) for _ in range(4))
        )
        assert {answer.status_code for answer in answers} <= {202, 409}
        assert len({answer.headers["Location"] for answer in answers if answer.status_code == 202}) == 1
        await world.held.parts.intake.settled()
        assert len(await world.heads("Observation")) == 1


async def test_more_than_eight_in_hand_are_asked_to_wait(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        extract = encoded(world.about_amina(observation()))
        turn = asyncio.Lock()
        world.held.parts.intake._background._record_turns[world.record_id] = turn
        async with turn:
            answers = [await world.post(extract) for _ in range(9)]
        assert [answer.status_code for answer in answers] == [202] * 8 + [429]
        assert answers[8].headers["Retry-After"] == "5"
        await world.held.parts.intake.settled()
        assert (await world.post(extract, query="?dry_run=true")).status_code == 202


async def test_a_dry_run_reports_and_keeps_nothing(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        seq = await world.seq()
        extract = world.about_amina(observation(), condition("x" * 65))
        answer = await world.post(extract, query="?dry_run=true", headers={"Idempotency-Key": "k"})
        report = answer.json()
        assert (report["dry_run"], report["state"]) == (True, "done")
        assert list(verdicts(report).values()) == ["unchanged", "new", "quarantined"]
        assert "Location" not in answer.headers
        location = f"/extracts/{report['extract_id']}"
        assert (await world.sender.call("GET", location)).status_code == 404
        assert await world.seq() == seq
        log = await world.owner.expect(200, "GET", f"/records/{world.record_id}/log")
        assert not [entry for entry in log["entries"] if entry["kind"] == "extract"]
        real = await world.send(extract, headers={"Idempotency-Key": "k"})
        assert verdicts(real) == verdicts(report)
        assert [item.get("id") for item in real["items"]] == [item.get("id") for item in report["items"]]


async def test_a_dry_run_for_the_wrong_person_has_the_same_face(tmp_path: Path) -> None:
    async with intake_world(tmp_path, is_linked=False) as world:
        held = (await world.post(world.about_amina(observation()), query="?dry_run=true")).json()
        assert (held["state"], held["items"]) == ("held", [])


async def test_the_extent_is_told_in_the_report(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        for extent in ("full", "partial"):
            report = await world.send(world.about_amina(observation()), query=f"?extent={extent}")
            assert report["extent"] == extent


async def test_items_of_two_extracts_interleaved_end_as_the_last_one_says(tmp_path: Path) -> None:
    async with intake_world(tmp_path) as world:
        await asyncio.gather(*(send_value(world, f"{value}.0") for value in range(1, 5)))
        head = only(await world.heads("Observation"))
        assert head.version == 4
        assert len(await world.heads("Provenance")) == 4


async def send_value(world: IntakeWorld, value: str) -> None:
    answer = await world.post(world.about_amina(observation(value=value)))
    assert answer.status_code == 202
    await world.final(answer)
