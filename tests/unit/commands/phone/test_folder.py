"""A phone's folder: its key is this device's alone, and its files are whole or not there."""

import stat
from pathlib import Path

import pytest

from server.commands.phone_app import folder as folder_module
from server.commands.phone_app.device_key import device_key
from server.commands.phone_app.folder import PhoneFacts, PhoneFolder, SignedIn, folder_path
from server.commands.phone_app.refusals import NoPhone, PhoneBusy, PhoneDamaged

FACTS = PhoneFacts(
    base_url="http://held.test",
    client_id="held-phone",
    redirect_uri="http://held.test/app/signed-in",
    subject="nhs-login:amina",
    person="Amina Yusuf",
    record_id="r",
    patient_id="p",
    device_name="Amina's phone",
)


@pytest.fixture
def folder(tmp_path: Path) -> PhoneFolder:
    made = PhoneFolder(tmp_path / "phone")
    with made.held():
        made.keep_facts(FACTS)
    return made


def test_the_key_is_kept_for_this_user_alone_and_stays_the_same(folder: PhoneFolder) -> None:
    first = device_key(folder).jwk
    assert device_key(folder).jwk == first
    for name in ("device.key", "phone.json"):
        assert stat.S_IMODE((folder.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_a_folder_put_back_without_its_key_is_another_device_and_not_signed_in(folder: PhoneFolder) -> None:
    first = device_key(folder).jwk
    folder.keep_signed_in(SignedIn(access_token="a", expires_at=1.0))
    (folder.path / "device.key").unlink()
    assert device_key(folder).jwk != first
    assert folder.signed_in() is None


def test_the_facts_come_back_as_they_were_kept(folder: PhoneFolder) -> None:
    assert folder.facts() == FACTS
    assert folder.is_begun


def test_a_folder_without_a_phone_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(NoPhone, match="held phone init"):
        PhoneFolder(tmp_path).facts()


@pytest.mark.parametrize("name", ["phone.json", "device.key"])
def test_a_file_that_cannot_be_read_is_named(folder: PhoneFolder, name: str) -> None:
    device_key(folder)
    (folder.path / name).write_bytes(b"\x00")
    with pytest.raises(PhoneDamaged, match=name):
        folder.facts() if name == "phone.json" else device_key(folder)


def test_a_broken_sign_in_is_no_sign_in(folder: PhoneFolder) -> None:
    (folder.path / "signed-in.json").write_bytes(b"{")
    assert folder.signed_in() is None


def test_deleting_leaves_nothing_of_the_person(folder: PhoneFolder) -> None:
    device_key(folder)
    folder.keep_signed_in(SignedIn(access_token="a", expires_at=1.0))
    folder.replica.write_bytes(b"x")
    folder.delete()
    assert [left.name for left in folder.path.iterdir()] == ["phone.lock"]


def test_one_command_at_a_time(folder: PhoneFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "WAIT_SECONDS_MAX", 0)
    with folder.held(), pytest.raises(PhoneBusy), PhoneFolder(folder.path).held():
        pass
    with folder.held():
        pass


def test_the_folder_is_the_one_asked_for_else_the_settings_else_the_homes(tmp_path: Path) -> None:
    assert folder_path(tmp_path, {"HELD_PHONE_DIR": "/elsewhere"}) == tmp_path
    assert folder_path(None, {"HELD_PHONE_DIR": "/elsewhere"}) == Path("/elsewhere")
    assert folder_path(None, {}) == Path.home() / ".held-phone"
