"""A client of Held over HTTP alone: signs in, keeps its key, proves possession on every call.

The demo, the importer and the tests use it, so it imports nothing of the server.
RFC 9449, RFC 7636, RFC 8693.
"""

import base64
import hashlib
import json
import secrets
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105
OFFER_CODE = "urn:held:params:oauth:token-type:offer-code"
REDEMPTION = "urn:held:params:oauth:token-type:redemption"
ACCESS_GRANT = "urn:held:params:oauth:token-type:access-grant"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Unexpected(Exception):
    """The server answered something else than this step needs."""

    def __init__(self, what: str, response: httpx.Response) -> None:
        self.response = response
        super().__init__(f"{what}: {response.status_code} {response.text[:300]}")


class ProofKey:
    """The key a client's tokens are bound to; a new one unless one is given."""

    def __init__(self, private_key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self._key = private_key or ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.jwk: dict[str, Any] = {name: public[name] for name in ("kty", "crv", "x", "y")}
        # How far this client's clock runs ahead of the machine's.
        self.seconds_ahead = 0

    def proof(
        self, method: str, url: str, *, token: str | None = None, nonce: str | None = None, **claims: Any
    ) -> str:
        """A DPoP proof for one call; `claims` overrides any claim, for tests of what must be refused."""
        content: dict[str, Any] = {
            "jti": str(uuid4()),
            "htm": method,
            "htu": urlsplit(url)._replace(query="", fragment="").geturl(),
            "iat": int(time.time()) + self.seconds_ahead,
        }
        if token is not None:
            content["ath"] = _base64url(hashlib.sha256(token.encode()).digest())
        if nonce is not None:
            content["nonce"] = nonce
        headers = {"typ": "dpop+jwt", "jwk": self.jwk}
        return jwt.encode(content | claims, self._key, algorithm="ES256", headers=headers)


class HeldClient:
    """One signed-in person or system. Calls answer httpx responses; `expect` checks their status."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, *, key: ProofKey | None = None) -> None:
        self.http = http
        self.base_url = base_url.rstrip("/")
        self.key = key or ProofKey()
        self.token: str | None = None
        self.refresh_token: str | None = None
        self.client_id = ""
        self.nonce: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call with token and proof. `path` may be a whole address the server gave."""
        url = path if path.startswith("http") else self.base_url + path
        headers = dict(options.pop("headers", None) or {})
        if self.token is not None:
            headers.setdefault("Authorization", f"DPoP {self.token}")
            headers.setdefault("DPoP", self.key.proof(method, url, token=self.token))
        return await self.http.request(method, url, headers=headers, **options)

    async def expect(self, status: int, method: str, path: str, **options: Any) -> Any:
        """The JSON of a call that must answer this status; Unexpected otherwise."""
        response = await self.call(method, path, **options)
        if response.status_code != status:
            raise Unexpected(f"{method} {path}", response)
        return response.json() if response.content else None

    async def sign_in(
        self, client: dict[str, str], subject: str, *, record_id: str | None = None
    ) -> dict[str, Any]:
        """Signs in as a demo person (development) and keeps the token."""
        form = await self.sign_in_form(client, subject, record_id=record_id)
        return await self._keep(await self.token_request(form))

    async def sign_in_form(
        self, client: dict[str, str], subject: str, *, record_id: str | None = None
    ) -> dict[str, str]:
        """The token request that ends a sign-in of a demo person; it carries the one-time code."""
        verifier = secrets.token_urlsafe(48)
        state = secrets.token_urlsafe(12)
        query = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": client["redirect_uri"],
            "code_challenge": _base64url(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "state": state,
            "login_hint": subject,
        }
        if record_id is not None:
            query["resource"] = f"{self.base_url}/records/{record_id}"
        response = await self.http.get(
            f"{self.base_url}/oauth/authorize", params=query, follow_redirects=False
        )
        location: str = response.headers.get("location", "")
        answer = parse_qs(urlsplit(location).query)
        if response.status_code != 302 or answer.get("state") != [state] or "code" not in answer:
            raise Unexpected("sign-in", response)
        self.client_id = client["client_id"]
        return {
            "grant_type": "authorization_code",
            "code": answer["code"][0],
            "code_verifier": verifier,
            "client_id": client["client_id"],
            "redirect_uri": client["redirect_uri"],
        }

    async def refresh(self, *, record_id: str | None = None) -> dict[str, Any]:
        """A new access token from the refresh token, for a record when one is named."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.refresh_token or "",
            "client_id": self.client_id,
        }
        if record_id is not None:
            form["resource"] = f"{self.base_url}/records/{record_id}"
        return await self._keep(await self.token_request(form))

    async def sign_in_integrator(self, client_id: str, private_key: Any, kid: str) -> dict[str, Any]:
        """client_credentials with private_key_jwt (RFC 7523) and keeps the token."""
        form = self.integrator_form(client_id, private_key, kid)
        return await self._keep(await self.token_request(form))

    def integrator_form(self, client_id: str, private_key: Any, kid: str) -> dict[str, str]:
        """The token request of an integrator; it carries an assertion that may be used once."""
        url = f"{self.base_url}/oauth/token"
        now = int(time.time())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": url,
            "iat": now,
            "exp": now + 120,
            "jti": str(uuid4()),
        }
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(claims, private_key, algorithm="ES384", headers={"kid": kid}),
        }

    async def exchange(
        self, subject_token: str, kind: str, *, actor_token: str | None = None, **extra: str
    ) -> httpx.Response:
        """Token exchange (RFC 8693): redeems an offer code, asks again, or renews."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": kind,
            "actor_token": actor_token or self.token or "",
            "actor_token_type": ACCESS_TOKEN_TYPE,
            "client_id": self.client_id,
        }
        return await self.token_request(form | extra)

    async def token_request(self, form: dict[str, str]) -> httpx.Response:
        """One call of the token endpoint with a proof; asks again once when the server wants its nonce."""
        url = f"{self.base_url}/oauth/token"
        response = await self.http.post(url, data=form, headers={"DPoP": self.key.proof("POST", url)})
        if response.status_code == 400 and response.json().get("error") == "use_dpop_nonce":
            nonce = response.headers["DPoP-Nonce"]
            response = await self.http.post(
                url, data=form, headers={"DPoP": self.key.proof("POST", url, nonce=nonce)}
            )
        return response

    def with_token(self, token: str) -> "HeldClient":
        """The same key with another token, such as one for a grant."""
        other = HeldClient(self.http, self.base_url, key=self.key)
        other.token, other.client_id = token, self.client_id
        return other

    async def _keep(self, response: httpx.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise Unexpected("token", response)
        answer: dict[str, Any] = response.json()
        self.token = answer["access_token"]
        self.refresh_token = answer.get("refresh_token", self.refresh_token)
        return answer


def private_key_of(jwk: dict[str, Any]) -> Any:
    """The private key in a JWK, as demo.json carries it."""
    return jwt.PyJWK.from_json(json.dumps(jwk), algorithm="ES384").key


def private_key_from_pem(pem: bytes) -> Any:
    """The private key in a PEM file."""
    return load_pem_private_key(pem, None)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
