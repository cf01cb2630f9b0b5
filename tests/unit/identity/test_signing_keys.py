"""Signing keys: read from private files only, and shown by their public half only."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.identity.signing_keys import (
    KeyFileRefused,
    jwks_document,
    kept_signing_key,
    load_signing_key,
    new_signing_key,
    private_jwk,
    write_signing_key,
)
from server.identity.tokens import Jwk, TokenRefused, verifying_key

PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k"}


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA", "RS512"])
def test_key_survives_its_file(tmp_path: Path, algorithm: str) -> None:
    key = new_signing_key(algorithm)
    path = tmp_path / "token.jwk"
    write_signing_key(path, key)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_signing_key(path, algorithm).public_jwk() == key.public_jwk()


def test_pem_file_is_read(tmp_path: Path) -> None:
    key, path = new_signing_key(), tmp_path / "token.pem"
    path.write_bytes(key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    assert load_signing_key(path).kid == key.kid


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_file_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token.jwk"
    write_signing_key(path, new_signing_key())
    path.chmod(mode)
    with pytest.raises(KeyFileRefused):
        load_signing_key(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"secret", b'{"kty":"EC"}', b"-----BEGIN PRIVATE KEY-----"])
def test_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileRefused):
        load_signing_key(path)


def test_missing_file_and_public_key_and_wrong_curve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused):
        load_signing_key(tmp_path / "nowhere")
    for content in (new_signing_key().public_jwk(), private_jwk(new_signing_key("ES384"))):
        path = tmp_path / f"{content['crv']}.jwk"
        path.write_bytes(msgspec.json.encode(content))
        path.chmod(0o600)
        with pytest.raises(KeyFileRefused):
            load_signing_key(path)


def test_kept_key_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "provider.jwk"
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: kept_signing_key(path, "ES256").kid, range(16)))
    assert len(set(made)) == 1
    assert [file.name for file in path.parent.iterdir()] == ["provider.jwk"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_written_key_is_never_written_over(tmp_path: Path) -> None:
    write_signing_key(tmp_path / "token.jwk", new_signing_key())
    with pytest.raises(FileExistsError):
        write_signing_key(tmp_path / "token.jwk", new_signing_key())


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA", "RS512"])
def test_shown_keys_have_no_private_member(algorithm: str) -> None:
    (shown,) = jwks_document([new_signing_key(algorithm)])["keys"]
    assert not PRIVATE_MEMBERS & shown.keys()
    assert (shown["alg"], shown["use"]) == (algorithm, "sig")


def test_private_or_ill_fitting_jwk_verifies_nothing() -> None:
    key = new_signing_key()
    for members, algorithm in (
        (private_jwk(key), "ES256"),
        (key.public_jwk(), "ES384"),
        (key.public_jwk(), "RS256"),
        (key.public_jwk(), "none"),
        (key.public_jwk(), "HS256"),
    ):
        with pytest.raises(TokenRefused):
            verifying_key(msgspec.convert(members, Jwk), algorithm)
