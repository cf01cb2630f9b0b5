"""`make run`, `held demo` and `held import`, each as its own process against a real server."""

import asyncio
import json
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.commands.held_client import HeldClient
from server.commands.sample_patient import made_up_number
from tests.postgres_server import PostgresServer
from tests.running_demo import RunningDemo, running_demo

# Starting the server once for all of them is most of what these tests cost.
pytestmark = pytest.mark.xdist_group("demo")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


def test_demo_json_has_exactly_the_promised_fields_and_only_its_owner_can_read_it(demo: RunningDemo) -> None:
    assert stat.S_IMODE((demo.folder / "demo.json").stat().st_mode) == 0o600
    found = demo.demo
    assert set(found) == {"base_url", "clients", "citizens", "professionals", "integrators"}
    assert found["base_url"] == demo.base_url
    for client in ("phone", "portal"):
        assert set(found["clients"][client]) == {"client_id", "redirect_uri"}
    citizen = {"subject", "name", "nhs_number", "birth_date", "record_id", "patient_id"}
    professional = {"subject", "name", "role_code", "role", "organisation"}
    assert [set(one) for one in found["citizens"]][:5] == [citizen] * 5
    assert [set(one) for one in found["professionals"]] == [professional] * 6
    assert [set(one) for one in found["integrators"]] == [{"client_id", "organisation", "jwk", "kid"}] * 2
    assert all("d" in one["jwk"] for one in found["integrators"])


def test_the_start_says_how_to_be_each_person_and_what_to_try(demo: RunningDemo) -> None:
    told = "\n".join(demo.lines)
    for person in demo.demo["citizens"][:5] + demo.demo["professionals"]:
        assert person["subject"] in told
    for word in ("make demo", "held import --new-person", "demo.json", "login_hint", "Tom Whitaker"):
        assert word in told


def test_no_line_of_the_server_tells_of_a_call_or_a_person(demo: RunningDemo) -> None:
    server_lines = [line for line in demo.lines if line.startswith("timestamp=") or "INFO" in line]
    assert server_lines
    assert not [
        line for line in server_lines if "/fhir/" in line or "login_hint" in line or "/records/" in line
    ]


def test_everyone_in_demo_json_can_sign_in(demo: RunningDemo) -> None:
    for citizen in demo.demo["citizens"]:
        me = asyncio.run(signed_in(demo, "phone", citizen["subject"]))
        assert (me["kind"], me["name"]) == ("citizen", citizen["name"])
        own = {"record_id": citizen["record_id"], "patient_id": citizen["patient_id"]}
        assert [{name: record[name] for name in own} for record in me["records"]] == [own]
    for professional in demo.demo["professionals"]:
        me = asyncio.run(signed_in(demo, "portal", professional["subject"]))
        assert (me["kind"], me["name"]) == ("professional", professional["name"])
    assert {one["subject"].split(":")[0] for one in demo.demo["professionals"]} == {"cis2", "organisation"}


def test_the_journey_is_played_twice_in_a_row(demo: RunningDemo) -> None:
    for _ in range(2):
        played = demo.held("demo")
        assert played.returncode == 0, played.stdout + played.stderr
        assert "✗" not in played.stdout
        assert played.stdout.count("✓") >= 40


def test_a_bundle_is_sent_for_a_citizen_and_again_changes_nothing(demo: RunningDemo, tmp_path: Path) -> None:
    george = demo.demo["citizens"][0]
    file = tmp_path / "weight.json"
    file.write_text(json.dumps(bundle_about(nhs_identifier(george["nhs_number"]), george["birth_date"])))
    first, again = (demo.held("import", "--as", george["nhs_number"], str(file)) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stdout + first.stderr
    assert count(first, "new") == 1
    assert (count(again, "new"), count(again, "changed"), count(again, "unchanged")) == (0, 0, 2)
    assert "quarantined: 1 Observation by rule" in first.stdout
    assert "not-supported: 1 Claim" in first.stdout


def test_a_published_persons_bundle_opens_a_record_that_is_found_again(
    demo: RunningDemo, tmp_path: Path
) -> None:
    identifier = {"system": "https://published.example/mrn", "value": "S-1"}
    file = tmp_path / "sample.json"
    file.write_text(json.dumps(bundle_about(identifier, "1970-05-01")))
    first, again = (demo.held("import", "--new-person", str(file)) for _ in range(2))
    assert first.returncode == again.returncode == 0, first.stdout + first.stderr
    assert (count(first, "new"), count(again, "new"), count(again, "changed")) == (1, 0, 0)
    number = made_up_number("https://published.example/mrn|S-1")
    added = [one for one in demo.demo["citizens"] if one["nhs_number"] == number]
    assert [one["birth_date"] for one in added] == ["1970-05-01"]


def test_what_is_held_refused_or_unknown_fails_the_import(demo: RunningDemo, tmp_path: Path) -> None:
    george, aisha = demo.demo["citizens"][:2]
    nobody = tmp_path / "nobody.json"
    nobody.write_text(json.dumps(bundle_about(nhs_identifier("9993002364"), george["birth_date"])))
    held = demo.held("import", "--as", george["nhs_number"], str(nobody))
    assert held.returncode == 1
    assert ": held" in held.stdout
    hers = tmp_path / "hers.json"
    hers.write_text(json.dumps(bundle_about(nhs_identifier(aisha["nhs_number"]), aisha["birth_date"])))
    refused = demo.held("import", "--as", george["nhs_number"], str(hers))
    assert refused.returncode == 1
    assert "another citizen" in refused.stderr
    broken = tmp_path / "broken.json"
    broken.write_text('{"resourceType":"Bundle","resourceType":"Bundle"}')
    assert demo.held("import", "--as", george["nhs_number"], str(broken)).returncode == 1
    assert demo.held("import", "--new-person", str(broken)).returncode == 1
    assert demo.held("import", "--as", "9990000000", str(nobody)).returncode == 1


def test_made_up_people_need_a_number_of_the_test_range(demo: RunningDemo) -> None:
    person = {"name": "Ada Lovelace", "nhs_number": "9993002194", "birth_date": "1970-05-01"}
    url = f"{demo.base_url}/development/people"
    wrong = [
        {**person, "nhs_number": "9434765919"},
        {**person, "nhs_number": "9993002190"},
        {**person, "birth_date": "1970-13-01"},
        {**person, "name": " "},
        {**person, "more": 1},
    ]
    assert [httpx.post(url, json=one, trust_env=False).status_code // 100 for one in wrong] == [4] * 5
    first, again = (httpx.post(url, json=person, trust_env=False) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    other = httpx.post(url, json={**person, "birth_date": "1971-05-01"}, trust_env=False)
    assert other.status_code == 409


def test_a_second_start_on_the_same_folder_changes_nothing_and_keeps_everyone(demo: RunningDemo) -> None:
    before, entries = (demo.folder / "demo.json").read_bytes(), log_size(demo)
    assert demo.stop(signal.SIGTERM) == 0
    demo.lines.clear()
    demo.start()
    assert (demo.folder / "demo.json").read_bytes() == before
    assert log_size(demo) == entries
    assert not [line for line in demo.lines if "Traceback" in line or " items from " in line]


def test_without_a_demo_the_commands_say_what_to_do(tmp_path: Path) -> None:
    nowhere = RunningDemo(tmp_path, 1, {})
    for words in (("demo",), ("import", "--as", "9993001007", "x.json")):
        done = nowhere.held(*words)
        assert done.returncode == 1
        assert "make run" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_journey_stops_with_a_failure_when_the_server_is_gone(demo: RunningDemo, tmp_path: Path) -> None:
    away = demo.demo | {"base_url": "http://127.0.0.1:1"}
    (tmp_path / "demo.json").write_text(json.dumps(away))
    done = demo.held("demo", "--demo-file", str(tmp_path / "demo.json"))
    assert done.returncode == 1
    assert "Stopped at: George signs in" in done.stderr


@pytest.mark.postgres
def test_the_journey_is_played_twice_on_postgresql_by_four_processes(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    database = asyncio.run(postgres_server.empty_database())
    addresses = {"HELD_DATABASE_URL": database.app_url, "HELD_MIGRATE_URL": database.owner_url}
    with running_demo(tmp_path, **addresses, HELD_WORKERS="4") as running:
        for _ in range(2):
            played = running.held("demo")
            assert played.returncode == 0, played.stdout + played.stderr


def bundle_about(identifier: dict[str, str], birth_date: str) -> dict[str, Any]:
    """A Patient, a good Observation, a broken one and a Claim."""
    subject = {"reference": "urn:uuid:6e6ba0a0-0000-4000-8000-000000000001"}
    good = {
        "resourceType": "Observation",
        "identifier": [{"system": "https://sender.example/Id", "value": f"weight-{identifier['value']}"}],
        "status": "final",
        "code": {"text": "Body weight"},
        "subject": subject,
        "valueQuantity": {"value": 70.1, "unit": "kg"},
    }
    patient = {"resourceType": "Patient", "identifier": [identifier], "birthDate": birth_date}
    broken = {
        **good,
        "identifier": [{"system": "https://sender.example/Id", "value": "x"}],
        "status": "nonsense",
    }
    claim = {"resourceType": "Claim", "patient": subject}
    resources = [patient, good, broken, claim]
    urls = [f"urn:uuid:6e6ba0a0-0000-4000-8000-{place:012}" for place in range(1, 5)]
    entries = [
        {"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
        for url, one in zip(urls, resources, strict=True)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def nhs_identifier(number: str) -> dict[str, str]:
    return {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": number}


def count(done: "subprocess.CompletedProcess[str]", name: str) -> int:
    """The count of this name in the table an import prints."""
    line = next(one for one in done.stdout.splitlines() if one.strip().startswith(f"{name} "))
    return int(line.split()[-1].replace(",", ""))


async def signed_in(running: RunningDemo, client: str, subject: str) -> dict[str, Any]:
    """What `/me` says to someone who has just signed in."""
    async with httpx.AsyncClient(trust_env=False) as http:
        person = HeldClient(http, running.base_url)
        await person.sign_in(running.demo["clients"][client], subject)
        return await person.expect(200, "GET", "/me")


def log_size(running: RunningDemo) -> int:
    """How long the first citizen's log is, asked as that citizen."""

    async def ask() -> int:
        demo = running.demo
        person = demo["citizens"][0]
        async with httpx.AsyncClient(trust_env=False) as http:
            client = HeldClient(http, running.base_url)
            await client.sign_in(demo["clients"]["phone"], person["subject"], record_id=person["record_id"])
            checkpoint = await client.expect(200, "GET", f"/records/{person['record_id']}/log/checkpoint")
            return checkpoint["size"]

    return asyncio.run(ask())
