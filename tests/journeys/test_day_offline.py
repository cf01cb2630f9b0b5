"""A day without a connection: what was done then takes effect once, whatever becomes of phone and line."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.commands.held_client import OFFER_CODE, REDEMPTION, HeldClient
from tests.cutting_proxy import Line, bad_line
from tests.phone_cli import PhoneInAFolder, named_in, replica_of, sync_until_up_to_date
from tests.running_demo import RunningDemo, free_port, running_demo

pytestmark = pytest.mark.slow

WITHOUT_A_WAY_OUT = ("unshare", "--user", "--map-root-user", "--net")
READINGS = 18
KILLED_AFTER_SECONDS = (0.15, 0.3)
DOCTOR = "cis2:samuel-adeyemi"


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    with bad_line(free_port(), free_port()) as opened:
        yield opened


@pytest.fixture(scope="module")
def demo(line: Line, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    """A demo that the phones reach by the line alone."""
    settings = {"HELD_BASE_URL": line.address, "HELD_PORT": str(line.server_port)}
    with running_demo(tmp_path_factory.mktemp("day") / "var", **settings) as running:
        yield running


def test_a_day_offline_takes_effect_once(demo: RunningDemo, line: Line, tmp_path: Path) -> None:
    phone, tablet = (
        PhoneInAFolder(tmp_path / "phone", demo.folder),
        PhoneInAFolder(tmp_path / "tablet", demo.folder),
    )
    for one in (phone, tablet):
        one.do("init", "--as", "Margaret Ellis", "--name", one.folder.name)
    grant = _shared_with_the_doctor(phone, demo)
    before = _until(phone, grant)
    tablet.do("sync")

    phone.inside = _without_a_way_out()
    assert "There is no connection." in phone.run("sync").stdout
    _do_twenty_things(phone, grant)
    assert "20 changes waiting." in phone.do("status")
    phone.back_up(tmp_path / "backup")

    later = "2026-12-24" if before < "2026-12-24" else "2027-06-30"
    assert "proved at" in tablet.do("extend", grant, "--until", later)
    assert _until(tablet, grant) != before

    phone.inside = ()
    line.cut_every(3)
    said = phone.kill_during(1.5, "sync")
    assert "success" not in said.stdout
    phone.run("sync")
    phone.put_back(tmp_path / "backup")
    sync_until_up_to_date(phone, tries=40)
    assert line.cut, "the line cut nothing"
    line.be_good()
    for one in (phone, tablet, phone):
        sync_until_up_to_date(one, tries=3)

    _took_effect_once(phone, grant)
    _took_effect_once(tablet, grant)
    assert replica_of(phone) == replica_of(tablet)
    assert replica_of(phone)[0] is not None
    phone.do("verify")


def _do_twenty_things(phone: PhoneInAFolder, grant: str) -> None:
    """Readings, a question and an end; two of the readings while the battery goes."""
    for number in range(READINGS):
        if number in {5, 11}:
            phone.kill_during(KILLED_AFTER_SECONDS[number > 5], "add", "weight", _kilograms(number))
        if _kilograms(number) not in phone.do("list", "self-recorded"):
            phone.do("add", "weight", _kilograms(number))
    (problem, *_) = named_in(phone.do("list", "problems"), "Condition")
    phone.do("question", problem, "--should-say", "It was in 2011")
    phone.do("end", grant, "--reason", "I have changed my mind")
    assert f"{problem}]  (questioned by you)" in phone.do("list", "problems")


def _took_effect_once(phone: PhoneInAFolder, grant: str) -> None:
    listed = phone.do("list", "self-recorded")
    for number in range(READINGS):
        assert listed.count(f"Body weight: {_kilograms(number)} kg") == 1, listed
    assert listed.count("Body weight") == READINGS
    versions = replica_of(phone)[1]
    assert all(
        versions[("Observation", name.partition("/")[2])] == 1 for name in named_in(listed, "Observation")
    )
    assert phone.do("list", "Task").count("Question to") == 1
    assert f"{grant}  ended" in phone.do("grants")


def _shared_with_the_doctor(phone: PhoneInAFolder, demo: RunningDemo) -> str:
    told = phone.do("share", "--hours", "24")
    code = re.search(r"The code is (\S+)\.", told)
    (grant,) = re.findall(r"^([0-9a-f-]{36})  offered", phone.do("grants"), re.MULTILINE)
    assert code is not None
    asyncio.run(_redeemed(phone, demo, grant, code[1]))
    assert f"{grant}  active" in phone.do("grants")
    return grant


async def _redeemed(phone: PhoneInAFolder, demo: RunningDemo, grant: str, code: str) -> None:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        doctor = HeldClient(http, demo.demo["base_url"])
        await doctor.sign_in(demo.demo["clients"]["portal"], DOCTOR)
        waiting = (await doctor.exchange(code, OFFER_CODE)).json()
        await asyncio.to_thread(phone.do, "confirm", grant, waiting["match"])
        token = (await doctor.exchange(waiting["redemption"], REDEMPTION)).json()
        seen = await doctor.with_token(token["access_token"]).expect(200, "GET", "/fhir/Condition")
        assert seen["entry"]


def _until(phone: PhoneInAFolder, grant: str) -> str:
    """When access ends, as the phone's own copy of the Consent says."""
    shown = phone.do("show", f"Consent/{grant}")
    (until,) = re.findall(r"^\s+end: (\S+)$", shown, re.MULTILINE)
    return until


def _without_a_way_out() -> tuple[str, ...]:
    tried = subprocess.run([*WITHOUT_A_WAY_OUT, "true"], check=False, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine makes no network namespaces: {tried.stderr.strip()}")
    return WITHOUT_A_WAY_OUT


def _kilograms(number: int) -> str:
    return f"{60 + number}.{number:02}"


def test_the_line_cuts_what_it_is_told_to(demo: RunningDemo, line: Line) -> None:
    line.cut_every(2)
    answers: list[int] = []
    for _ in range(4):
        try:
            answers.append(httpx.get(f"{line.address}/.well-known/jwks.json", trust_env=False).status_code)
        except httpx.TransportError:
            answers.append(0)
    line.be_good()
    assert answers == [200, 0, 200, 0]
    assert json.loads((demo.folder / "demo.json").read_text())["base_url"] == line.address
