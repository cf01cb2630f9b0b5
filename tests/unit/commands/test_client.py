"""`held client`: an integrator is registered by its public key and organisation, and given further keys."""

import asyncio
import json
from pathlib import Path

import pytest

from server.cli import main
from server.identity.clients import Client, Clients
from server.identity.signing_keys import SigningKey, new_signing_key, private_jwk
from server.intake.organisations import organisations
from server.secret_files import make_missing_secrets
from server.settings import read_settings
from server.storage.engine import Storage
from server.storage.keys import KeyFile


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A migrated development installation that the commands find."""
    monkeypatch.setenv("HELD_MODE", "development")
    monkeypatch.setenv("HELD_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("HELD_DATABASE_URL", raising=False)
    make_missing_secrets(read_settings({"HELD_MODE": "development", "HELD_DATA_DIR": str(tmp_path)}))
    assert main(["migrate"]) == 0
    assert main(["migrate"]) == 0
    return tmp_path


def key_file(folder: Path, key: SigningKey, *, name: str = "jwks.json") -> str:
    path = folder / name
    path.write_text(json.dumps({"keys": [key.public_jwk()]}))
    return str(path)


def add(jwks: str, *more: str) -> int:
    return main(
        ["client", "add", "--organisation", "ZHD09", "--name", "Ninth Surgery", "--jwks", jwks, *more]
    )


def registered(folder: Path, client_id: str) -> tuple[Client | None, list[str]]:
    """The client, and the organisations a citizen can link."""

    async def ask() -> tuple[Client | None, list[str]]:
        storage = await Storage.open(
            f"sqlite:///{folder}/held.db", KeyFile.open(folder / "keys" / "root.key")
        )
        try:
            known = await storage.look_up(organisations)
            return await Clients(storage, "https://held.test").find(client_id), [one.name for one in known]
        finally:
            await storage.close()

    return asyncio.run(ask())


def test_an_integrator_is_registered_and_its_organisation_can_be_linked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = new_signing_key("ES384")
    capsys.readouterr()
    assert add(key_file(folder, key)) == 0
    client_id = capsys.readouterr().out.strip()
    assert client_id.startswith("integrator-")
    client, names = registered(folder, client_id)
    assert client is not None
    assert (client.organisation, client.name) == ("ZHD09", "Ninth Surgery")
    assert [one.jwk.kid for one in client.keys] == [key.kid]
    assert names == ["Ninth Surgery"]


def test_two_registrations_never_share_an_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jwks = key_file(folder, new_signing_key("ES384"))
    assert add(jwks, "--client-id", "ninth") == 0
    assert add(jwks, "--client-id", "ninth") == 1
    assert add(jwks, "--client-id", "held-phone") == 1
    assert "already a client" in capsys.readouterr().err


def test_a_rotated_key_keeps_the_old_one_for_a_while_and_a_leaked_one_not_at_all(folder: Path) -> None:
    old, new, newest = (new_signing_key("ES384") for _ in range(3))
    assert add(key_file(folder, old), "--client-id", "ninth") == 0
    assert main(["client", "rotate", "ninth", "--jwks", key_file(folder, new)]) == 0
    client, _ = registered(folder, "ninth")
    assert client is not None
    retiring = {one.jwk.kid: one.retires_at for one in client.keys}
    assert retiring[new.kid] is None
    assert set(client.keys_at((retiring[old.kid] or 0) - 10)) == {old.kid, new.kid}
    assert main(["client", "rotate", "ninth", "--leaked", "--jwks", key_file(folder, newest)]) == 0
    client, _ = registered(folder, "ninth")
    assert client is not None
    ends = max(one.retires_at or 0 for one in client.keys)
    assert set(client.keys_at(ends + 1)) == {newest.kid}
    assert main(["client", "rotate", "tenth", "--jwks", key_file(folder, newest)]) == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys":[]}', "private", "two", "unnamed"])
def test_a_file_that_is_not_one_public_key_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    key = new_signing_key("ES384")
    unnamed = {name: value for name, value in key.public_jwk().items() if name != "kid"}
    special = {
        "private": {"keys": [private_jwk(key)]},
        "two": {"keys": [key.public_jwk(), new_signing_key("ES384").public_jwk()]},
        "unnamed": {"keys": [unnamed]},
    }
    path = folder / "wrong.json"
    path.write_text(json.dumps(special[content]) if content in special else content)
    assert add(str(path)) == 1
    told = capsys.readouterr().err
    assert "Not registered" in told
    assert "Traceback" not in told


def test_a_missing_file_is_refused(folder: Path) -> None:
    assert add(str(folder / "nothing.json")) == 1
