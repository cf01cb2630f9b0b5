"""Makes, reads and verifies every JWT: the one wrapper over PyJWT (THREATS rule 15).

https://www.rfc-editor.org/rfc/rfc8725 (best current practice for JWTs)

PyJWT brings the signatures. Reading is ours, because it must refuse a token by its size before decoding any
of it, must refuse headers that point at keys, and must judge time by the database's clock.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import jwt
import msgspec
from jwt.algorithms import AllowedPublicKeys, get_default_algorithms

TOKEN_CHARACTERS_MAX = 8 * 1024
HEADER_BYTES_MAX = 2 * 1024
RSA_BITS = range(2048, 4097)

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
_ALGORITHMS = get_default_algorithms()
_KEY_SHAPES: dict[str, tuple[str, str | None, int]] = {
    "ES256": ("EC", "P-256", 32),
    "ES384": ("EC", "P-384", 48),
    "EdDSA": ("OKP", "Ed25519", 32),
    "RS256": ("RSA", None, 0),
    "RS384": ("RSA", None, 0),
    "RS512": ("RSA", None, 0),
}
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}

Claims = TypeVar("Claims")


class TokenRefused(Exception):
    """This token cannot be trusted."""


class Jwk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key as JSON (RFC 7517). Only public keys are taken from outside."""

    kty: str
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None
    kid: str | None = None
    alg: str | None = None
    use: str | None = None
    d: str | None = None
    p: str | None = None
    q: str | None = None
    dp: str | None = None
    dq: str | None = None
    qi: str | None = None
    k: str | None = None

    def is_public(self) -> bool:
        return not any((self.d, self.p, self.q, self.dp, self.dq, self.qi, self.k))


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a token that says how it was signed."""

    alg: str
    typ: str | None = None
    kid: str | None = None
    jwk: Jwk | None = None
    jku: msgspec.Raw | None = None
    x5u: msgspec.Raw | None = None
    x5c: msgspec.Raw | None = None
    crit: msgspec.Raw | None = None
    b64: msgspec.Raw | None = None

    def points_elsewhere(self) -> bool:
        """Whether it asks us to fetch or believe a key, or to apply rules we do not know."""
        return any(part is not None for part in (self.jku, self.x5u, self.x5c, self.crit, self.b64))


class VerifyingKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key and the one algorithm it may be used with."""

    algorithm: str
    public: AllowedPublicKeys
    kid: str | None = None


class Compact(msgspec.Struct, frozen=True, kw_only=True):
    """A token taken apart and not yet believed."""

    header_text: str
    signed: bytes
    claims: bytes
    signature: bytes


_HEADERS = msgspec.json.Decoder(Header)


def take_apart(token: str) -> Compact:
    """The parts of a compact token. Raises TokenRefused on size or form, before anything is decoded."""
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise TokenRefused("The token is too long.")
    parts = _COMPACT.fullmatch(token)
    if parts is None:
        raise TokenRefused("This is not a signed token.")
    header_text = parts.group(1)
    if len(header_text) * 3 // 4 > HEADER_BYTES_MAX:
        raise TokenRefused("The token's header is too long.")
    return Compact(
        header_text=header_text,
        signed=token[: parts.end(2)].encode("ascii"),
        claims=decode_segment(parts.group(2)),
        signature=decode_segment(parts.group(3)),
    )


def read_header(header_text: str) -> Header:
    """The header of a token already measured. Raises TokenRefused when it cannot be followed safely."""
    try:
        header = _HEADERS.decode(decode_segment(header_text))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenRefused("The token's header cannot be read.") from error
    if header.points_elsewhere():
        raise TokenRefused("The token's header names a key we would have to fetch, or rules we do not know.")
    return header


def verify(compact: Compact, key: VerifyingKey) -> None:
    """Raises TokenRefused unless `key` made the signature. The algorithm is the key's, never the token's."""
    if not _ALGORITHMS[key.algorithm].verify(compact.signed, key.public, compact.signature):
        raise TokenRefused("The token's signature is wrong.")


def read_claims(compact: Compact, decoder: "msgspec.json.Decoder[Claims]") -> Claims:
    """The claims of a verified token as a struct. Raises TokenRefused when one is missing or malformed."""
    try:
        return decoder.decode(compact.claims)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenRefused("The token's claims cannot be read.") from error


def open_signed(
    token: str, keys: Mapping[str, VerifyingKey], decoder: "msgspec.json.Decoder[Claims]", *, typ: str | None
) -> Claims:
    """The claims of a token signed by one of `keys`, found by `kid`. Raises TokenRefused.

    With `typ` None the header may say `JWT` or nothing: identity providers and clients differ in this.
    """
    compact = take_apart(token)
    header = read_header(compact.header_text)
    if header.jwk is not None:
        raise TokenRefused("The token brings its own key.")
    if not _is_type(header.typ, typ):
        raise TokenRefused("This is another kind of token.")
    key = keys.get(header.kid) if header.kid is not None else None
    if key is None or key.algorithm != header.alg:
        raise TokenRefused("The token's key is not one we know.")
    verify(compact, key)
    return read_claims(compact, decoder)


def peek(token: str, decoder: "msgspec.json.Decoder[Claims]") -> Claims:
    """The claims of a token nobody has verified: only ever to find whose keys to verify it with."""
    return read_claims(take_apart(token), decoder)


def sign(claims: Mapping[str, Any], private_key: Any, *, algorithm: str, kid: str | None, typ: str) -> str:
    """A compact token over `claims`."""
    headers: dict[str, Any] = {"typ": typ}
    if kid is not None:
        headers["kid"] = kid
    return jwt.encode(dict(claims), private_key, algorithm=algorithm, headers=headers)


def verifying_key(jwk: Jwk, algorithm: str) -> VerifyingKey:
    """The public key in `jwk` for `algorithm`. Raises TokenRefused for a private, ill-fitting or weak key."""
    shape = _KEY_SHAPES.get(algorithm)
    if shape is None or not jwk.is_public():
        raise TokenRefused("This key cannot be used.")
    kty, curve, coordinate_bytes = shape
    if (jwk.kty, jwk.crv) != (kty, curve):
        raise TokenRefused("The key does not fit the algorithm.")
    if not all(_is_exact(getattr(jwk, member), coordinate_bytes) for member in _numbers_of(kty)):
        raise TokenRefused("The key is not written as it should be.")
    try:
        public = _ALGORITHMS[algorithm].from_jwk(_public_members(jwk))
    except (jwt.InvalidKeyError, ValueError) as error:
        raise TokenRefused("The key cannot be read.") from error
    if kty == "RSA" and getattr(public, "key_size", 0) not in RSA_BITS:
        raise TokenRefused("The key is too weak or too large.")
    return VerifyingKey(algorithm=algorithm, public=public, kid=jwk.kid)


def thumbprint(jwk: Jwk) -> str:
    """The key's own name: RFC 7638, SHA-256, base64url."""
    members = {name: getattr(jwk, name) for name in _MEMBERS[jwk.kty]}
    return encode_segment(hashlib.sha256(msgspec.json.encode(members)).digest())


def encode_segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_segment(text: str) -> bytes:
    """Base64url without padding. Raises TokenRefused."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise TokenRefused("The token is not written as it should be.") from error


def _numbers_of(kty: str) -> tuple[str, ...]:
    return tuple(name for name in _MEMBERS[kty] if name not in {"crv", "kty"})


def _is_exact(text: str | None, coordinate_bytes: int) -> bool:
    # NOTE One key must have one spelling, or one device would have several thumbprints.
    if not text or encode_segment(decode_segment(text)) != text:
        return False
    return coordinate_bytes == 0 or len(decode_segment(text)) == coordinate_bytes


def _public_members(jwk: Jwk) -> dict[str, str]:
    return {name: getattr(jwk, name) for name in _MEMBERS[jwk.kty]}


def _is_type(said: str | None, wanted: str | None) -> bool:
    if wanted is None:
        return said is None or said.upper() == "JWT"
    return said is not None and said.lower() == wanted
