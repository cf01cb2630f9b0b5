"""Held's sign-in, whole, on SQLite: the development providers behind it, any number of senders before it."""

import base64
import functools
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.params import FromPath

from server.errors import HeldError
from server.http.access import Access, access_guard, route_opt
from server.http.front_door import FrontDoor
from server.http.outcomes import framework_error, held_error
from server.identity.clients import integrator
from server.identity.development_pages import development_app
from server.identity.development_provider import DemoPerson, DevelopmentProvider, development_providers
from server.identity.people import KnownRecord
from server.identity.principal import Person, Principal
from server.identity.routes import identity_router
from server.identity.service import Identity, IdentitySettings
from server.identity.signing_keys import SigningKey, new_signing_key
from server.identity.tokens import Jwk
from server.storage.engine import Storage
from tests.storages import new_keys, sqlite_storage

BASE_URL = "http://held.test"
ALEX = DemoPerson(
    provider="nhs-login",
    subject="alex",
    given_name="Alex",
    family_name="Green",
    nhs_number="9990000018",
    birth_date="1980-02-29",
)
SAM = DemoPerson(
    provider="nhs-login",
    subject="sam",
    given_name="Sam",
    family_name="Brown",
    nhs_number="9990000026",
    birth_date="1990-01-01",
)
UNPROVED = [
    msgspec.structs.replace(SAM, subject="unproved-p5", proofing_level="P5"),
    msgspec.structs.replace(SAM, subject="unproved-p0", proofing_level="P0"),
]
PATEL = DemoPerson(
    provider="cis2",
    subject="555000000001",
    given_name="Asha",
    family_name="Patel",
    role_code="R0260",
    role="General Medical Practitioner",
    organisation="A81001",
    organisation_name="Beeston Practice",
)
PEOPLE = [ALEX, SAM, *UNPROVED, PATEL]


class MemoryRecords:
    """Opens a record for each citizen and remembers it."""

    def __init__(self) -> None:
        self.known: dict[str, list[KnownRecord]] = {}

    async def open_for(self, person: Person) -> None:
        record = KnownRecord(record_id=uuid4(), patient_id=str(uuid4()), name=person.name)
        self.known.setdefault(person.subject, [record])

    async def of_subject(self, subject: str) -> Sequence[KnownRecord]:
        return self.known.get(subject, [])

    def record_of(self, person: DemoPerson) -> UUID:
        return self.known[person.held_subject][0].record_id


class World:
    """One running Held, in process."""

    def __init__(
        self, storage: Storage, identity: Identity, records: MemoryRecords, provider_http: httpx.AsyncClient
    ) -> None:
        app = _app(identity)
        self.provider_http = provider_http
        self.storage = storage
        self.identity = identity
        self.records = records
        self.app = app
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=BASE_URL)

    def resource(self, person: DemoPerson) -> str:
        return f"{BASE_URL}/records/{self.records.record_of(person)}"


class Sender:
    """Somebody's application: a key of its own, and the calls it makes with it."""

    def __init__(self, world: World, client_id: str = "held-phone", algorithm: str = "ES256") -> None:
        self.world = world
        self.client_id = client_id
        self.algorithm = algorithm
        self.key: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else ed25519.Ed25519PrivateKey.generate()
        )
        page = "app" if client_id == "held-phone" else "portal"
        self.redirect_uri = f"{BASE_URL}/{page}/signed-in"
        self.verifier = secrets.token_urlsafe(48)

    @property
    def jwk(self) -> dict[str, Any]:
        members = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        return {name: value for name, value in members.items() if name != "key_ops"}

    def proof(
        self, method: str, url: str, token: str | None = None, *, header: Any = None, **changes: Any
    ) -> str:
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(12),
            "htm": method,
            "htu": url if url.startswith("http") else BASE_URL + url,
            "iat": int(time.time() + self.world.storage.clock_offset.total_seconds()),
        }
        if token is not None:
            claims["ath"] = _base64url(hashlib.sha256(token.encode()).digest())
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        full_header = {"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk} | (header or {})
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers=full_header)

    async def authorize(self, person: DemoPerson | None, **changes: str | None) -> httpx.Response:
        query: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "code_challenge": _base64url(hashlib.sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "state": "state-of-the-app",
            "login_hint": person.held_subject if person is not None else None,
        }
        query |= changes
        return await self.world.http.get(
            "/oauth/authorize", params={name: value for name, value in query.items() if value is not None}
        )

    async def code(self, person: DemoPerson, **changes: str | None) -> str:
        answer = await self.authorize(person, **changes)
        assert answer.status_code == 302, answer.text
        return landed(answer)["code"]

    async def form(
        self, fields: dict[str, str | None], path: str = "/oauth/token", **proof_changes: Any
    ) -> httpx.Response:
        body = {name: value for name, value in fields.items() if value is not None}
        headers = {"DPoP": self.proof("POST", path, **proof_changes)}
        return await self.world.http.post(path, data=body, headers=headers)

    async def redeem(self, code: str, **changes: str | None) -> httpx.Response:
        fields: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": self.verifier,
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
        }
        return await self.form(fields | changes)

    async def refresh(self, token: str, **changes: str | None) -> httpx.Response:
        fields: dict[str, str | None] = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            "client_id": self.client_id,
        }
        return await self.form(fields | changes)

    async def sign_in(self, person: DemoPerson, **changes: str | None) -> dict[str, Any]:
        answer = await self.redeem(await self.code(person, **changes))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def call(
        self, token: str, path: str = "/me", method: str = "GET", **changes: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, path, token, **changes)}
        return await self.world.http.request(method, path, headers=headers)


class IntegratorSender(Sender):
    """A GP system with a registered key of its own."""

    def __init__(self, world: World, client_id: str, signing: SigningKey) -> None:
        super().__init__(world, "held-phone")
        self.client_id = client_id
        self.signing = signing

    def assertion(self, **changes: Any) -> str:
        now = int(time.time() + self.world.storage.clock_offset.total_seconds())
        claims: dict[str, Any] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{BASE_URL}/oauth/token",
            "exp": now + 120,
            "jti": secrets.token_urlsafe(12),
        }
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        return self.signing.sign(claims, typ="JWT")

    def credentials(self, **changes: Any) -> dict[str, str | None]:
        return {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.assertion(**changes),
        }

    async def ask(self, **changes: Any) -> httpx.Response:
        return await self.form({"grant_type": "client_credentials", **self.credentials(**changes)})


async def registered_integrator(world: World, client_id: str = "gp-system") -> IntegratorSender:
    signing = new_signing_key("ES384")
    jwk = msgspec.convert(signing.public_jwk(), Jwk)
    await world.identity.clients.register(
        integrator(client_id, name="Beeston's system", organisation="A81001", jwk=jwk)
    )
    return IntegratorSender(world, client_id, signing)


def landed(answer: httpx.Response) -> dict[str, str]:
    """The parameters an application gets back at its address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@asynccontextmanager
async def open_world(
    folder: Path, *, is_development: bool = True, **identity_parts: Any
) -> AsyncIterator[World]:
    async with sqlite_storage(folder) as storage:
        providers = development_providers(BASE_URL, PEOPLE, lambda: _now(storage), make_key=_key_of_this_run)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=development_app(providers))
        ) as provider_http:
            records = MemoryRecords()
            nonce_clients = identity_parts.pop("nonce_clients", frozenset())
            identity = Identity(
                IdentitySettings(
                    base_url=BASE_URL,
                    is_development=is_development,
                    nonce_key=secrets.token_bytes(32),
                    nonce_clients=nonce_clients,
                ),
                storage=storage,
                keys=new_keys(folder),
                signing_keys=[new_signing_key()],
                providers=_configured(providers),
                http=provider_http,
                records=records,
                **identity_parts,
            )
            world = World(storage, identity, records, provider_http)
            async with world.http:
                yield world


def _configured(providers: Sequence[DevelopmentProvider]) -> list[Any]:
    return [provider.provider() for provider in providers]


@functools.cache
def _key_of_this_run(_: str, algorithm: str) -> SigningKey:
    """RSA keys take long to make, and these guard nobody."""
    return new_signing_key(algorithm)


def _now(storage: Storage) -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC) + storage.clock_offset


@post("/elsewhere/{name:str}", opt=route_opt(Access.SIGNED_IN), status_code=200)
async def elsewhere(name: FromPath[str]) -> dict[str, str]:
    return {"name": name}


@get("/professionals", opt=route_opt(Access.PROFESSIONAL))
async def professionals(principal: NamedDependency[Principal]) -> dict[str, str]:
    return {"subject": principal.subject}


def _app(identity: Identity) -> Any:
    def principal_of(request: Request[Any, Any, Any]) -> Principal:
        return request.scope["state"]["principal"]

    app = Litestar(
        route_handlers=[identity_router(identity), elsewhere, professionals],
        guards=[access_guard],
        dependencies={"principal": Provide(principal_of, sync_to_thread=False)},
        exception_handlers={HeldError: held_error, HTTPException: framework_error},
        state=State({"authenticate": identity.authenticate_connection}),
        openapi_config=None,
    )
    return FrontDoor(app, identity.fresh_nonce)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
