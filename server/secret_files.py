"""The files that hold the installation's secrets: opened in one way by all, and made in development.

A secret that is missing, too short, a published sample or readable by others stops the process (THREATS
rule 20).
"""

import base64
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.exceptions import PyJWTError

from server.audit.signer import LogKeyUnusable, LogSigner, create_log_key
from server.identity.providers import load_providers
from server.identity.signing_keys import (
    KeyFileRefused,
    PrivateKey,
    SigningKey,
    load_signing_key,
    new_signing_key,
    write_signing_key,
)
from server.settings import Settings
from server.storage.keys import KeyFile, KeyUnusable

TOKEN_ALGORITHM = "ES256"  # noqa: S105 - the name of an algorithm.
RSA_BITS_MIN = 2048
# 32 random bytes have about 30 different values; a key made up by hand has few.
DISTINCT_BYTES_MIN = 16
FOLDER_MODE = 0o700

# Private keys printed in RFC 7515 A.3, RFC 7517 A.2 and RFC 8037 A.1, which people copy.
_PUBLISHED = frozenset(
    base64.urlsafe_b64decode(text + "=")
    for text in (
        "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
        "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    )
)


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's secrets, opened."""

    keys: KeyFile
    token_key: SigningKey
    log_signer: LogSigner


class SecretsRefused(Exception):
    """The secrets are not safe to start with."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def open_secrets(settings: Settings) -> Secrets:
    """The secrets these settings name; SecretsRefused lists everything wrong with them."""
    problems: list[str] = []
    keys = _keys(settings.key_file, problems)
    token_key = _token_key(settings.token_key_file, problems)
    log_signer = _log_signer(settings, problems)
    if settings.providers_file is not None:
        problems += _provider_problems(settings.providers_file)
    if problems or keys is None or token_key is None or log_signer is None:
        raise SecretsRefused(problems)
    return Secrets(keys=keys, token_key=token_key, log_signer=log_signer)


def make_missing_secrets(settings: Settings) -> list[Path]:
    """Development only: makes the secrets that are not there yet, readable by this user alone."""
    assert settings.is_development
    made: list[Path] = []
    for path in settings.secret_files:
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        if path == settings.key_file:
            KeyFile.create(path)
        elif path == settings.token_key_file:
            write_signing_key(path, new_signing_key(TOKEN_ALGORITHM))
        else:
            create_log_key(path)
        made.append(path)
    return made


def _keys(path: Path, problems: list[str]) -> KeyFile | None:
    try:
        return KeyFile.open(path)
    except KeyUnusable as unusable:
        said = str(unusable)
        problems.append(said if str(path) in said else f"The key file at {path} cannot be used. {said}")
        return None


def _token_key(path: Path, problems: list[str]) -> SigningKey | None:
    try:
        key = load_signing_key(path, TOKEN_ALGORITHM)
    except (KeyFileRefused, msgspec.DecodeError, PyJWTError, ValueError, TypeError) as refused:
        plain = str(refused) if isinstance(refused, KeyFileRefused) else "It is not a key for ES256."
        problems.append(f"The token key at {path} cannot be used. {plain}")
        return None
    problems += _weaknesses(key.private, path)
    return key


def _log_signer(settings: Settings, problems: list[str]) -> LogSigner | None:
    path = settings.log_key_file
    try:
        signer = LogSigner.open(path, settings.base_url)
    except LogKeyUnusable as unusable:
        problems.append(str(unusable))
        return None
    key = load_pem_private_key(path.read_bytes(), password=None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    problems += _weaknesses(key, path)
    return signer


def _provider_problems(path: Path) -> list[str]:
    try:
        providers = load_providers(path)
    except FileNotFoundError:
        return [f"There is no list of sign-in providers at {path}."]
    except (KeyFileRefused, msgspec.DecodeError, OSError) as refused:
        return [f"The list of sign-in providers at {path} cannot be used. {refused}"]
    if not providers:
        return [f"The list at {path} names no sign-in provider, so nobody could sign in."]
    return [problem for provider in providers for problem in _weaknesses(provider.key.private, path.parent)]


def _weaknesses(key: PrivateKey, path: Path) -> list[str]:
    if isinstance(key, rsa.RSAPrivateKey):
        short = key.key_size < RSA_BITS_MIN
        return [f"The key at {path} is shorter than {RSA_BITS_MIN} bits."] if short else []
    secret = _secret_bytes(key)
    if secret in _PUBLISHED or len(set(secret)) < DISTINCT_BYTES_MIN:
        return [f"The key at {path} is a sample, not a random key. Make one of your own."]
    return []


def _secret_bytes(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.private_bytes_raw()
    return key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
