from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.audit.signer import LogKeyUnusable, LogSigner, create_log_key, log_id_of, log_name, signed_at
from sync.signed_note import Checkpoint, NoteRefused

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIGNER = LogSigner("held.example.org/log", KEY)
AT = datetime(2026, 11, 22, 9, 30, 1, 250_000, tzinfo=UTC)
LOG_ID = bytes(range(32))


def test_a_checkpoint_says_which_log_how_long_and_when():
    note = SIGNER.sign(LOG_ID, 57, b"r" * 32, at=AT.astimezone(timezone(timedelta(hours=2))))
    opened = SIGNER.recognise(note)
    assert (opened.size, opened.root, log_id_of(opened), signed_at(opened)) == (57, b"r" * 32, LOG_ID, AT)
    assert opened.extensions == ("at 2026-11-22T09:30:01.250Z",)


def test_the_same_checkpoint_is_signed_alike():
    assert SIGNER.sign(LOG_ID, 1, b"r" * 32, at=AT) == SIGNER.sign(LOG_ID, 1, b"r" * 32, at=AT)


def test_a_note_of_another_key_is_not_recognised():
    other = LogSigner(SIGNER.name, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
    with pytest.raises(NoteRefused):
        SIGNER.recognise(other.sign(LOG_ID, 1, b"r" * 32, at=AT))


@pytest.mark.parametrize(
    ("origin", "extensions"),
    [("held.example.org/log/xyz", ("at 2026",)), ("", ()), ("a/b", ("when 2026-01-01",))],
)
def test_a_checkpoint_that_does_not_say_is_refused(origin: str, extensions: tuple[str, ...]):
    checkpoint = Checkpoint(origin=origin + "?", size=1, root=b"r" * 32, extensions=extensions)
    with pytest.raises(NoteRefused):
        log_id_of(checkpoint)


def test_a_checkpoint_without_a_time_is_refused():
    with pytest.raises(NoteRefused):
        signed_at(Checkpoint(origin="o", size=1, root=b"r" * 32))


def test_the_log_is_named_by_the_host():
    assert log_name("https://Held.example.org:8443/base") == "held.example.org/log"


def test_a_key_file_opens_only_when_it_is_private_and_of_the_right_kind(tmp_path: Path):
    path = tmp_path / "log.pem"
    with pytest.raises(LogKeyUnusable, match="no log key"):
        LogSigner.open(path, "https://held.example.org")
    create_log_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert LogSigner.open(path, "https://held.example.org").name == "held.example.org/log"
    with pytest.raises(FileExistsError):
        create_log_key(path)
    path.chmod(0o640)
    with pytest.raises(LogKeyUnusable, match="chmod 600"):
        LogSigner.open(path, "https://held.example.org")
    path.chmod(0o600)
    path.write_text("not a key")
    with pytest.raises(LogKeyUnusable, match="not a private key"):
        LogSigner.open(path, "https://held.example.org")
    wrong = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(wrong.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(LogKeyUnusable, match="not an Ed25519 key"):
        LogSigner.open(path, "https://held.example.org")
