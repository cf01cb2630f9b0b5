"""A provider that lies, or someone who stands between: nobody is let in on a bad word."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from server.identity.development_pages import development_app
from server.identity.development_provider import DevelopmentProvider, development_providers
from server.identity.oidc import RelyingParty, start_sign_in
from server.identity.outgoing import ANSWER_BYTES_MAX, Outgoing, OutgoingFailed
from server.identity.provider_claims import SignInRefused
from server.identity.providers import ProviderEntry, load_providers
from server.identity.signing_keys import KeyFileRefused, new_signing_key, write_signing_key
from tests.api.identity_world import ALEX, BASE_URL, PEOPLE, landed

Change = Callable[[dict[str, Any]], dict[str, Any]]

NHS_LOGIN, CIS2 = development_providers(BASE_URL, PEOPLE, lambda: datetime.now(UTC))
PROVIDER = NHS_LOGIN.provider()


class Between(httpx.AsyncBaseTransport):
    """Stands between Held and the provider, and changes what passes."""

    def __init__(self) -> None:
        self._inner = httpx.ASGITransport(app=development_app([NHS_LOGIN, CIS2]))
        self.changes: dict[str, Change] = {}
        self.calls: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        body = await answer.aread()
        name = request.url.path.rpartition("/")[2]
        self.calls.append(name)
        if name in self.changes:
            changed = json.dumps(self.changes[name](json.loads(body))).encode()
            return httpx.Response(answer.status_code, content=changed)
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


class Visit:
    """One person's way through the provider."""

    def __init__(self, between: Between, http: httpx.AsyncClient) -> None:
        self.between = between
        allowed = PROVIDER.endpoints | {PROVIDER.authorization_endpoint}
        self.party = RelyingParty([PROVIDER], Outgoing(http, allowed), f"{BASE_URL}/oauth/callback")

    async def identify(self, *, max_age: int | None = None) -> Any:
        start = start_sign_in(PROVIDER, prompt=None, max_age=max_age)
        location = await self.party.redirect_without_browser(start, ALEX.subject)
        code = landed(httpx.Response(302, headers={"Location": location}))["code"]
        return await self.party.identify(start, code, datetime.now(UTC))


@asynccontextmanager
async def visiting() -> AsyncIterator[Visit]:
    between = Between()
    async with httpx.AsyncClient(transport=between) as http:
        yield Visit(between, http)


def with_claims(signer: DevelopmentProvider = NHS_LOGIN, **changes: Any) -> Change:
    """An ID token signed by the real key, with claims changed."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False}) | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return answer | {"id_token": signer.key.sign(claims, typ="JWT")}

    return change


def signed_otherwise(algorithm: str, key: Any, header: dict[str, Any] | None = None) -> Change:
    def change(answer: dict[str, Any]) -> dict[str, Any]:
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        headers = {"kid": NHS_LOGIN.key.kid} | (header or {})
        return answer | {"id_token": jwt.encode(claims, key, algorithm, headers=headers)}

    return change


async def test_honest_provider_is_believed() -> None:
    async with visiting() as visit:
        identified = await visit.identify()
        assert identified.person.subject == "nhs-login:alex"
        assert abs(identified.signed_in_at - datetime.now(UTC).timestamp()) < 30


NOW = datetime.now(UTC).timestamp()


@pytest.mark.parametrize(
    "change",
    [
        with_claims(iss="https://evil.test"),
        with_claims(aud="another"),
        with_claims(aud=["held", "another"]),
        with_claims(aud=["held", "another"], azp="another"),
        with_claims(nonce="another"),
        with_claims(nonce=None),
        with_claims(exp=NOW - 3600),
        with_claims(exp=None),
        with_claims(iat=NOW + 3600),
        with_claims(iat=None),
        with_claims(sub=None),
        with_claims(sub="sam"),
        with_claims(identity_proofing_level="P5"),
        with_claims(vot="P5.Cp"),
        with_claims(CIS2),
        signed_otherwise("RS256", NHS_LOGIN.key.private),
        signed_otherwise("RS512", CIS2.key.private),
        signed_otherwise("RS512", NHS_LOGIN.key.private, {"kid": "another"}),
        signed_otherwise("RS512", NHS_LOGIN.key.private, {"jku": "https://evil.test/jwks"}),
        signed_otherwise("RS512", NHS_LOGIN.key.private, {"jwk": CIS2.key.public_jwk()}),
        signed_otherwise("none", ""),
        lambda answer: answer | {"id_token": "guess"},
        lambda answer: {"access_token": answer["access_token"]},
        lambda answer: answer | {"padding": "x" * ANSWER_BYTES_MAX},
    ],
)
async def test_bad_id_token_lets_nobody_in(change: Change) -> None:
    async with visiting() as visit:
        visit.between.changes["token"] = change
        with pytest.raises(SignInRefused):
            await visit.identify()


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("userinfo", lambda answer: answer | {"sub": "sam"}),
        ("userinfo", lambda answer: answer | {"nhs_number": "9990000026"}),
        ("userinfo", lambda _: {}),
        ("userinfo", lambda _: []),
        ("jwks", lambda _: {"keys": []}),
        ("jwks", lambda _: {"keys": [CIS2.key.public_jwk()]}),
        ("jwks", lambda answer: {"keys": [{**answer["keys"][0], "use": "enc"}]}),
        ("jwks", lambda answer: {"keys": [{**answer["keys"][0], "n": "AQAB"}]}),
    ],
)
async def test_bad_userinfo_or_keys_let_nobody_in(place: str, change: Change) -> None:
    async with visiting() as visit:
        visit.between.changes[place] = change
        with pytest.raises(SignInRefused):
            await visit.identify()


async def test_code_of_another_sign_in_lets_nobody_in() -> None:
    async with visiting() as visit:
        mine, theirs = (start_sign_in(PROVIDER, prompt=None, max_age=None) for _ in range(2))
        location = await visit.party.redirect_without_browser(theirs, ALEX.subject)
        code = landed(httpx.Response(302, headers={"Location": location}))["code"]
        with pytest.raises(SignInRefused):
            await visit.party.identify(mine, code, datetime.now(UTC))


async def test_key_of_another_kind_beside_the_right_one_does_no_harm() -> None:
    other = new_signing_key("ES384").public_jwk()
    async with visiting() as visit:
        visit.between.changes["jwks"] = lambda answer: {"keys": [other, *answer["keys"], {"kty": "oct"}]}
        assert (await visit.identify()).person.name == "Alex Green"


async def test_old_proof_of_identity_is_no_step_up() -> None:
    async with visiting() as visit:
        visit.between.changes["token"] = with_claims(auth_time=NOW - 1000)
        assert (await visit.identify()).signed_in_at == int(NOW - 1000)
        with pytest.raises(SignInRefused):
            await visit.identify(max_age=300)


async def test_step_up_asks_the_provider_to_sign_in_again() -> None:
    async with visiting() as visit:
        query = visit.party.query(start_sign_in(PROVIDER, prompt=None, max_age=0))
        assert (query["prompt"], query["max_age"]) == ("login", "0")


async def test_keys_are_fetched_once_and_again_only_for_a_key_we_do_not_know() -> None:
    async with visiting() as visit:
        for _ in range(3):
            await visit.identify()
        assert visit.between.calls.count("jwks") == 1
        visit.between.changes["token"] = signed_otherwise("RS512", CIS2.key.private, {"kid": "new"})
        for _ in range(3):
            with pytest.raises(SignInRefused):
                await visit.identify()
        assert visit.between.calls.count("jwks") == 1


async def test_only_listed_addresses_are_called() -> None:
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(str(request.url))
        return httpx.Response(302, headers={"Location": "https://evil.test"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        outgoing = Outgoing(http, frozenset({"https://good.test/token"}))
        for address in ("https://evil.test/", "https://good.test/token?x=1", "http://good.test/token"):
            with pytest.raises(OutgoingFailed):
                await outgoing.get(address)
        assert calls == []
        with pytest.raises(OutgoingFailed):
            await outgoing.post_form("https://good.test/token", {})
        assert calls == ["https://good.test/token"]


async def test_provider_that_cannot_be_reached_is_a_plain_refusal() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route", request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(OutgoingFailed):
            await Outgoing(http, frozenset({"https://good.test/"})).get("https://good.test/")


def test_providers_are_data(tmp_path: Path) -> None:
    write_signing_key(tmp_path / "nhs.jwk", new_signing_key("RS512"))
    entry: dict[str, Any] = {
        "provider_id": "nhs-login",
        "kind": "nhs-login",
        "issuer": "https://auth.example.org",
        "client_id": "held",
        "key_file": "nhs.jwk",
        "authorization_endpoint": "https://auth.example.org/authorize",
        "token_endpoint": "https://auth.example.org/token",
        "userinfo_endpoint": "https://auth.example.org/userinfo",
        "jwks_uri": "https://auth.example.org/jwks",
        "id_token_algorithm": "RS512",
    }
    assert ProviderEntry.__struct_config__.forbid_unknown_fields
    path = tmp_path / "providers.json"
    path.write_text(json.dumps([entry]))
    (provider,) = load_providers(path)
    assert (provider.issuer, provider.key.algorithm) == ("https://auth.example.org", "RS512")
    (tmp_path / "nhs.jwk").chmod(0o644)
    with pytest.raises(KeyFileRefused):
        load_providers(path)
