"""What makes a token one of ours, and everything that does not."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.identity.access_tokens import Access, AccessClaims, AccessTokens
from server.identity.signing_keys import new_signing_key
from server.identity.tokens import HEADER_BYTES_MAX, TOKEN_CHARACTERS_MAX, TokenRefused, take_apart

ISSUER = "https://held.test"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
KEY = new_signing_key()
TOKENS = AccessTokens(ISSUER, [KEY])
ACCESS = Access(subject="nhs-login:alex", client_id="held-phone", kind="citizen", jkt="thumb")


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def forged(
    changes: dict[str, Any] | None = None, header: dict[str, Any] | None = None, *, without: str | None = None
) -> str:
    """A token signed with our own key, with something about it changed."""
    claims = claims_of(TOKENS.issue(ACCESS, NOW)) | (changes or {})
    if without is not None:
        del claims[without]
    headers = {"typ": "at+jwt", "kid": KEY.kid} | (header or {})
    return jwt.encode(claims, KEY.private, algorithm="ES256", headers=headers)


def test_issued_token_says_what_it_should() -> None:
    token = TOKENS.issue(ACCESS, NOW)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"}
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 300
    assert (claims["iss"], claims["aud"], claims["cnf"]) == (ISSUER, ISSUER, {"jkt": "thumb"})
    assert TOKENS.verify(token, NOW).sub == "nhs-login:alex"


def test_unchanged_forgery_would_pass() -> None:
    assert isinstance(TOKENS.verify(forged(), NOW), AccessClaims)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "client_id", "iat", "exp", "jti", "kind", "cnf"])
def test_missing_claim_is_refused(claim: str) -> None:
    with pytest.raises(TokenRefused):
        TOKENS.verify(forged(without=claim), NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.test"},
        {"aud": "https://elsewhere.test"},
        {"aud": [ISSUER]},
        {"exp": int(NOW.timestamp()) + 301},
        {"exp": int(NOW.timestamp())},
        {"exp": str(int(NOW.timestamp()) + 300)},
        {"iat": int(NOW.timestamp()) + 6, "exp": int(NOW.timestamp()) + 100},
        {"cnf": {}},
        {"cnf": {"jkt": 5}},
        {"kind": "operator"},
        {"sub": None},
    ],
)
def test_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        TOKENS.verify(forged(changes), NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "dpop+jwt"},
        {"typ": None},
        {"kid": "unknown"},
        {"jku": "https://evil.test/keys"},
        {"x5u": "https://evil.test/cert"},
        {"x5c": ["MIIB"]},
        {"jwk": {"kty": "EC", "crv": "P-256", "x": "a", "y": "b"}},
    ],
)
def test_wrong_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        TOKENS.verify(forged(header=header), NOW)


def test_token_without_a_key_name_is_refused() -> None:
    token = jwt.encode(claims_of(forged()), KEY.private, "ES256", headers={"typ": "at+jwt"})
    with pytest.raises(TokenRefused):
        TOKENS.verify(token, NOW)


@pytest.mark.parametrize("extra", [{"crit": ["exp"]}, {"b64": False}])
def test_rules_we_do_not_know_are_refused(extra: dict[str, Any]) -> None:
    head, payload, signature = TOKENS.issue(ACCESS, NOW).split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "==")) | extra
    made = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenRefused):
        TOKENS.verify(f"{made}.{payload}.{signature}", NOW)


def test_token_of_another_key_under_our_name_is_refused() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode(claims_of(forged()), other, "ES256", headers={"typ": "at+jwt", "kid": KEY.kid})
    with pytest.raises(TokenRefused):
        TOKENS.verify(token, NOW)


def test_unsigned_token_is_refused() -> None:
    token = jwt.encode(claims_of(forged()), "", "none", headers={"typ": "at+jwt", "kid": KEY.kid})
    for attempt in (token, token + "AA", token.rstrip(".")):
        with pytest.raises(TokenRefused):
            TOKENS.verify(attempt, NOW)


def test_public_key_used_as_a_shared_secret_is_refused() -> None:
    secret = KEY.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    header = base64.urlsafe_b64encode(
        json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": KEY.kid}).encode()
    ).rstrip(b"=")
    signed = header + b"." + forged().split(".")[1].encode()
    signature = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    with pytest.raises(TokenRefused):
        TOKENS.verify((signed + b"." + signature).decode(), NOW)


def test_any_changed_character_is_refused() -> None:
    token = TOKENS.issue(ACCESS, NOW)
    for place in range(0, len(token) - 2, 7):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(TokenRefused):
            TOKENS.verify(changed, NOW)


def test_token_dies_exactly_at_its_end_though_it_is_remembered() -> None:
    tokens = AccessTokens(ISSUER, [KEY])
    token = tokens.issue(ACCESS, NOW)
    for seconds in (0, 299.999):
        assert tokens.verify(token, NOW + timedelta(seconds=seconds)).sub == ACCESS.subject
    for seconds in (300, 301, 86_400):
        with pytest.raises(TokenRefused):
            tokens.verify(token, NOW + timedelta(seconds=seconds))


def test_token_of_a_retired_key_still_verifies_and_a_new_one_signs() -> None:
    newer = new_signing_key()
    both = AccessTokens(ISSUER, [newer, KEY])
    assert both.verify(TOKENS.issue(ACCESS, NOW), NOW).sub == ACCESS.subject
    with pytest.raises(TokenRefused):
        TOKENS.verify(both.issue(ACCESS, NOW), NOW)


@pytest.mark.parametrize(("length", "is_read"), [(-1, True), (0, True), (1, False)])
def test_token_length_limit(length: int, is_read: bool) -> None:
    token = "e30.e30." + "A" * (TOKEN_CHARACTERS_MAX + length - 8)
    if len(token) % 4 == 1:
        token = "e30.e30A." + token[9:]
    if is_read:
        assert take_apart(token).header_text == "e30"
    else:
        with pytest.raises(TokenRefused):
            take_apart(token)


@pytest.mark.parametrize(("extra", "is_read"), [(-1, True), (0, True), (1, False)])
def test_header_length_limit(extra: int, is_read: bool) -> None:
    header = base64.urlsafe_b64encode(b" " * (HEADER_BYTES_MAX + extra)).rstrip(b"=").decode()
    if is_read:
        assert take_apart(f"{header}.e30.AAAA").claims == b"{}"
    else:
        with pytest.raises(TokenRefused):
            take_apart(f"{header}.e30.AAAA")


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "a.b.c\n", "é.e30.AAAA", "e30.e30.AA=="])
def test_what_is_not_a_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        TOKENS.verify(text, NOW)


def test_eight_megabyte_token_is_refused_at_once() -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"' + b"[" * 6_000_000 + b'"}').decode().rstrip("=")
    began = time.perf_counter()
    with pytest.raises(TokenRefused):
        TOKENS.verify(f"{head}.e30.AAAA", NOW)
    assert time.perf_counter() - began < 0.1
