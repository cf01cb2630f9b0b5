"""`/records/{record_id}/log` through the front door: every disclosure is there, for the owner alone."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from server.commands.held_client import HeldClient
from sync.log_verifier import Mark, Pin, leaf_of, start_of, verify
from sync.signed_note import NoteKey, open_checkpoint
from tests.held_app import served_held
from tests.world import AMINA, BEN, EVERYONE, PATEL, World, extract_for, record_id_of


class Line:
    """Amina's record, filled, and shared with Dr Patel."""

    def __init__(self, world: World, owner: HeldClient, doctor: HeldClient, record_id: str) -> None:
        self.world = world
        self.owner = owner
        self.doctor = doctor
        self.path = f"/records/{record_id}/log"

    async def log(self, **parameters: int) -> dict[str, Any]:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return await self.owner.expect(200, "GET", f"{self.path}?{query}")

    async def entries(self) -> list[dict[str, Any]]:
        return (await self.log(limit=200))["entries"]


@asynccontextmanager
async def shared_record(tmp_path: Path) -> AsyncIterator[Line]:
    async with served_held(tmp_path, EVERYONE) as held:
        world = World(held)
        await world.register_integrators()
        owner = await world.sign_in(AMINA)
        await world.link(owner)
        await world.push(extract_for(AMINA, "AMINA"))
        shared = await world.share(
            owner, {"current": True, "categories": ["problems"]}, await world.sign_in(PATEL)
        )
        yield Line(world, owner, shared.client, await record_id_of(owner))


async def test_each_answer_with_content_has_its_entry(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        before = len(await line.entries())
        found = await line.doctor.expect(200, "GET", "/fhir/Condition")
        resource = found["entry"][0]["resource"]
        await line.doctor.expect(200, "GET", f"/fhir/Condition/{resource['id']}")
        added = (await line.entries())[before:]
        assert [entry["kind"] for entry in added] == ["search", "read"]
        assert {entry["who"]["name"] for entry in added} == {"Asha Patel"}
        assert added[1]["items"][0][:2] == ["Condition", resource["id"]]
        assert all(entry["sentence"] and entry["at"].endswith("Z") for entry in added)


async def test_reading_the_log_is_not_an_entry(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        before = await line.entries()
        await line.log(limit=10)
        await line.owner.expect(200, "GET", f"{line.path}/checkpoint")
        assert await line.entries() == before


async def test_the_chain_proves_itself_by_what_is_published(tmp_path: Path):
    """Only the formula of the API page, the note and the answer: nothing of the server's is believed."""
    async with shared_record(tmp_path) as line:
        answer = await line.log(limit=200)
        checkpoint = answer["checkpoint"]
        signed = open_checkpoint(checkpoint["note"], NoteKey.from_text(checkpoint["key"]))
        root = hashlib.sha256(bytes.fromhex(signed.origin.rpartition("/")[2])).digest()
        for number, entry in enumerate(answer["entries"], start=1):
            sealed = base64.urlsafe_b64decode(entry["sealed"] + "==")
            leaf = hashlib.sha256(b"\x00" + sealed).digest()
            assert entry["n"] == number
            assert base64.b64decode(entry["hash"]) == leaf
            assert base64.b64decode(entry["prev"]) == root
            root = hashlib.sha256(b"\x01" + root + leaf).digest()
        assert base64.b64decode(checkpoint["root"]) == root == signed.root
        assert checkpoint["size"] == signed.size == len(answer["entries"])
        assert checkpoint["origin"] == signed.origin


async def test_pages_join_without_gap_or_overlap(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        whole = await line.entries()
        joined: list[dict[str, Any]] = []
        while True:
            page = await line.log(after=joined[-1]["n"] if joined else 0, limit=2)
            joined += page["entries"]
            if not page["more"]:
                break
        assert joined == whole
        pin: Any = start_of(bytes.fromhex(page["checkpoint"]["origin"].rpartition("/")[2]))
        for entry in joined:
            sealed = base64.urlsafe_b64decode(entry["sealed"] + "==")
            pin = verify(pin, [Mark(entry["n"], leaf_of(sealed))])
            assert isinstance(pin, Pin)
        assert pin.root == base64.b64decode(page["checkpoint"]["root"])


async def test_the_checkpoint_stands_alone(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        answer = await line.owner.expect(200, "GET", f"{line.path}/checkpoint")
        assert set(answer) == {"origin", "size", "root", "note", "at", "key"}
        assert answer["note"].startswith(
            f"{answer['origin']}\n{answer['size']}\n{answer['root']}\nat {answer['at']}\n\n— "
        )
        assert await line.owner.expect(200, "GET", f"{line.path}/checkpoint") == answer


async def test_nobody_but_the_owner_reads_the_log(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        ben = await line.world.sign_in(BEN)
        practice = await line.world.integrator_client(line.world.practice)
        doctor_without_a_grant = await line.world.sign_in(PATEL)
        for suffix in ("", "/checkpoint"):
            unknown = await ben.call("GET", f"/records/00000000-0000-4000-8000-000000000000/log{suffix}")
            assert unknown.status_code == 404
            for client in (ben, line.doctor, doctor_without_a_grant, practice):
                response = await client.call("GET", line.path + suffix)
                assert (response.status_code, response.content) == (404, unknown.content)
            assert (await line.world.held.http.get(line.path + suffix)).status_code == 401


async def test_parameters_are_taken_up_to_their_bounds_and_no_others(tmp_path: Path):
    async with shared_record(tmp_path) as line:
        for query in ("limit=1", "limit=200", "after=0", "after=9007199254740991"):
            await line.owner.expect(200, "GET", f"{line.path}?{query}")
        out_of_bounds = ("limit=0", "limit=201", "limit=x", "after=-1", "after=9007199254740992")
        for query in (*out_of_bounds, "who=me", "limit=1&limit=2", "_count=1"):
            response = await line.owner.call("GET", f"{line.path}?{query}")
            assert response.status_code == 400, query
            assert response.headers["content-type"].startswith("application/problem+json")
