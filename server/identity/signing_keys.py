"""The keys Held signs with, and the public halves it shows.

https://www.rfc-editor.org/rfc/rfc7517 (JSON Web Key)
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from server.identity.tokens import Jwk, TokenRefused, VerifyingKey, sign, thumbprint, verifying_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
READABLE_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
RSA_EXPONENT = 65537
RSA_KEY_BITS = 2048


class KeyFileRefused(RuntimeError):
    """A signing key file is missing, readable by others, or not a key of the right kind."""


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A private key, its name and the one algorithm it signs with."""

    kid: str
    algorithm: str
    private: PrivateKey

    def public_jwk(self) -> dict[str, Any]:
        """The public half as it stands in a JWKS document."""
        members = _jwk_of(self.private.public_key(), self.algorithm)
        return {**members, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def verifying(self) -> VerifyingKey:
        return verifying_key(msgspec.convert(self.public_jwk(), Jwk), self.algorithm)

    def sign(self, claims: dict[str, Any], *, typ: str) -> str:
        return sign(claims, self.private, algorithm=self.algorithm, kid=self.kid, typ=typ)


def new_signing_key(algorithm: str = "ES256") -> SigningKey:
    """A fresh key. Development makes its keys at each start; `held client` makes an integrator's."""
    return signing_key(_generate(algorithm), algorithm)


def signing_key(private: PrivateKey, algorithm: str, *, kid: str | None = None) -> SigningKey:
    """`private` named by its thumbprint unless `kid` names it. Raises KeyFileRefused when it does not fit."""
    try:
        members = msgspec.convert(_jwk_of(private.public_key(), algorithm), Jwk)
        verifying_key(members, algorithm)
    except (TokenRefused, TypeError, jwt.InvalidKeyError) as error:
        raise KeyFileRefused(f"This key does not fit {algorithm}.") from error
    return SigningKey(kid=kid or thumbprint(members), algorithm=algorithm, private=private)


def private_jwk(key: SigningKey) -> dict[str, Any]:
    """The whole key, for the one who will hold it."""
    return {**_jwk_of(key.private, key.algorithm), "kid": key.kid, "alg": key.algorithm, "use": "sig"}


def key_from_private_jwk(members: dict[str, Any], algorithm: str | None = None) -> SigningKey:
    """A key from a private JWK. Raises KeyFileRefused when it is not one."""
    name = algorithm or str(members.get("alg") or "ES256")
    try:
        private = get_default_algorithms()[name].from_jwk(members)
    except Exception as error:
        raise KeyFileRefused("This is not a private key we can sign with.") from error
    if not isinstance(private, PrivateKey):
        raise KeyFileRefused("This is a public key; signing needs the private one.")
    return signing_key(private, name, kid=members.get("kid"))


def load_signing_key(path: Path, algorithm: str = "ES256") -> SigningKey:
    """The key in a PEM or JWK file that only its owner can read. Raises KeyFileRefused."""
    if not path.is_file():
        raise KeyFileRefused(f"There is no signing key at {path}.")
    if path.stat().st_mode & READABLE_BY_OTHERS:
        raise KeyFileRefused(f"{path} can be read by others. Give it mode 0600.")
    content = path.read_bytes()
    if content.lstrip().startswith(b"{"):
        return key_from_private_jwk(_members(content), algorithm)
    return signing_key(_from_pem(content), algorithm)


def write_signing_key(path: Path, key: SigningKey) -> None:
    """Keeps `key` as a JWK in a new file that only its owner can read. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(private_jwk(key)))


def kept_signing_key(path: Path, algorithm: str) -> SigningKey:
    """The key in a file, made when there is none yet: by one of several processes that start at once."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = new_signing_key(algorithm)
        partial = path.with_name(f".{path.name}.{key.kid}")
        write_signing_key(partial, key)
        # A link is made whole or not at all, so nobody reads half a key.
        with suppress(FileExistsError):
            path.hardlink_to(partial)
        partial.unlink()
    return load_signing_key(path, algorithm)


def jwks_document(keys: Sequence[SigningKey]) -> dict[str, Any]:
    """The public keys that anyone may check our signatures with."""
    return {"keys": [key.public_jwk() for key in keys]}


def _members(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise KeyFileRefused("This is not a private key we can sign with.") from error


def _from_pem(content: bytes) -> PrivateKey:
    try:
        private = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileRefused("This is not a private key we can sign with.") from error
    if not isinstance(private, PrivateKey):
        raise KeyFileRefused("This kind of key is not one we sign with.")
    return private


def _generate(algorithm: str) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(RSA_EXPONENT, RSA_KEY_BITS)


def _jwk_of(key: Any, algorithm: str) -> dict[str, Any]:
    members: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(key, as_dict=True)
    return {name: value for name, value in members.items() if name != "key_ops"}
