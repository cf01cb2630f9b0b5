"""The process does not start on a setting or secret that is not safe, and says plainly what is wrong."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.audit.signer import create_log_key
from server.cli import main
from server.identity.signing_keys import new_signing_key, write_signing_key
from server.secret_files import make_missing_secrets, open_secrets
from server.settings import SettingsRefused, read_settings
from server.storage.keys import KeyFile
from tests.storages import sqlite_url

SECRETS = {"root": "HELD_KEY_FILE", "token": "HELD_TOKEN_KEY_FILE", "log": "HELD_LOG_KEY_FILE"}
PROVIDER = {
    "provider_id": "nhs-login",
    "kind": "nhs-login",
    "issuer": "https://login.test",
    "client_id": "held",
    "key_file": "provider.jwk",
    "key_algorithm": "ES256",
    "authorization_endpoint": "https://login.test/authorize",
    "token_endpoint": "https://login.test/token",
    "userinfo_endpoint": "https://login.test/userinfo",
    "jwks_uri": "https://login.test/jwks",
    "id_token_algorithm": "RS512",
}


@pytest.fixture
async def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything a production server needs, and an environment that points at it."""
    for name in [name for name in os.environ if name.startswith("HELD_")]:
        monkeypatch.delenv(name)
    KeyFile.create(tmp_path / "root")
    write_signing_key(tmp_path / "token", new_signing_key())
    create_log_key(tmp_path / "log")
    write_signing_key(tmp_path / "provider.jwk", new_signing_key())
    (tmp_path / "providers.json").write_text(json.dumps([PROVIDER]))
    for file, variable in SECRETS.items():
        monkeypatch.setenv(variable, str(tmp_path / file))
    monkeypatch.setenv("HELD_PROVIDERS_FILE", str(tmp_path / "providers.json"))
    monkeypatch.setenv("HELD_BASE_URL", "https://held.test")
    monkeypatch.setenv("HELD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HELD_DATABASE_URL", await sqlite_url(tmp_path))
    return tmp_path


def refused_start() -> None:
    """Both commands refuse; `check` goes first, so that a start that is not refused fails without serving."""
    assert main(["check"]) != 0
    assert main(["serve"]) != 0


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])


def typed_by_hand(path: Path) -> None:
    path.write_bytes(b"changeme-changeme-changeme-changeme-changeme\n")


def readable_by_its_group(path: Path) -> None:
    path.chmod(0o640)


def readable_by_all(path: Path) -> None:
    path.chmod(0o604)


def test_nothing_stops_a_production_start_that_is_whole(
    production: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: path.read_bytes() for path in production.iterdir()}
    assert main(["check"]) == 0
    assert "Nothing would stop" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in production.iterdir()} == before


@pytest.mark.parametrize("file", [*SECRETS, "provider.jwk"])
@pytest.mark.parametrize(
    "spoil", [missing, empty, short, typed_by_hand, readable_by_its_group, readable_by_all]
)
def test_a_secret_that_is_not_safe_stops_the_start(
    production: Path, capsys: pytest.CaptureFixture[str], file: str, spoil: Callable[[Path], None]
) -> None:
    spoil(production / file)
    refused_start()
    told = capsys.readouterr().err
    assert told.count("Held cannot start:") == 2
    assert str(production) in told
    assert "Traceback" not in told


def sample_root(path: Path) -> None:
    words = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
    path.write_text(f"wrap 00000000 {words}\ninstallation {words}\n")


def published_token_key(path: Path) -> None:
    """The key printed in RFC 7515 A.3."""
    key = {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ES256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
    }
    path.write_text(json.dumps(key))


def small_token_key(path: Path) -> None:
    key = ec.derive_private_key(12345, ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def published_log_key(path: Path) -> None:
    """The key printed in RFC 8037 A.1."""
    raw = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    path.write_bytes(_ed25519_pem(raw))


def repeated_log_key(path: Path) -> None:
    path.write_bytes(_ed25519_pem(b"\x01\x02" * 16))


def _ed25519_pem(raw: bytes) -> bytes:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(raw)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("root", sample_root),
        ("token", published_token_key),
        ("token", small_token_key),
        ("log", published_log_key),
        ("log", repeated_log_key),
        ("provider.jwk", published_token_key),
    ],
)
def test_a_sample_secret_stops_the_start(
    production: Path, capsys: pytest.CaptureFixture[str], file: str, spoil: Callable[[Path], None]
) -> None:
    spoil(production / file)
    refused_start()
    assert "sample" in capsys.readouterr().err


@pytest.mark.parametrize("file", SECRETS)
def test_a_secret_of_the_wrong_kind_stops_the_start(production: Path, file: str) -> None:
    others = {"root": "token", "token": "log", "log": "root"}
    (production / file).write_bytes((production / others[file]).read_bytes())
    refused_start()


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("HELD_MODE", "test", "HELD_MODE"),
        ("HELD_PORT", "eighty", "HELD_PORT"),
        ("HELD_BASE_URL", "http://held.test", "https"),
        ("HELD_BASE_URL", "held.test", "web address"),
        ("HELD_WORKERS", "4", "HELD_WORKERS"),
        ("HELD_WORKERS", "0", "HELD_WORKERS"),
        ("HELD_PORT", "70000", "HELD_PORT"),
        ("HELD_DATABASE_URL", "mysql://held", "HELD_DATABASE_URL"),
        ("HELD_CLOCK_OFFSET_SECONDS", "3600", "HELD_CLOCK_OFFSET_SECONDS"),
        ("HELD_PROVIDERS_FILE", None, "HELD_PROVIDERS_FILE"),
        ("HELD_KEY_FILE", None, "HELD_KEY_FILE"),
        ("HELD_BASE_URL", None, "HELD_BASE_URL"),
    ],
)
def test_an_unsafe_setting_stops_the_start(
    production: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str | None,
    word: str,
) -> None:
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    refused_start()
    assert capsys.readouterr().err.count(word) >= 2


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(SettingsRefused) as refused:
        read_settings({"HELD_PORT": "x", "HELD_MODE": "y"})
    assert len(refused.value.problems) >= 4


def test_a_database_that_was_never_migrated_stops_the_start(
    production: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (production / "held.db").unlink()
    refused_start()
    assert "held migrate" in capsys.readouterr().err
    assert not (production / "held.db").exists()


def test_a_demo_is_refused_in_production(production: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--demo"]) != 0
    assert "HELD_MODE=development" in capsys.readouterr().err


def test_an_empty_list_of_providers_stops_the_start(
    production: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (production / "providers.json").write_text("[]")
    refused_start()
    assert "sign-in" in capsys.readouterr().err


def test_the_process_itself_exits_with_an_error(production: Path) -> None:
    (production / "log").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "serve"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "Held cannot start:" in done.stderr
    assert "Traceback" not in done.stderr


def test_development_makes_the_secrets_that_are_missing_for_this_user_alone(tmp_path: Path) -> None:
    settings = read_settings({"HELD_MODE": "development", "HELD_DATA_DIR": str(tmp_path)})
    made = make_missing_secrets(settings)
    assert {path.name for path in made} == {"root.key", "token.pem", "log.pem"}
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}
    kept = {path: path.read_bytes() for path in made}
    open_secrets(settings)
    made[1].unlink()
    assert make_missing_secrets(settings) == [made[1]]
    assert made[0].read_bytes() == kept[made[0]]
