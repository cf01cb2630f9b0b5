"""Signing in, put together: who someone is, what they may ask for, and who sent a request."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
from litestar.connection import ASGIConnection

from server.http.times import to_wire
from server.identity import authenticate as door
from server.identity.access_tokens import AccessClaims, AccessTokens
from server.identity.clients import INTEGRATOR_SCOPES
from server.identity.devices import require_live_key
from server.identity.discovery import authorization_server, smart_configuration
from server.identity.nonces import Nonces
from server.identity.oidc import RelyingParty
from server.identity.outgoing import Outgoing
from server.identity.parts import Parts
from server.identity.people import KnownRecord, RecordBook
from server.identity.principal import Principal
from server.identity.providers import Provider
from server.identity.sign_in import SignIn
from server.identity.signing_keys import SigningKey, jwks_document
from server.identity.token_endpoint import GrantHandler, TokenEndpoint
from server.identity.token_state import GrantLiveness, TokenState
from server.identity.wire import Me, RecordLine
from server.storage.directory_devices import device_of_key
from server.storage.directory_identity import purge_expired
from server.storage.engine import Storage
from server.storage.keys import KeyProvider
from server.storage.sealing import Sealer

CALLBACK_PATH = "/oauth/callback"


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What signing in needs to be told. Clients in `nonce_clients` must put our nonce in each proof."""

    base_url: str
    is_development: bool
    nonce_key: bytes
    nonce_clients: frozenset[str] = frozenset()


async def no_grant_is_live(_: AccessClaims) -> bool:
    """For an application without sharing."""
    return False


class Identity:
    """Made once by the application. Other features use `authenticate`, `clients`, `people` and `clock`."""

    def __init__(
        self,
        settings: IdentitySettings,
        *,
        storage: Storage,
        keys: KeyProvider,
        signing_keys: Sequence[SigningKey],
        providers: Sequence[Provider],
        http: httpx.AsyncClient,
        records: RecordBook,
        grant_handlers: Mapping[str, GrantHandler] | None = None,
        is_grant_live: GrantLiveness = no_grant_is_live,
    ) -> None:
        self.parts = Parts(
            base_url=settings.base_url,
            storage=storage,
            sealer=Sealer.of_installation(keys.secret("identity")),
            access_tokens=AccessTokens(settings.base_url, signing_keys),
            nonces=Nonces(settings.nonce_key),
            records=records,
            nonce_clients=settings.nonce_clients,
        )
        outgoing = Outgoing(http, _allowed(providers, is_development=settings.is_development))
        relying_party = RelyingParty(providers, outgoing, settings.base_url + CALLBACK_PATH)
        self.sign_in = SignIn(self.parts, relying_party, is_development=settings.is_development)
        self.tokens = TokenEndpoint(self.parts, grant_handlers or {})
        self.token_state = TokenState(self.parts, is_grant_live)
        self.clients = self.parts.clients
        self.people = self.parts.people
        self.clock = self.parts.clock

    async def authenticate(self, method: str, url: str, headers: door.RawHeaders) -> Principal:
        """Who sent this request. Raises NotSignedIn."""
        return await door.authenticate(self.parts, method, url, headers)

    async def authenticate_connection(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
        """Who sent the request of this connection. Raises NotSignedIn."""
        scope: Any = connection.scope
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        address = path.decode("latin-1").partition("?")[0]
        return await self.authenticate(scope.get("method", "GET"), address, scope["headers"])

    async def prove_key(self, connection: ASGIConnection[Any, Any, Any, Any]) -> str:
        """The thumbprint of the key that sent the request of this connection, whatever token came with it.

        Raises NotSignedIn without a good proof.
        """
        scope: Any = connection.scope
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        address = path.decode("latin-1").partition("?")[0]
        return await door.prove_key(self.parts, scope.get("method", "GET"), address, scope["headers"])

    def fresh_nonce(self) -> str:
        """The nonce to put in the `DPoP-Nonce` header of an answer."""
        return self.parts.nonces.issue(self.clock.last_known())

    async def forget_expired(self) -> None:
        """Drops codes, sign-ins and refresh tokens that expired more than a day ago. For a daily task."""
        await self.parts.storage.register(purge_expired)

    async def me(self, principal: Principal) -> Me:
        """`GET /me`. DeviceEnded or NotSignedIn for a key whose phone was ended."""
        device = await self.parts.storage.look_up(lambda session: device_of_key(session, principal.jkt))
        if device is not None:
            require_live_key(device)
        if principal.kind == "integrator":
            client = await self.clients.find(principal.client_id)
            name = client.name if client is not None else ""
            return Me(subject=principal.subject, name=name, kind=principal.kind, records=[])
        person = await self.people.find(principal.subject)
        known = await self.parts.records.of_subject(principal.subject) if principal.kind == "citizen" else ()
        return Me(
            subject=principal.subject,
            name=person.name if person is not None else "",
            kind=principal.kind,
            records=[_line(record) for record in known],
        )

    def jwks(self) -> dict[str, Any]:
        return jwks_document(self.parts.access_tokens.keys)

    def metadata(self) -> dict[str, Any]:
        """`/.well-known/oauth-authorization-server`."""
        return authorization_server(self.parts.base_url, self.tokens.grant_types, self._scopes())

    def smart(self) -> dict[str, Any]:
        """`/.well-known/smart-configuration`."""
        return smart_configuration(self.parts.base_url, self.tokens.grant_types, self._scopes())

    def _scopes(self) -> list[str]:
        own = {scope for client in self.clients.own.values() for scope in client.scopes}
        return sorted(own | set(INTEGRATOR_SCOPES))


def _line(record: KnownRecord) -> RecordLine:
    return RecordLine(
        record_id=str(record.record_id),
        patient_id=record.patient_id,
        name=record.name,
        relation=record.relation,
        until=to_wire(record.until) if record.until is not None else None,
    )


def _allowed(providers: Sequence[Provider], *, is_development: bool) -> frozenset[str]:
    allowed = {address for provider in providers for address in provider.endpoints}
    if is_development:
        allowed |= {provider.authorization_endpoint for provider in providers}
    return frozenset(allowed)
