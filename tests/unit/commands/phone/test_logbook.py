"""The log on the phone is checked from its first entry to the signed end; the first wrong entry is named."""

import base64
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.commands.phone_app.logbook import fault_in
from sync.kept import LogPin
from sync.log_verifier import first_root, leaf_of, next_root
from sync.signed_note import Checkpoint, NoteKey, sign_checkpoint

NAME = "held.test/log"
LOG_ID = b"\x07" * 16
KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)


def kept_log(count: int = 4) -> tuple[list[bytes], LogPin]:
    """A log as a phone keeps it, with the pin at its end."""
    root, entries = first_root(LOG_ID), list[bytes]()
    for n in range(1, count + 1):
        sealed = f"sealed {n}".encode()
        leaf = leaf_of(sealed)
        root = next_root(root, leaf)
        entry = {
            "n": n,
            "at": "2026-11-22T14:02:00.000Z",
            "sentence": f"Somebody looked {n}.",
            "sealed": base64.urlsafe_b64encode(sealed).rstrip(b"=").decode(),
            "hash": base64.b64encode(leaf).decode(),
            "root": base64.b64encode(root).decode(),
        }
        entries.append(json.dumps(entry).encode())
    checkpoint = Checkpoint(origin=f"{NAME}/{LOG_ID.hex()}", size=count, root=root)
    note = sign_checkpoint(checkpoint, NAME, KEY)
    key = NoteKey(NAME, KEY.public_key()).to_text()
    return entries, LogPin(key=key, log_id=LOG_ID.hex(), size=count, root=root.hex(), note=note)


def changed(entry: bytes, **members: str) -> bytes:
    return json.dumps(json.loads(entry) | members).encode()


def test_a_log_that_holds_has_no_fault() -> None:
    assert fault_in(*kept_log()) == ""


def test_a_changed_entry_is_named() -> None:
    entries, pin = kept_log()
    entries[1] = changed(entries[1], sealed="YW5vdGhlcg")
    assert "Entry 2 was changed" in fault_in(entries, pin)


def test_an_entry_that_was_left_out_is_named() -> None:
    entries, pin = kept_log()
    assert "Entry 3 was removed" in fault_in([*entries[:2], entries[3]], pin)


def test_a_log_that_was_cut_off_is_told() -> None:
    entries, pin = kept_log()
    assert "ends at 3" in fault_in(entries[:3], pin)


def test_a_pin_signed_by_another_key_is_refused() -> None:
    entries, pin = kept_log()
    other = NoteKey(NAME, OTHER_KEY.public_key()).to_text()
    assert "not signed by the key" in fault_in(entries, msgspec.structs.replace(pin, key=other))


@pytest.mark.parametrize(
    "moved", [{"size": 3}, {"root": "00" * 32}, {"log_id": "08" * 16}], ids=["size", "root", "log"]
)
def test_a_pin_that_says_something_else_than_was_signed_is_refused(moved: dict[str, object]) -> None:
    entries, pin = kept_log()
    assert "not the one that was signed" in fault_in(entries, msgspec.structs.replace(pin, **moved))


def test_an_entry_that_cannot_be_read_is_told() -> None:
    entries, pin = kept_log()
    assert "cannot be read" in fault_in([b"{", *entries[1:]], pin)
