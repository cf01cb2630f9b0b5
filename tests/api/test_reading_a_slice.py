"""What a reader of a slice can and cannot learn through /fhir."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest_asyncio

from server.commands.held_client import HeldClient
from tests.held_app import ServedHeld, served_held
from tests.world import AMINA, EVERYONE, OKAFOR, PATEL, Shared, World, extract_for, record_id_of

PROBLEMS = {"current": False, "categories": ["problems", "results"]}
MEDICINES = {"current": False, "categories": ["medicines"]}


class Scene:
    """Amina shares her problems and results with Dr Patel, and her medicines with a pharmacist."""

    def __init__(self, held: ServedHeld) -> None:
        self.world = World(held)

    async def build(self) -> None:
        await self.world.register_integrators()
        self.owner = await self.world.sign_in(AMINA)
        self.record_id = await record_id_of(self.owner)
        await self.world.link(self.owner)
        self.bundle = _with_ids(extract_for(AMINA, "AMINA"))
        assert (await self.world.push(self.bundle))["state"] == "done"
        self.doctor: Shared = await self.world.share(self.owner, PROBLEMS, await self.world.sign_in(PATEL))
        self.pharmacist: Shared = await self.world.share(
            self.owner, MEDICINES, await self.world.sign_in(OKAFOR)
        )

    async def id_of(self, resource_type: str, marker: str) -> str:
        found = await self.owner.expect(200, "GET", f"/fhir/{resource_type}?_count=50")
        return next(entry["resource"]["id"] for entry in found["entry"] if marker in str(entry["resource"]))

    async def log_size(self) -> int:
        checkpoint = await self.owner.expect(200, "GET", f"/records/{self.record_id}/log/checkpoint")
        return checkpoint["size"]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with served_held(tmp_path, EVERYONE) as held:
        made = Scene(held)
        await made.build()
        yield made


async def test_a_page_link_is_worth_nothing_to_the_reader_of_another_grant(scene: Scene) -> None:
    link = await _next_page(scene.doctor.client)
    stolen = await scene.pharmacist.client.call("GET", link)
    nonsense = await scene.pharmacist.client.call("GET", "/fhir/Observation?_page=bm9uc2Vuc2U")
    assert (stolen.status_code, stolen.json()) == (nonsense.status_code, nonsense.json())
    assert stolen.status_code == 400
    own = await scene.doctor.client.call("GET", link)
    assert own.status_code == 200
    assert len(own.json()["entry"]) == 2


async def test_a_page_link_stops_with_the_access(scene: Scene) -> None:
    link = await _next_page(scene.doctor.client)
    path = f"/records/{scene.record_id}/grants/{scene.doctor.grant_id}/end"
    await scene.owner.expect(200, "POST", path, json={})
    refused = await scene.doctor.client.call("GET", link)
    assert refused.status_code == 401
    assert b"AMINA" not in refused.content


async def test_pages_show_each_item_once_and_all_of_them(scene: Scene) -> None:
    seen: list[str] = []
    url: str | None = "/fhir/Observation?_count=2"
    while url:
        page = await scene.doctor.client.expect(200, "GET", url)
        seen += [entry["resource"]["id"] for entry in page["entry"]]
        url = _link(page, "next")
    assert len(seen) == len(set(seen)) == 5


async def test_include_stays_inside_the_view(scene: Scene) -> None:
    problems = await scene.doctor.client.expect(200, "GET", "/fhir/Condition?_include=Condition:encounter")
    assert [entry["resource"]["resourceType"] for entry in problems["entry"]] == ["Condition"]
    prescribed = await scene.pharmacist.client.expect(
        200, "GET", "/fhir/MedicationRequest?_include=MedicationRequest:requester"
    )
    modes = [(entry["resource"]["resourceType"], entry["search"]["mode"]) for entry in prescribed["entry"]]
    assert modes == [("MedicationRequest", "match"), ("Practitioner", "include")]
    everything = await scene.owner.expect(200, "GET", "/fhir/Condition?_include=Condition:encounter")
    assert [entry["search"]["mode"] for entry in everything["entry"]] == ["match", "match", "include"]


async def test_a_hidden_item_looks_like_one_that_never_was(scene: Scene) -> None:
    hidden = await scene.id_of("Condition", "AMINA-depression")
    absent = str(uuid4())
    for path in ("/fhir/Condition/{}", "/fhir/Condition/{}/_history", "/fhir/Condition/{}/_history/1"):
        for method in ("GET", "HEAD"):
            answers = [await scene.doctor.client.call(method, path.format(name)) for name in (hidden, absent)]
            assert _shape(answers[0]) == _shape(answers[1])
            assert answers[0].status_code == 404
            assert hidden not in answers[0].text


async def test_no_search_finds_by_what_is_hidden(scene: Scene) -> None:
    encounter = await scene.id_of("Encounter", "AMINA-encounter")
    found = await scene.doctor.client.expect(200, "GET", f"/fhir/Condition?encounter=Encounter/{encounter}")
    assert "entry" not in found
    assert "total" not in found
    mine = await scene.owner.expect(200, "GET", f"/fhir/Condition?encounter=Encounter/{encounter}")
    assert len(mine["entry"]) == 2


async def test_a_change_to_what_is_hidden_changes_no_byte_for_the_reader(scene: Scene) -> None:
    asthma = await scene.id_of("Condition", "AMINA-asthma")
    paths = (f"/fhir/Condition/{asthma}", f"/fhir/Condition/{asthma}/_history", "/fhir/Condition?_sort=_id")
    before = [_shape(await scene.doctor.client.call("GET", path)) for path in paths]
    changed = _relabelled(scene.bundle, "AMINA-depression", "AMINA-depression, recurring")
    report = await scene.world.push(changed)
    assert report["counts"]["changed"] == 1
    after = [_shape(await scene.doctor.client.call("GET", path)) for path in paths]
    assert after == before


async def test_a_cut_item_tells_no_version_and_gets_its_own_etag(scene: Scene) -> None:
    asthma = await scene.id_of("Condition", "AMINA-asthma")
    mine = await scene.owner.call("GET", f"/fhir/Condition/{asthma}")
    theirs = await scene.doctor.client.call("GET", f"/fhir/Condition/{asthma}")
    assert mine.headers["ETag"] == 'W/"1"'
    assert theirs.headers["ETag"].startswith('W/"r-')
    assert "Last-Modified" not in theirs.headers
    assert "versionId" not in theirs.json().get("meta", {})
    assert "encounter" not in theirs.json()


async def test_a_matching_etag_saves_nobody_but_the_owner(scene: Scene) -> None:
    asthma = f"/fhir/Condition/{await scene.id_of('Condition', 'AMINA-asthma')}"
    for client, status in ((scene.owner, 304), (scene.doctor.client, 200)):
        etag = (await client.call("GET", asthma)).headers["ETag"]
        assert (await client.call("GET", asthma, headers={"If-None-Match": etag})).status_code == status


async def test_head_is_logged_like_the_read_it_is(scene: Scene) -> None:
    asthma = await scene.id_of("Condition", "AMINA-asthma")
    before = await scene.log_size()
    answer = await scene.doctor.client.call("HEAD", f"/fhir/Condition/{asthma}")
    assert answer.status_code == 200
    assert await scene.log_size() == before + 1


async def test_unknown_parameters_are_refused_and_not_ignored(scene: Scene) -> None:
    for query in (
        "colour=blue",
        "code:near=1",
        "_total=accurate",
        "_has:Provenance:target:agent=x",
        "patient.name=x",
    ):
        refused = await scene.doctor.client.call("GET", f"/fhir/Condition?{query}")
        assert refused.status_code == 400, query
        assert refused.json()["resourceType"] == "OperationOutcome"


async def test_the_owner_reads_the_bytes_as_the_source_sent_them(scene: Scene) -> None:
    result = await scene.id_of("Observation", "AMINA-result")
    source = await scene.owner.call("GET", f"/fhir/Observation/{result}/$source")
    assert source.status_code == 200
    assert source.json() in [entry["resource"] for entry in scene.bundle["entry"]]
    assert (await scene.doctor.client.call("GET", f"/fhir/Observation/{result}/$source")).status_code == 404


async def _next_page(client: HeldClient) -> str:
    found = await client.expect(200, "GET", "/fhir/Observation?_count=2")
    link = _link(found, "next")
    assert link is not None
    return link


def _link(bundle: dict[str, Any], relation: str) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == relation), None)


def _shape(answer: httpx.Response) -> tuple[int, object, dict[str, str]]:
    """All of an answer but what changes by itself: the nonce, and the Bundle's own id."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("dpop-nonce", "date")}
    body: Any = answer.json() if answer.content else None
    if isinstance(body, dict) and body.get("resourceType") == "Bundle":
        body = {name: value for name, value in body.items() if name != "id"}
    return answer.status_code, body, headers


def _with_ids(bundle: dict[str, Any]) -> dict[str, Any]:
    """The bundle as a system with stable ids sends it, so that a second send is a change."""
    for entry in bundle["entry"]:
        entry["resource"]["id"] = entry["fullUrl"].removeprefix("urn:uuid:")
    return bundle


def _relabelled(bundle: dict[str, Any], text: str, other: str) -> dict[str, Any]:
    entries = [
        {**entry, "resource": {**entry["resource"], "code": {**entry["resource"]["code"], "text": other}}}
        if entry["resource"].get("code", {}).get("text") == text
        else entry
        for entry in bundle["entry"]
    ]
    return {**bundle, "entry": entries}
