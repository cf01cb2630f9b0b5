"""The operator's pages: what they say to type works, and names only what there is."""

import re
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.identity.providers import ProviderEntry
from server.identity.signing_keys import new_signing_key, write_signing_key
from server.secret_files import open_secrets
from server.settings import read_settings
from tests.docs.pages import ROOT, blocks, named_in, rows

OPERATE = ROOT / "docs/operate"
NHS_LOGIN = ProviderEntry(
    provider_id="nhs-login",
    kind="nhs-login",
    issuer="https://login.example.org",
    client_id="held",
    key_file="nhs-login.jwk",
    authorization_endpoint="https://login.example.org/authorize",
    token_endpoint="https://login.example.org/token",
    userinfo_endpoint="https://login.example.org/userinfo",
    jwks_uri="https://login.example.org/jwks",
    id_token_algorithm="RS512",
)


def test_the_keys_made_as_the_page_says_are_ones_production_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_NEW_KEYS", str(tmp_path))
    typed: dict[str, Any] = {}
    for block in blocks(OPERATE / "keys.md"):
        if block.language == "python":
            exec(block.text, typed)
    write_signing_key(tmp_path / "nhs-login.jwk", new_signing_key("RS512"))
    providers = tmp_path / "providers.json"
    providers.write_bytes(msgspec.json.encode([NHS_LOGIN]))
    settings = read_settings(
        {
            "HELD_BASE_URL": "https://held.example.org",
            "HELD_KEY_FILE": str(tmp_path / "root.key"),
            "HELD_TOKEN_KEY_FILE": str(tmp_path / "token.pem"),
            "HELD_LOG_KEY_FILE": str(tmp_path / "log.pem"),
            "HELD_PROVIDERS_FILE": str(providers),
        }
    )
    open_secrets(settings)
    for path in settings.secret_files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_settings_of_the_page_are_enough_for_production() -> None:
    told: dict[str, str] = {}
    for block in blocks(OPERATE / "run.md"):
        told |= dict(re.findall(r"^export (HELD_\w+)=(.*)$", block.text, re.MULTILINE))
    assert "HELD_MIGRATE_URL" in told
    settings = read_settings(told)
    assert not settings.is_development
    assert not settings.uses_sqlite


def test_every_setting_the_pages_name_is_one() -> None:
    known = {
        name
        for row in rows(ROOT / "docs/reference/settings.md")
        for name in named_in(row[0])
        if name.startswith("HELD_")
    }
    for page in OPERATE.glob("*.md"):
        named = set(re.findall(r"HELD_[A-Z_]+[A-Z]", page.read_text(encoding="utf-8")))
        assert named - {"HELD_NEW_KEYS"} <= known, page.name
