"""The applications and integrators that may ask for tokens.

Held's own two clients are fixed by the base URL. Integrators are registered by the operator, each with public
keys and the organisation it speaks for. Nobody else can sign anyone in (THREATS T13).
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from server.errors import Conflict, NotFound
from server.identity.tokens import Jwk, TokenRefused, VerifyingKey, verifying_key
from server.storage import directory
from server.storage.engine import Storage
from server.storage.session import DirectoryReads, DirectorySession

PHONE = "held-phone"
PORTAL = "held-portal"
ASSERTION_ALGORITHMS = ("ES384", "RS384", "ES256")
INTEGRATOR_SCOPES = ("system/Bundle.c", "system/Task.rus")
KEY_OVERLAP_SECONDS = 24 * 3600

ClientKind = Literal["phone", "portal", "integrator"]


class RegisteredKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A public key of a client. `retires_at` (seconds since 1970) is set once another has taken its place."""

    jwk: Jwk
    retires_at: int | None = None


class Client(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One registered client."""

    client_id: str
    kind: ClientKind
    name: str
    redirect_uris: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    keys: tuple[RegisteredKey, ...] = ()
    organisation: str | None = None

    def keys_at(self, now: float) -> Mapping[str, VerifyingKey]:
        """The keys that may sign for this client now, by `kid`."""
        live = [key for key in self.keys if key.retires_at is None or now < key.retires_at]
        return {key.jwk.kid: _usable(key.jwk) for key in live if key.jwk.kid is not None}


def own_clients(base_url: str) -> dict[str, Client]:
    """Held's phone app and the professionals' portal."""
    phone = Client(
        client_id=PHONE,
        kind="phone",
        name="Held",
        redirect_uris=(f"{base_url}/app/signed-in",),
        scopes=("patient/*.rs", "profile"),
    )
    portal = Client(
        client_id=PORTAL,
        kind="portal",
        name="Held for professionals",
        redirect_uris=(f"{base_url}/portal/signed-in",),
        scopes=("profile",),
    )
    return {PHONE: phone, PORTAL: portal}


def integrator(client_id: str, *, name: str, organisation: str, jwk: Jwk) -> Client:
    """A new integrator's registration. Raises TokenRefused when its key is private, unnamed or not usable."""
    return Client(
        client_id=client_id,
        kind="integrator",
        name=name,
        scopes=INTEGRATOR_SCOPES,
        keys=(RegisteredKey(jwk=checked_key(jwk)),),
        organisation=organisation,
    )


def checked_key(jwk: Jwk) -> Jwk:
    """`jwk` if it can verify a client's assertions. Raises TokenRefused."""
    if not jwk.kid or jwk.alg not in ASSERTION_ALGORITHMS:
        raise TokenRefused("A client's key needs a `kid`, and an `alg` of ES384, RS384 or ES256.")
    _usable(jwk)
    return jwk


class Clients:
    """Finds clients, and registers integrators for `held client`."""

    def __init__(self, storage: Storage, base_url: str) -> None:
        self._storage = storage
        self.own = own_clients(base_url)

    async def find(self, client_id: str) -> Client | None:
        own = self.own.get(client_id)
        if own is not None:
            return own
        return await self._storage.look_up(lambda session: _read(session, client_id))

    async def register(self, client: Client) -> None:
        """Keeps a new client. Raises Conflict when its id is taken."""

        def keep(session: DirectorySession) -> None:
            if client.client_id in self.own or _read(session, client.client_id) is not None:
                raise Conflict(f"There is already a client called '{client.client_id}'.")
            _write(session, client)

        await self._storage.register(keep)

    async def rotate(self, client_id: str, jwk: Jwk, *, overlap_seconds: int = KEY_OVERLAP_SECONDS) -> Client:
        """Adds a key; those before it stop working after `overlap_seconds` (0 where one has leaked)."""
        new_key = RegisteredKey(jwk=checked_key(jwk))

        def replace(session: DirectorySession) -> Client:
            client = _read(session, client_id)
            if client is None:
                raise NotFound(f"There is no client called '{client_id}'.")
            retires_at = int(session.now.timestamp()) + overlap_seconds
            kept = (_retiring(key, retires_at) for key in client.keys if key.jwk.kid != jwk.kid)
            rotated = msgspec.structs.replace(client, keys=(*kept, new_key))
            _write(session, rotated)
            return rotated

        return await self._storage.register(replace)


def _retiring(key: RegisteredKey, retires_at: int) -> RegisteredKey:
    sooner = min(key.retires_at or retires_at, retires_at)
    return msgspec.structs.replace(key, retires_at=sooner)


def _usable(jwk: Jwk) -> VerifyingKey:
    return verifying_key(jwk, jwk.alg or "")


def _read(session: DirectoryReads, client_id: str) -> Client | None:
    plain = directory.client(session, client_id)
    return msgspec.msgpack.decode(plain, type=Client) if plain is not None else None


def _write(session: DirectorySession, client: Client) -> None:
    directory.put_client(session, client.client_id, msgspec.msgpack.encode(client))
