"""Composes the application: every part is made here, once, and nothing imports this module."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import httpx
from litestar import Litestar, Request, Router
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler, Receive, Scope, Send

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.second_opinion import load_models
from server import errors
from server.audit.routes import ROUTES as AUDIT_ROUTES
from server.audit.signer import LogSigner
from server.corrections.routes import CORRECTION_ROUTES
from server.corrections.service import Corrections
from server.development.people import DemoPeople
from server.development.routes import development_router
from server.devices_sync.command_book import command_book
from server.devices_sync.routes import ROUTES as SYNC_ROUTES
from server.devices_sync.service import DevicesSync
from server.fhir_api.reader import FhirReader
from server.fhir_api.routes import FHIR_ROUTES
from server.fhir_api.tasks import TaskDesk
from server.http.access import (
    Access,
    access_guard,
    caller,
    classify_automatic_options,
    require_access_classes,
    route_opt,
)
from server.http.front_door import FrontDoor
from server.http.outcomes import framework_error, held_error, unexpected_error
from server.http.strict_json import BODY_BYTES_MAX, check_json_body
from server.identity.principal import Principal
from server.identity.providers import Provider, load_providers
from server.identity.routes import identity_router
from server.identity.service import Identity, IdentitySettings
from server.identity.signing_keys import SigningKey, load_signing_key
from server.identity.token_endpoint import TOKEN_EXCHANGE
from server.intake.links import Links
from server.intake.routes import ROUTES as INTAKE_ROUTES
from server.intake.service import Intake
from server.notices.routes import NOTICE_ROUTES
from server.notices.service import Notices
from server.ops.one_server import end_with_parent
from server.ops.process import keep_the_loop_answering
from server.ops.routes import OPS_ROUTES
from server.records.book import RecordShelf
from server.records.service import Records, patient_id_of
from server.secret_files import open_secrets
from server.settings import Settings, read_settings
from server.sharing.authorise import authorise_owner
from server.sharing.receipts import ReceiptSigner
from server.sharing.redeem import Redeeming
from server.sharing.routes import SHARING_ROUTES
from server.sharing.service import Sharing
from server.storage.engine import Storage
from server.storage.keys import KeyProvider
from server.version import VERSION

OUTGOING_SECONDS_MAX = 5
HOUSEKEEPING_SECONDS = 3600
HOUSEHOLD_PEOPLE_MAX = 10


class Parts:
    """Every service of the application, made from the settings and an open database."""

    def __init__(
        self, settings: Settings, storage: Storage, keys: KeyProvider, http: httpx.AsyncClient
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.http = http
        self.token_key = load_signing_key(settings.token_key_file)
        self.log_signer = LogSigner.open(settings.log_key_file, settings.base_url)
        self.demo_people = DemoPeople(settings) if settings.is_development else None
        self.records = Records(storage, people_max=_people_max(settings))
        self.redeeming = Redeeming(storage, patient_id_of)
        self.sharing = Sharing(storage, ReceiptSigner(settings.base_url, self.token_key), patient_id_of)
        self.intake = Intake(storage, self.records, is_only_process=settings.uses_sqlite)
        self.links = Links(storage, self.records)
        self.notices = Notices(storage)
        self.corrections = Corrections(storage)
        self.devices_sync = DevicesSync(
            storage, self.log_signer, command_book(self.sharing, self.corrections, base_url=settings.base_url)
        )
        self.fhir = FhirReader(settings.base_url, storage, self.records)
        self.task_desk = TaskDesk(settings.base_url, self.corrections)
        self.identity = Identity(
            IdentitySettings(
                base_url=settings.base_url,
                is_development=settings.is_development,
                nonce_key=_nonce_key(settings, keys),
            ),
            storage=storage,
            keys=keys,
            signing_keys=_signing_keys(self.token_key),
            providers=self._providers(),
            http=http,
            records=RecordShelf(storage, self.records),
            grant_handlers={TOKEN_EXCHANGE: self.redeeming.exchange},
            is_grant_live=self.redeeming.is_token_live,
        )
        if self.demo_people is not None:
            self.demo_people.use_clock(self.identity.clock.last_known)

    def _providers(self) -> Sequence[Provider]:
        if self.demo_people is not None:
            return self.demo_people.providers()
        assert self.settings.providers_file is not None
        return load_providers(self.settings.providers_file)


def create_app(parts: Parts) -> FrontDoor:
    """The application around these parts. UnclassifiedRoute when a route says nothing of who may call it."""
    settings = parts.settings
    app = Litestar(
        route_handlers=_routes(parts),
        guards=[access_guard],
        before_request=check_json_body,
        dependencies=_dependencies(parts),
        exception_handlers={
            errors.HeldError: held_error,
            HTTPException: framework_error,
            Exception: unexpected_error,
        },
        openapi_config=_documentation() if settings.is_development else None,
        lifespan=[lambda _: _running(parts)],
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
        debug=False,
    )
    app.state.authenticate = parts.identity.authenticate_connection
    classify_automatic_options(app)
    require_access_classes(app)
    return FrontDoor(app, parts.identity.fresh_nonce)


async def open_parts(settings: Settings, http: httpx.AsyncClient | None = None) -> Parts:
    """Opens the database and the keys that the settings name."""
    keys = open_secrets(settings).keys
    storage = await Storage.open(settings.database_url, keys, clock_offset=settings.clock_offset)
    client = http or httpx.AsyncClient(timeout=OUTGOING_SECONDS_MAX, follow_redirects=False, trust_env=False)
    return Parts(settings, storage, keys, client)


class FromEnvironment:
    """What the web server runs. It opens its parts when the server starts it, on the server's own loop."""

    def __init__(self) -> None:
        self._app: FrontDoor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if self._app is None:
            self._app = create_app(await open_parts(read_settings(os.environ)))
            load_models(CATALOGUE)
            keep_the_loop_answering()
        await self._app(scope, receive, send)


def from_environment() -> FromEnvironment:
    """The application as the environment describes it, for a worker of `held serve`."""
    end_with_parent()
    return FromEnvironment()


@asynccontextmanager
async def _running(parts: Parts) -> AsyncGenerator[None]:
    await parts.intake.start()
    housekeeping = asyncio.create_task(_forget_expired(parts))
    try:
        yield
    finally:
        housekeeping.cancel()
        await parts.intake.stop()
        await parts.http.aclose()
        await parts.storage.close()


async def _forget_expired(parts: Parts) -> None:
    """Drops what can no longer be used: codes, sign-ins, refresh tokens, offers and counts of guesses."""
    while True:
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
        with suppress(errors.Busy):
            await parts.identity.forget_expired()
            await parts.sharing.forget_expired()


def _routes(parts: Parts) -> list[ControllerRouterHandler]:
    routes: list[ControllerRouterHandler] = [
        *OPS_ROUTES,
        identity_router(parts.identity),
        *SHARING_ROUTES,
        *AUDIT_ROUTES,
        *INTAKE_ROUTES,
        *SYNC_ROUTES,
        *CORRECTION_ROUTES,
        *NOTICE_ROUTES,
        *FHIR_ROUTES,
    ]
    if parts.demo_people is not None:
        routes.append(development_router(parts.demo_people))
    return routes


def _dependencies(parts: Parts) -> dict[str, Provide]:
    values: dict[str, Any] = {
        "settings": parts.settings,
        "storage": parts.storage,
        "identity": parts.identity,
        "sharing": parts.sharing,
        "intake": parts.intake,
        "links": parts.links,
        "records": parts.records,
        "devices_sync": parts.devices_sync,
        "fhir": parts.fhir,
        "task_desk": parts.task_desk,
        "corrections": parts.corrections,
        "notices": parts.notices,
        "log_signer": parts.log_signer,
    }
    provided = {name: _provide(value) for name, value in values.items()}
    return provided | {
        "principal": Provide(_principal, sync_to_thread=False),
        "own_record_id": Provide(_own_record_id),
    }


def _provide(value: Any) -> Provide:
    return Provide(lambda: value, sync_to_thread=False)


def _principal(request: Request[Any, Any, Any]) -> Principal:
    """Set by the access guard, which has already judged the route's access class."""
    return caller(request)


async def _own_record_id(
    record_id: FromPath[UUID], principal: NamedDependency[Principal], storage: NamedDependency[Storage]
) -> UUID:
    """The record in the path, when it is the caller's own; for features below sharing."""
    return (await authorise_owner(storage, principal, record_id)).record_id


def _documentation() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Held",
        version=VERSION,
        openapi_router=Router(
            "/docs", route_handlers=[], opt=route_opt(Access.PUBLIC), include_in_schema=False
        ),
        render_plugins=[SwaggerRenderPlugin()],
    )


def _people_max(settings: Settings) -> int | None:
    """SQLite has no second wall, so that in production it is for one household (DESIGN section 7)."""
    return HOUSEHOLD_PEOPLE_MAX if settings.uses_sqlite and not settings.is_development else None


def _nonce_key(settings: Settings, keys: KeyProvider) -> bytes:
    """New at each start where used proofs are remembered in memory alone; shared by all workers elsewhere."""
    return os.urandom(32) if settings.uses_sqlite else keys.secret("dpop-nonce")


def _signing_keys(newest: SigningKey) -> Sequence[SigningKey]:
    return (newest,)
