"""The reference phone on a served demo, command by command, as a person uses it."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.phone_cli import (
    ATTENTION,
    DONE,
    ENDED,
    MISUSED,
    OFFLINE,
    WRONG,
    PhoneInAFolder,
    named_in,
)
from tests.running_demo import RunningDemo, running_demo

pytestmark = pytest.mark.slow

MakePhone = Callable[[str, str], PhoneInAFolder]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with running_demo(tmp_path_factory.mktemp("demo") / "var") as running:
        yield running


@pytest.fixture
def phone_of(demo: RunningDemo, tmp_path: Path) -> MakePhone:
    """A phone of somebody's that has synced."""

    def make(person: str, name: str) -> PhoneInAFolder:
        made = PhoneInAFolder(tmp_path / name, demo.folder)
        assert "Up to date, proved at" in made.do("init", "--as", person, "--name", name)
        return made

    return make


def test_what_is_added_offline_is_seen_at_once_and_on_the_other_phone_after_both_synced(
    phone_of: MakePhone,
) -> None:
    phone, tablet = phone_of("Margaret Ellis", "phone"), phone_of("9993001686", "tablet")
    phone.do("add", "blood-pressure", "128/82")
    phone.do("add", "weight", "72.40", "--at", "2026-11-20")
    tablet.do("add", "note", "Slept badly")
    listed = phone.do("list", "self-recorded")
    assert "Blood pressure: 128/82 mmHg" in listed
    assert "2026-11-20  Body weight: 72.40 kg" in listed
    assert listed.count("(waiting to be sent)") == 2
    assert "2 changes waiting." in phone.do("status")
    assert "Up to date, proved at" in phone.do("sync")
    tablet.do("sync")
    phone.do("sync")
    assert "waiting" not in phone.do("list", "self-recorded")
    assert phone.do("list") == tablet.do("list")
    for words in ("128/82", "72.40 kg", "Slept badly"):
        assert words in tablet.do("list", "self-recorded")


def test_two_changes_of_one_reading_clash_and_nothing_is_lost_until_the_person_decides(
    phone_of: MakePhone,
) -> None:
    phone, tablet = phone_of("Daniel Okafor", "phone"), phone_of("Daniel Okafor", "tablet")
    phone.do("add", "weight", "80")
    phone.do("sync")
    tablet.do("sync")
    (reading,) = named_in(phone.do("list", "self-recorded"), "Observation")
    tablet.do("change", reading, "81")
    phone.do("change", reading, "82.50")
    assert "82.50 kg" in phone.do("list", "self-recorded")
    tablet.do("sync")
    told = phone.do("sync", status=ATTENTION)
    assert "You wrote '82.50 kg'. The record says '81 kg'." in told
    assert "81 kg" in phone.do("list", "self-recorded")
    (which,) = re.findall(r"^([0-9a-f]{8})  Your change", phone.do("conflicts", status=ATTENTION), re.M)
    phone.do("resolve", which, "--keep-mine")
    assert "Nothing needs your attention." in phone.do("conflicts")
    phone.do("sync")
    tablet.do("sync")
    assert "82.50 kg" in tablet.do("list", "self-recorded")
    tablet.do("remove", reading)
    phone.do("change", reading, "83")
    tablet.do("sync")
    told = phone.do("sync", status=ATTENTION)
    (which,) = re.findall(r"^([0-9a-f]{8})  ", told, re.M)
    phone.do("resolve", which, "--keep-theirs")
    assert "nothing like that" in phone.do("list", "self-recorded")
    assert phone.do("list") == tablet.do("list")


def test_a_phone_that_was_ended_elsewhere_deletes_what_it_holds(phone_of: MakePhone) -> None:
    phone, lost = phone_of("Callum Price", "phone"), phone_of("Callum Price", "lost")
    lost.do("add", "note", "Never sent")
    listed = phone.do("devices")
    (device,) = [line.split()[0] for line in listed.splitlines() if line.endswith("lost")]
    phone.do("devices", "--end", device)
    told = lost.do("sync", status=ENDED)
    assert "Everything on it has been deleted." in told
    assert {left.name for left in lost.folder.iterdir()} <= {"phone.lock"}
    assert "Begin with `held phone init`" in lost.do("list", status=MISUSED)
    assert "lost" not in phone.do("devices")
    phone.do("sync")
    assert "Never sent" not in phone.do("list")


def test_a_backup_put_back_neither_loses_nor_doubles_what_was_done(
    phone_of: MakePhone, tmp_path: Path
) -> None:
    phone = phone_of("Aisha Khan", "phone")
    phone.do("add", "peak-flow", "420")
    phone.back_up(tmp_path / "backup")
    phone.do("sync")
    phone.do("add", "peak-flow", "430")
    phone.do("sync")
    phone.put_back(tmp_path / "backup")
    assert "1 change waiting." in phone.do("status")
    phone.do("add", "glucose", "5.6")
    assert "Up to date, proved at" in phone.do("sync")
    listed = phone.do("list", "self-recorded")
    for words in ("420 L/min", "430 L/min", "5.6 mmol/L"):
        assert listed.count(words) == 1, listed


def test_an_offer_made_offline_is_a_draft_and_an_end_made_offline_counts(
    phone_of: MakePhone, demo: RunningDemo
) -> None:
    phone = phone_of("Aisha Khan", "phone")
    told = phone.do("share", "--hours", "2")
    assert re.search(r"^The code is [0-9A-Z]{4}-[0-9A-Z]{6}\.", told, re.M), told
    (grant,) = re.findall(r"^([0-9a-f-]{36})  offered", phone.do("grants"), re.M)
    address = json.loads((phone.folder / "phone.json").read_text())["base_url"]
    _point_at(phone, "http://127.0.0.1:9")
    assert "draft that waits for you to sign in again" in phone.do("share")
    assert "There is no connection." in phone.do("sync", status=OFFLINE)
    phone.do("narrow", grant, "--until", "2026-11-30")
    phone.do("end", grant)
    assert f"{grant}  ended" in phone.do("grants")
    _point_at(phone, address)
    phone.do("sync")
    assert f"{grant}  ended" in phone.do("grants")
    other = PhoneInAFolder(phone.folder.with_name("other"), demo.folder)
    other.do("init", "--as", "Aisha Khan")
    assert f"{grant}  ended" in other.do("grants")


def test_a_kept_log_entry_that_was_changed_is_named(phone_of: MakePhone) -> None:
    phone = phone_of("George Hartley", "phone")
    assert "each follows from the one before" in phone.do("verify")
    assert "sent an update to your record" in phone.do("log")
    with closing(sqlite3.connect(phone.folder / "replica.db")) as replica, replica:
        key, kept = replica.execute("SELECT key, value FROM kept WHERE shelf = 'log' ORDER BY key").fetchone()
        entry = json.loads(kept)
        first = entry["sealed"][20]
        entry["sealed"] = entry["sealed"][:20] + ("A" if first != "A" else "B") + entry["sealed"][21:]
        changed = json.dumps(entry).encode()
        replica.execute("UPDATE kept SET value = ? WHERE shelf = 'log' AND key = ?", (changed, key))
    told = phone.do("verify", status=WRONG)
    assert "Entry 1 was changed" in told


def test_what_cannot_be_done_is_said_plainly(phone_of: MakePhone, tmp_path: Path) -> None:
    nobody = PhoneInAFolder(tmp_path / "empty", tmp_path)
    for words in (("list",), ("sync",), ("status",), ("add", "weight", "70")):
        assert "Begin with `held phone init`" in nobody.do(*words, status=MISUSED)
    assert "There is no demo at" in nobody.do("init", "--as", "Margaret Ellis", status=MISUSED)
    phone = phone_of("Margaret Ellis", "phone")
    assert "is a phone already" in phone.do("init", "--as", "Margaret Ellis", status=MISUSED)
    assert "lies between 0.2 and 700 kg" in phone.do("add", "weight", "7000", status=MISUSED)
    assert "holds nothing called" in phone.do("show", "Condition/none", status=MISUSED)
    assert "nothing like that" in phone.do("list", "drop table")
    (problem, *_) = named_in(phone.do("list", "problems"), "Condition")
    assert "Only what you recorded yourself" in phone.do("change", problem, "70", status=MISUSED)
    assert "Only what you recorded yourself" in phone.do("remove", problem, status=MISUSED)
    assert "--should-say" in phone.do("question", problem, status=MISUSED)
    assert "Name the item" in phone.do("question", "--should-say", "x", status=MISUSED)
    assert "knows of no share" in phone.do("end", "none", status=MISUSED)
    assert "Nothing that needs attention" in phone.do("resolve", "x", "--keep-mine", status=MISUSED)
    (phone.folder / "replica.db").write_bytes(b"x" * 4096)
    assert "cannot be read" in phone.do("list", status=WRONG)


def test_wiping_says_what_is_lost_and_leaves_nothing(phone_of: MakePhone) -> None:
    phone = phone_of("Margaret Ellis", "phone")
    phone.do("add", "note", "Not sent")
    assert "1 change that had not been sent" in phone.do("wipe")
    assert {left.name for left in phone.folder.iterdir()} == {"phone.lock"}


def test_no_word_of_the_phone_claims_more_than_was_proved(phone_of: MakePhone) -> None:
    phone = phone_of("Margaret Ellis", "phone")
    said = [phone.do(*words) for words in (("sync",), ("status",), ("add", "weight", "70"), ("log",))]
    assert not re.search(r"success|completed|done!", " ".join(said), re.I)
    assert phone.run("status").returncode == DONE


def _point_at(phone: PhoneInAFolder, address: str) -> None:
    """Sends the phone's calls elsewhere: to a port where nobody listens, or back."""
    path = phone.folder / "phone.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_url": address}))
