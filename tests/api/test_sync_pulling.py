"""What a phone is given: pages, first loads, digests and repairs (SYNC 3.1, 3.2, 3.7, 3.8)."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlmodel import col

from server.storage.session import WriteSession
from server.storage.tables import RecordRow
from sync.digest import Digest, bucket_of, entry_hash
from tests.api.phones import (
    Phone,
    Scene,
    blood_pressure,
    create,
    delete,
    new_phone,
    opened_scene,
    patch,
    weight,
)
from tests.world import AMINA, extract_for

Rows = dict[tuple[str, str], dict[str, Any]]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened_scene(tmp_path) as opened:
        yield opened


async def test_a_first_pull_brings_the_whole_record_and_a_second_nothing(scene: Scene) -> None:
    page = await scene.phone.changes()
    assert page.keys() == {"cursor", "changes", "checkpoint", "digest"}
    assert {row["type"] for row in page["changes"]} >= {"Patient", "Condition", "Observation", "Provenance"}
    assert {row["by"] for row in page["changes"]} == {"held", "B86001"}
    assert len({row.get("batch") for row in page["changes"]}) == 2
    again = await scene.phone.changes(page["cursor"])
    assert again.keys() == {"cursor", "checkpoint", "digest"}
    assert (again["cursor"], again["digest"]) == (page["cursor"], page["digest"])


async def test_the_bytes_of_a_row_are_those_that_are_served(scene: Scene) -> None:
    response = await scene.phone.call("GET", "changes")
    for row in response.json()["changes"]:
        served = await scene.client.call("GET", f"/fhir/{row['type']}/{row['id']}")
        assert served.content in response.content


async def test_pages_of_any_size_end_in_the_same_replica(scene: Scene) -> None:
    await scene.phone.one(create(weight(71)))
    whole = await scene.phone.changes()
    for limit, size in ((1, 1_000_000), (3, 1_000_000), (500, 1), (500, 2_000), (7, 3_000)):
        rows: Rows = {}
        cursor: str | None = None
        more = True
        while more:
            page = await scene.phone.changes(cursor, limit=limit, bytes=size)
            assert len(page["changes"]) <= limit
            assert ("digest" in page) == ("more" not in page)
            apply(rows, page)
            cursor, more = page["cursor"], page.get("more", False)
        assert rows == apply({}, whole)
        assert (cursor, page["digest"]) == (whole["cursor"], whole["digest"])


async def test_the_digest_is_that_of_the_rows(scene: Scene) -> None:
    made = create(blood_pressure(120, 80))
    await scene.phone.one(made)
    await scene.phone.one(patch(made, 1, {"note": [{"text": "x"}]}))
    dropped = create(weight(1))
    await scene.phone.push(dropped, delete(dropped, 1, after=dropped["mid"]))
    response = await scene.phone.call("GET", "changes")
    rows = raw_rows(response.content)
    key = base64.urlsafe_b64decode(scene.phone.registered["digestKey"] + "=")
    assert digest_of(rows, key) == response.json()["digest"]
    one = next(row for row in rows if row["op"] == "put")
    for changed in ({"version": one["version"] + 1}, {"raw": one["raw"] + b" "}, {"id": "other"}):
        assert (
            digest_of([*(r for r in rows if r is not one), one | changed], key) != response.json()["digest"]
        )
    assert digest_of([row for row in rows if row is not one], key) != response.json()["digest"]


async def test_an_idle_phone_gets_304_until_something_changes_or_somebody_looks(scene: Scene) -> None:
    page = await scene.phone.changes()
    headers = {"If-None-Match": f'"{page["cursor"]}"', "Sync-Log": size_of(page)}
    headers["Sync-Digest"] = f"{page['cursor']}:{page['digest']}"
    idle = await scene.phone.call("GET", f"changes?since={page['cursor']}&wait=50", headers=headers)
    assert (idle.status_code, idle.content) == (304, b"")
    assert idle.headers["ETag"] == f'"{page["cursor"]}"'
    assert sum(len(name) + len(value) + 4 for name, value in idle.headers.raw) < 580
    wrong = headers | {"Sync-Digest": f"{page['cursor']}:{'0' * 64}"}
    repair = await scene.phone.call("GET", f"changes?since={page['cursor']}", headers=wrong)
    assert (repair.status_code, repair.json()["repair"]) == (200, True)
    await scene.owner.expect(200, "GET", "/fhir/Condition")
    scene.world.held.parts.storage.clock_offset = timedelta(seconds=61)
    scene.client.key.seconds_ahead = scene.other.client.key.seconds_ahead = 61
    seen = await scene.phone.call("GET", f"changes?since={page['cursor']}", headers=headers)
    assert seen.status_code == 200
    assert int(size_of(seen.json())) > int(size_of(page))
    await scene.other.one(create(weight(71)))
    del headers["Sync-Log"]
    changed = await scene.phone.call("GET", f"changes?since={page['cursor']}", headers=headers)
    assert [row["type"] for row in changed.json()["changes"]] == ["Observation"]


async def test_a_cursor_is_of_one_phone_and_one_record(scene: Scene) -> None:
    cursor = (await scene.phone.changes())["cursor"]
    flipped = cursor[:-2] + ("AA" if cursor[-2:] != "AA" else "BB")
    for since in (
        "",
        "x",
        "é",
        cursor[:-4],
        flipped,
        "A" * len(cursor),
        (await scene.other.changes())["cursor"],
    ):
        refused = await scene.phone.call("GET", "changes", params={"since": since})
        assert (refused.status_code, refused.json()["code"]) == (410, "reset"), since
        assert refused.json()["snapshot"] == f"{scene.phone.base}/snapshot"
    too_long = await scene.phone.call("GET", "changes", params={"since": "A" * 129})
    assert too_long.status_code == 400


async def test_a_restored_server_leads_every_phone_to_a_reset(scene: Scene) -> None:
    cursor = (await scene.phone.changes())["cursor"]
    name = (await snapshot(scene.phone))["segments"][0]["hash"]
    made = create(weight(71))
    kept = await scene.phone.one(made)
    await change_record(scene, epoch=7)
    refused = await scene.phone.call("GET", f"changes?since={cursor}")
    assert (refused.status_code, refused.json()["code"]) == (410, "reset")
    assert (await scene.phone.call("GET", f"segments/{name}")).json()["code"] == "reset"
    assert (await scene.phone.one(made)) == kept | {"repeat": True}
    assert (await snapshot(scene.phone))["epoch"] == f"{7:016x}"
    fresh = await scene.phone.changes()
    assert made["id"] in {row["id"] for row in fresh["changes"]}


async def test_a_cursor_above_the_head_or_below_the_floor_is_reset(scene: Scene) -> None:
    first = (await scene.phone.changes(limit=1))["cursor"]
    head = (await scene.phone.changes())["cursor"]
    await change_record(scene, floor=5)
    assert (await scene.phone.call("GET", f"changes?since={first}")).json()["code"] == "reset"
    assert (await scene.phone.call("GET", f"changes?since={head}")).status_code == 200
    assert (await scene.phone.call("GET", "changes")).status_code == 200
    await change_record(scene, seq=6)
    assert (await scene.phone.call("GET", f"changes?since={head}")).json()["code"] == "reset"


async def test_a_first_load_in_segments_is_the_same_as_pulling_from_the_beginning(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.push(made, create(weight(72)))
    await scene.phone.one(delete(made, 1))
    listed = await snapshot(scene.phone)
    rows: Rows = {}
    for segment in listed["segments"]:
        response = await scene.phone.call("GET", f"segments/{segment['hash']}")
        lines = [json.loads(line) for line in response.content.splitlines()]
        assert len(lines) == segment["count"]
        apply(rows, {"changes": lines})
    await scene.other.one(create(weight(73)))
    tail = await scene.phone.changes(listed["cursor"])
    assert len(tail["changes"]) == 1
    whole = await scene.phone.changes()
    assert apply(rows, tail) == apply({}, whole)
    assert tail["digest"] == whole["digest"]
    assert listed["count"] == len(rows) - 1
    assert (await scene.phone.call("GET", "segments/AAAA")).status_code == 404


async def test_a_difference_is_found_in_two_steps_and_fetched(scene: Scene) -> None:
    made = create(weight(71))
    await scene.phone.one(made)
    head = (await scene.phone.changes())["cursor"]
    children = await digest(scene.phone, at=head, prefix="", depth=2)
    assert sum(count for _, count in children["children"].values()) == (await snapshot(scene.phone))["count"]
    key = base64.urlsafe_b64decode(scene.phone.registered["digestKey"] + "=")
    prefix = f"{bucket_of(key, 'Observation', made['id']):02x}"
    leaves = (await digest(scene.phone, at=head, prefix=prefix))["leaves"]
    assert ["Observation", made["id"], 1] in [leaf[:3] for leaf in leaves]
    upper = await digest(scene.phone, at=head, prefix="", depth=1)
    lower = await digest(scene.phone, at=head, prefix=prefix[0])
    assert sum(count for _, count in lower["children"].values()) == upper["children"][prefix[0]][1]
    asked = {"items": [["Observation", made["id"]], ["Condition", "never-was"]]}
    fetched = (await scene.phone.call("POST", "fetch", json=asked)).json()
    assert [(row["op"], row["id"], row["version"]) for row in fetched["changes"]] == [
        ("put", made["id"], 1),
        ("gone", "never-was", 0),
    ]
    await scene.phone.one(create(weight(72)))
    moved = await scene.phone.call("GET", "digest", params={"at": head})
    assert (moved.status_code, moved.json()["code"]) == (412, "moved")


async def test_an_item_its_source_now_hides_leaves_every_phone_at_its_next_pull(scene: Scene) -> None:
    bundle = extract_for(AMINA, "AMINA")
    asthma = next(e for e in bundle["entry"] if "asthma" in str(e["resource"].get("code", {}).get("text")))
    asthma["resource"]["identifier"] = [{"system": "urn:x", "value": "asthma"}]
    asthma["resource"]["code"]["text"] = "AMINA-soon-hidden"
    await scene.world.push(bundle)
    page = await scene.phone.changes()
    ours = [row for row in page["changes"] if row["type"] == "Condition" and "identifier" in row["body"]]
    listed = await snapshot(scene.phone)
    asthma["resource"]["meta"] = {
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}]
    }
    await scene.world.push(bundle)
    after = await scene.phone.changes(page["cursor"])
    gone = [row for row in after["changes"] if row["id"] == ours[0]["id"]]
    assert [(row["op"], "body" in row) for row in gone] == [("gone", False)]
    for segment in listed["segments"]:
        rows = (await scene.phone.call("GET", f"segments/{segment['hash']}")).text
        assert f'"id":"{ours[0]["id"]}","version"' not in rows
        assert "AMINA-soon-hidden" not in rows
    asked = {"items": [["Condition", ours[0]["id"]]]}
    fetched = (await scene.phone.call("POST", "fetch", json=asked)).json()["changes"]
    assert [row["op"] for row in fetched] == ["gone"]


@pytest.mark.parametrize(
    ("offered", "used"),
    [("zstd, gzip", "zstd"), ("gzip", "gzip"), ("zstd;q=0, gzip;q=0.5", "gzip"), ("br", None), ("", None)],
)
async def test_an_answer_is_packed_as_the_phone_can_read_it(
    scene: Scene, offered: str, used: str | None
) -> None:
    response = await scene.phone.call("GET", "changes", headers={"Accept-Encoding": offered})
    assert response.headers.get("Content-Encoding") == used
    assert len(response.json()["changes"]) > 10
    small = await scene.phone.call(
        "GET", "../../heads".replace("../../", ""), headers={"Accept-Encoding": offered}
    )
    assert small.status_code == 404


async def test_heads_say_where_each_record_stands(scene: Scene) -> None:
    page = await scene.phone.changes()
    heads = await scene.client.expect(200, "GET", "/sync/v1/heads")
    assert heads == {scene.phone.record_id: page["cursor"]}


async def test_another_version_of_the_protocol_is_told_to_upgrade(scene: Scene) -> None:
    accept = {"Accept": "application/vnd.held.sync+json;v=0"}
    refused = await scene.phone.call("GET", "changes", headers=accept)
    assert (refused.status_code, refused.json()["code"]) == (426, "upgrade")
    several = {
        "Accept": "text/html, application/vnd.held.sync+json;v=2, application/vnd.held.sync+json;v=1;q=0.5"
    }
    assert (await scene.phone.call("GET", "changes", headers=several)).status_code == 200
    headers = {"Content-Type": "application/vnd.held.sync+json; v=0"}
    refused = await scene.phone.call("POST", "fetch", content=b'{"items":[]}', headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (426, "upgrade")


async def test_what_a_newer_phone_adds_is_not_minded(scene: Scene) -> None:
    body = {"deviceId": scene.phone.device_id, "mutations": [create(weight(71), mood="fine")], "colour": 1}
    pushed = await scene.phone.call("POST", "mutations", json=body)
    assert pushed.json()["results"][0]["outcome"] == "applied"


async def test_a_third_phone_starts_from_nothing_and_ends_with_all(scene: Scene) -> None:
    await scene.phone.push(create(weight(71)), create(weight(72)))
    third = await new_phone(scene.world, AMINA)
    assert (await third.changes())["digest"] == (await scene.phone.changes())["digest"]


def apply(rows: Rows, page: dict[str, Any]) -> Rows:
    """The replica after a page."""
    for row in page.get("changes", []):
        if row["op"] == "put":
            rows[row["type"], row["id"]] = row
        else:
            rows.pop((row["type"], row["id"]), None)
    return rows


def size_of(page: dict[str, Any]) -> str:
    """How long the log is, as the page's checkpoint says."""
    return page["checkpoint"].split("\n")[1]


def raw_rows(content: bytes) -> list[dict[str, Any]]:
    """The rows with the very bytes of their bodies."""
    rows: list[dict[str, Any]] = []
    decoder = json.JSONDecoder()
    text = content.decode()
    for row in json.loads(content)["changes"]:
        if row["op"] == "put":
            start = text.index(f'"id":"{row["id"]}","version"')
            start = text.index('"body":', start) + len('"body":')
            _, end = decoder.raw_decode(text, start)
            row["raw"] = text[start:end].encode()
        rows.append(row)
    return rows


def digest_of(rows: list[dict[str, Any]], key: bytes) -> str:
    """The root, counted as a phone counts it."""
    digest = Digest()
    for row in rows:
        if row["op"] == "put":
            entry = entry_hash(key, row["type"], row["id"], version=row["version"], body=row["raw"])
            digest.add(bucket_of(key, row["type"], row["id"]), entry)
    return digest.root(key).hex()


async def snapshot(phone: Phone) -> dict[str, Any]:
    """The list of segments."""
    response = await phone.call("GET", "snapshot")
    assert response.status_code == 200
    return response.json()


async def digest(phone: Phone, **query: Any) -> dict[str, Any]:
    """Part of the server's digest."""
    response = await phone.call("GET", "digest", params=query)
    assert response.status_code == 200, response.text
    return response.json()


async def change_record(scene: Scene, **columns: int) -> None:
    """What a restore, or an accident, does to the record's row."""

    def change(session: WriteSession) -> None:
        session.execute(
            sa.update(RecordRow).where(col(RecordRow.record_id) == session.record_id).values(**columns)
        )

    await scene.world.held.parts.storage.write(UUID(scene.phone.record_id), change)
