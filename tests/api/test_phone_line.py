"""The reference phone's line to the server: tokens renewed, nonces taken up, and an end understood as one."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.commands.phone_app.device_key import device_key
from server.commands.phone_app.folder import PhoneFacts, PhoneFolder, SignedIn
from server.commands.phone_app.online import OnlinePhone
from server.commands.phone_app.opened import stored
from server.commands.phone_app.readings import reading
from server.commands.phone_app.signing_in import SignedInLine
from sync.messages import Problem
from sync.phone import Draft
from sync.ports import SignInNeeded
from sync.values import read_json
from tests.held_app import BASE_URL, PHONE, ServedHeld, served_held
from tests.world import AMINA, EVERYONE


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[ServedHeld]:
    async with served_held(tmp_path, EVERYONE) as running:
        yield running


@pytest.fixture
async def folder(held: ServedHeld, tmp_path: Path) -> PhoneFolder:
    """Amina's phone before its first sync."""
    owner = held.client()
    await owner.sign_in(PHONE, AMINA.held_subject)
    (record,) = (await owner.expect(200, "GET", "/me"))["records"]
    made = PhoneFolder(tmp_path / "phone")
    with made.held():
        made.keep_facts(
            PhoneFacts(
                base_url=BASE_URL,
                client_id=PHONE["client_id"],
                redirect_uri=PHONE["redirect_uri"],
                subject=AMINA.held_subject,
                person="Amina Yusuf",
                record_id=record["record_id"],
                patient_id=record["patient_id"],
                device_name="Amina's phone",
            )
        )
    return made


def line_of(held: ServedHeld, folder: PhoneFolder) -> SignedInLine:
    return SignedInLine(held.http, folder, folder.facts())


def log_path(folder: PhoneFolder) -> str:
    return f"/records/{folder.facts().record_id}/log"


async def test_a_phone_signs_in_once_and_goes_on_with_what_it_kept(
    held: ServedHeld, folder: PhoneFolder
) -> None:
    assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200
    first = folder.signed_in()
    assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200
    assert folder.signed_in() == first


async def test_a_token_that_is_over_is_renewed_without_the_person(
    held: ServedHeld, folder: PhoneFolder
) -> None:
    await line_of(held, folder).call("GET", log_path(folder), {}, None)
    first = folder.signed_in()
    assert first is not None
    folder.keep_signed_in(msgspec.structs.replace(first, expires_at=time.time()))
    assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200
    renewed = folder.signed_in()
    assert renewed is not None
    assert renewed.access_token != first.access_token
    assert renewed.signed_in_at == first.signed_in_at


async def test_a_token_the_server_does_not_take_is_renewed(held: ServedHeld, folder: PhoneFolder) -> None:
    await line_of(held, folder).call("GET", log_path(folder), {}, None)
    kept = folder.signed_in()
    assert kept is not None
    folder.keep_signed_in(msgspec.structs.replace(kept, access_token="held_at_no.such.token"))
    assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200


async def test_a_renewal_whose_answer_was_lost_ends_in_a_new_sign_in(
    held: ServedHeld, folder: PhoneFolder
) -> None:
    await line_of(held, folder).call("GET", log_path(folder), {}, None)
    first = folder.signed_in()
    assert first is not None
    old = msgspec.structs.replace(first, expires_at=time.time())
    for _ in range(2):
        folder.keep_signed_in(old)
        assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200


async def test_a_clock_that_is_off_is_put_right_by_the_servers_nonce(
    held: ServedHeld, folder: PhoneFolder
) -> None:
    for _ in ("signing in", "with a token"):
        line = line_of(held, folder)
        line._client.key.seconds_ahead = 86_400  # pyright: ignore[reportPrivateUsage]
        assert (await line.call("GET", log_path(folder), {}, None)).status == 200


async def test_a_person_nobody_knows_has_to_sign_in(held: ServedHeld, folder: PhoneFolder) -> None:
    folder.keep_facts(msgspec.structs.replace(folder.facts(), subject="nhs-login:nobody"))
    with pytest.raises(SignInNeeded):
        await line_of(held, folder).call("GET", log_path(folder), {}, None)


async def test_a_sign_in_of_another_key_is_not_used(held: ServedHeld, folder: PhoneFolder) -> None:
    await line_of(held, folder).call("GET", log_path(folder), {}, None)
    (folder.path / "device.key").unlink()
    assert device_key(folder).jwk
    assert folder.signed_in() is None
    assert (await line_of(held, folder).call("GET", log_path(folder), {}, None)).status == 200


@pytest.mark.parametrize("kept", ["its token", "an old token", "nothing"])
async def test_an_ended_phone_is_told_so_whatever_it_kept_and_confirms_with_its_key_alone(
    held: ServedHeld, folder: PhoneFolder, kept: str
) -> None:
    with stored(folder) as storage:
        phone = OnlinePhone(folder.facts(), storage, line_of(held, folder))
        assert (await phone.engine.sync()).trouble is None
        (device,) = (await phone.ask("GET", "devices"))["devices"]
        path = f"/sync/v1/records/{folder.facts().record_id}/devices/{device['device_id']}"
        assert (await phone.call("DELETE", path)).status == 204
        signed_in = folder.signed_in()
        assert signed_in is not None
        if kept == "an old token":
            folder.keep_signed_in(msgspec.structs.replace(signed_in, expires_at=0))
        elif kept == "nothing":
            (folder.path / "signed-in.json").unlink()
        again = OnlinePhone(folder.facts(), storage, line_of(held, folder))
        answer = await again.line.call("GET", log_path(folder), {}, None)
        assert answer.status == 403
        assert msgspec.json.decode(answer.body, type=Problem).code == "wipe"
        report = await again.engine.sync()
        assert report.trouble == "ended"
        assert again.has_confirmed_its_end
        assert not again.engine.rows()


async def test_a_reading_reaches_the_server_digit_for_digit(held: ServedHeld, folder: PhoneFolder) -> None:
    with stored(folder) as storage:
        phone = OnlinePhone(folder.facts(), storage, line_of(held, folder))
        await phone.engine.sync()
        new_id = phone.new_id()
        made = reading(
            "weight", "72.40", at="2026-11-20", logical_id=new_id, patient_id=folder.facts().patient_id
        )
        body = read_json(msgspec.json.Encoder(decimal_format="number").encode(made))
        phone.engine.write(Draft(op="create", type="Observation", id=new_id, body=body))
        assert (await phone.engine.sync()).status.is_proved
        kept = phone.engine.item("Observation", new_id)
        answer = await phone.call("GET", f"/fhir/Observation/{new_id}")
    assert kept is not None
    assert b'"value":72.40,' in kept.body
    assert answer.body == kept.body


def test_a_sign_in_is_kept_whole() -> None:
    kept = SignedIn(access_token="a", expires_at=1.5, refresh_token="r", signed_in_at=2.5)
    assert msgspec.json.decode(msgspec.json.encode(kept), type=SignedIn) == kept
