"""Proof of possession: that the sender of a request holds the key its token is bound to.

https://www.rfc-editor.org/rfc/rfc9449#section-4.3

A proof is fresh for each request, so unlike a token its check cannot be kept: it is the dearest step of a
small read. The header of one sender is the same each time, so the key in it is built once and found again by
its text.
"""

import hashlib
import re
from datetime import datetime
from urllib.parse import urlsplit

import msgspec

from server.identity.bounded_cache import BoundedCache
from server.identity.nonces import Nonces
from server.identity.tokens import (
    TokenRefused,
    VerifyingKey,
    encode_segment,
    read_claims,
    read_header,
    take_apart,
    thumbprint,
    verify,
    verifying_key,
)

PROOF_TYPE = "dpop+jwt"
PROOF_ALGORITHMS = ("ES256", "EdDSA")
IAT_ACCEPTED_SECONDS = 10
IAT_REFUSED_SECONDS = 60
JTI_KEPT_SECONDS = 360
JTI_CHARACTERS_MAX = 256
CACHED_KEYS_MAX = 4_000

_DEFAULT_PORTS = {"https": 443, "http": 80}
_PERCENT = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class ProofRefused(Exception):
    """The proof of possession was refused. `error` is RFC 9449's word for it."""

    def __init__(self, reason: str, *, error: str = "invalid_dpop_proof") -> None:
        super().__init__(reason)
        self.error = error


class ProofClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What a proof says of the request it was made for."""

    jti: str
    htm: str
    htu: str
    iat: float
    ath: str | None = None
    nonce: str | None = None


class ProofKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key in a proof's header, ready to verify with, and its thumbprint."""

    key: VerifyingKey
    jkt: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """The request a proof must have been made for."""

    method: str
    url: str
    now: datetime
    access_token: str | None = None
    is_nonce_required: bool = False


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof that holds. Its `jti` is still to be spent."""

    jkt: str
    jti: str


_CLAIMS = msgspec.json.Decoder(ProofClaims)


class ProofChecker:
    """Checks proofs; keeps the keys of recent senders and the nonce maker."""

    def __init__(self, nonces: Nonces) -> None:
        self._nonces = nonces
        self._keys: BoundedCache[str, ProofKey] = BoundedCache(CACHED_KEYS_MAX)

    def check(self, proof: str, expected: Expected) -> Proof:
        """The proof's key and identifier. Raises ProofRefused."""
        try:
            sender, claims = self._open(proof)
        except TokenRefused as refused:
            raise ProofRefused(str(refused)) from refused
        _judge_request(claims, expected)
        self._judge_freshness(claims, expected)
        return Proof(jkt=sender.jkt, jti=claims.jti)

    def _open(self, proof: str) -> tuple[ProofKey, ProofClaims]:
        compact = take_apart(proof)
        known = self._keys.get(compact.header_text)
        sender = known or _key_in(compact.header_text)
        verify(compact, sender.key)
        if known is None:
            self._keys.put(compact.header_text, sender)
        return sender, read_claims(compact, _CLAIMS)

    def _judge_freshness(self, claims: ProofClaims, expected: Expected) -> None:
        # NOTE With a good nonce our own clock has spoken, and a phone's wrong clock no longer matters.
        if claims.nonce is not None:
            if not self._nonces.is_fresh(claims.nonce, expected.now):
                raise ProofRefused("Use the nonce of our last answer.", error="use_dpop_nonce")
            return
        if expected.is_nonce_required:
            raise ProofRefused("Use the nonce of our last answer.", error="use_dpop_nonce")
        seconds_off = abs(expected.now.timestamp() - claims.iat)
        if not seconds_off <= IAT_REFUSED_SECONDS:
            raise ProofRefused("The proof is not of this minute.")
        if seconds_off > IAT_ACCEPTED_SECONDS:
            raise ProofRefused("Your clock seems off: use the nonce of our answer.", error="use_dpop_nonce")


def token_hash(access_token: str) -> str:
    """`ath`: what a proof says of the token it goes with."""
    return encode_segment(hashlib.sha256(access_token.encode()).digest())


def normal_url(url: str) -> str:
    """A URL without query and fragment, in the one spelling that RFC 3986 section 6.2 gives it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    scheme = parts.scheme.lower()
    netloc = host if port in (None, _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"
    return f"{scheme}://{netloc}{_PERCENT.sub(_one_spelling, parts.path) or '/'}"


def _one_spelling(escape: re.Match[str]) -> str:
    character = chr(int(escape.group(1), 16))
    return character if character in _UNRESERVED else escape.group(0).upper()


def _key_in(header_text: str) -> ProofKey:
    header = read_header(header_text)
    if header.typ is None or header.typ.lower() != PROOF_TYPE:
        raise TokenRefused("This is not a proof of possession.")
    if header.alg not in PROOF_ALGORITHMS or header.jwk is None:
        raise TokenRefused("The proof's algorithm or key is not one we take.")
    key = verifying_key(header.jwk, header.alg)
    return ProofKey(key=key, jkt=thumbprint(header.jwk))


def _judge_request(claims: ProofClaims, expected: Expected) -> None:
    if not 0 < len(claims.jti) <= JTI_CHARACTERS_MAX:
        raise ProofRefused("The proof's identifier is missing or too long.")
    if claims.htm != expected.method:
        raise ProofRefused("The proof is for another method.")
    if claims.htu != expected.url and normal_url(claims.htu) != normal_url(expected.url):
        raise ProofRefused("The proof is for another address.")
    if expected.access_token is not None and claims.ath != token_hash(expected.access_token):
        raise ProofRefused("The proof is for another token.")
