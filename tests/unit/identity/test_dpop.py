"""Proof of possession: what a proof must say, and the table of proofs that are refused."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from server.identity.dpop import Expected, ProofChecker, ProofRefused, normal_url
from server.identity.nonces import NONCE_SECONDS_MAX, Nonces

URL = "https://held.test/fhir/Observation/1"
TOKEN = "token-of-somebody"
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
NONCES = Nonces(b"n" * 32)
KEY = ec.generate_private_key(ec.SECP256R1())
EXPECTED = Expected(method="GET", url=URL, now=NOW, access_token=TOKEN)


def jwk_of(key: Any = KEY, algorithm: str = "ES256") -> dict[str, Any]:
    members = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {name: value for name, value in members.items() if name != "key_ops"}


def proof(*, key: Any = KEY, algorithm: str = "ES256", header: Any = None, **changes: Any) -> str:
    claims: dict[str, Any] = {
        "jti": "one",
        "htm": "GET",
        "htu": URL,
        "iat": int(NOW.timestamp()),
        "ath": base64.urlsafe_b64encode(hashlib.sha256(TOKEN.encode()).digest()).rstrip(b"=").decode(),
    }
    claims = {name: value for name, value in (claims | changes).items() if value is not ...}
    headers: dict[str, Any] = {"typ": "dpop+jwt", "jwk": jwk_of(key, algorithm)} | (header or {})
    headers = {name: value for name, value in headers.items() if value is not ...}
    return jwt.encode(claims, key, algorithm, headers=headers)


def error_of(text: str, expected: Expected = EXPECTED) -> str:
    with pytest.raises(ProofRefused) as refused:
        ProofChecker(NONCES).check(text, expected)
    return refused.value.error


def test_good_proof_names_its_key() -> None:
    members = {name: jwk_of()[name] for name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    checked = ProofChecker(NONCES).check(proof(), EXPECTED)
    assert (checked.jkt, checked.jti) == (thumbprint, "one")


def test_ed25519_proof_is_taken() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert ProofChecker(NONCES).check(proof(key=key, algorithm="EdDSA"), EXPECTED).jti == "one"


@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "POST"},
        {"htm": "get"},
        {"htm": ...},
        {"htu": "https://held.test/fhir/Observation/2"},
        {"htu": "https://evil.test/fhir/Observation/1"},
        {"htu": "http://held.test/fhir/Observation/1"},
        {"htu": "https://held.test:8443/fhir/Observation/1"},
        {"htu": "https://held.test/fhir/observation/1"},
        {"htu": "https://held.test/fhir/Observation/1/"},
        {"htu": "not a url"},
        {"htu": "https://[::1"},
        {"htu": ...},
        {"ath": "wrong"},
        {"ath": ...},
        {"jti": ""},
        {"jti": "x" * 257},
        {"jti": ...},
        {"jti": 5},
        {"iat": ...},
        {"iat": "now"},
        {"iat": int(NOW.timestamp()) - 61},
        {"iat": int(NOW.timestamp()) + 61},
        {"iat": -1},
    ],
)
def test_wrong_claim_is_refused(changes: dict[str, Any]) -> None:
    assert error_of(proof(**changes)) == "invalid_dpop_proof"


@pytest.mark.parametrize("iat", ["1e999", "NaN", "1e400"])
def test_number_out_of_range_is_refused(iat: str) -> None:
    signer = jwt.api_jws.PyJWS()
    body = f'{{"jti":"1","htm":"GET","htu":"{URL}","iat":{iat}}}'.encode()
    text = signer.encode(body, KEY, "ES256", headers={"typ": "dpop+jwt", "jwk": jwk_of()})
    assert error_of(text) == "invalid_dpop_proof"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"jwk": ...},
        {"jwk": {**jwk_of(), "d": "AAAA"}},
        {"jwk": {**jwk_of(), "crv": "P-384"}},
        {"jwk": {**jwk_of(), "x": jwk_of()["x"] + "A"}},
        {"jwk": {**jwk_of(), "y": jwk_of()["x"]}},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jwk": jwk_of(ec.generate_private_key(ec.SECP256R1()))},
        {"jku": "https://evil.test"},
        {"x5u": "https://evil.test"},
        {"x5c": ["MIIB"]},
        {"padding": "x" * 2100},
    ],
)
def test_wrong_header_is_refused(header: dict[str, Any]) -> None:
    assert error_of(proof(header=header)) == "invalid_dpop_proof"


def test_coordinate_spelt_another_way_is_refused() -> None:
    """The last character of a coordinate has bits to spare; another spelling would be another thumbprint."""
    x = jwk_of()["x"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = x[:-1] + alphabet[alphabet.index(x[-1]) ^ 1]
    assert base64.urlsafe_b64decode(other + "=") == base64.urlsafe_b64decode(x + "=")
    assert error_of(proof(header={"jwk": {**jwk_of(), "x": other}})) == "invalid_dpop_proof"


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "PS256"])
def test_other_algorithms_are_refused(algorithm: str) -> None:
    key: Any = (
        ec.generate_private_key(ec.SECP384R1())
        if algorithm == "ES384"
        else rsa.generate_private_key(65537, 2048)
    )
    assert error_of(proof(key=key, algorithm=algorithm)) == "invalid_dpop_proof"


def test_unsigned_proof_is_refused() -> None:
    headers = {"typ": "dpop+jwt", "jwk": jwk_of()}
    claims = jwt.decode(proof(), options={"verify_signature": False})
    assert error_of(jwt.encode(claims, "", "none", headers=headers) + "AA") == "invalid_dpop_proof"
    shared = jwt.encode(claims, b"a secret of thirty-two characters", "HS256", headers=headers)
    assert error_of(shared) == "invalid_dpop_proof"


def test_remembered_key_does_not_excuse_a_wrong_signature() -> None:
    checker = ProofChecker(NONCES)
    good = proof()
    checker.check(good, EXPECTED)
    other = proof(htu="https://held.test/other")
    mixed = ".".join([*good.split(".")[:2], other.split(".")[2]])
    with pytest.raises(ProofRefused):
        checker.check(mixed, EXPECTED)


@pytest.mark.parametrize("seconds", [-10, -9, 0, 9, 10])
def test_proof_of_now_is_taken_without_a_nonce(seconds: int) -> None:
    assert ProofChecker(NONCES).check(proof(iat=int(NOW.timestamp()) + seconds), EXPECTED)


@pytest.mark.parametrize("seconds", [-60, -11, 11, 60])
def test_clock_somewhat_off_is_asked_for_a_nonce(seconds: int) -> None:
    assert error_of(proof(iat=int(NOW.timestamp()) + seconds)) == "use_dpop_nonce"


@pytest.mark.parametrize("years", [-1, 1])
def test_phone_with_a_wrong_clock_is_let_in_with_a_nonce(years: int) -> None:
    iat = int((NOW + timedelta(days=365 * years)).timestamp())
    assert ProofChecker(NONCES).check(proof(iat=iat, nonce=NONCES.issue(NOW)), EXPECTED)


@pytest.mark.parametrize(("seconds", "is_fresh"), [(299, True), (300, True), (301, False)])
def test_nonce_lives_five_minutes(seconds: int, is_fresh: bool) -> None:
    assert NONCE_SECONDS_MAX == 300
    assert NONCES.is_fresh(NONCES.issue(NOW), NOW + timedelta(seconds=seconds)) is is_fresh


@pytest.mark.parametrize("nonce", ["", "guess", "AAAA" * 8, Nonces(b"o" * 32).issue(NOW), "=", "é"])
def test_nonce_that_is_not_ours_is_refused_whatever_the_iat(nonce: str) -> None:
    assert error_of(proof(nonce=nonce)) == "use_dpop_nonce"


def test_nonce_can_be_demanded() -> None:
    demanding = Expected(method="GET", url=URL, now=NOW, access_token=TOKEN, is_nonce_required=True)
    assert error_of(proof(), demanding) == "use_dpop_nonce"
    assert ProofChecker(NONCES).check(proof(nonce=NONCES.issue(NOW)), demanding)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://Held.TEST/a", "https://held.test/a"),
        ("https://held.test:443/a", "https://held.test/a"),
        ("http://held.test:80", "http://held.test/"),
        ("https://held.test/a?b=c#d", "https://held.test/a"),
        ("https://held.test/%7Ea%2f", "https://held.test/~a%2F"),
    ],
)
def test_one_address_has_one_spelling(one: str, other: str) -> None:
    assert normal_url(one) == normal_url(other)
