"""One citizen with a record and phones that speak to the sync service without HTTP, over real storage."""

import json
from typing import Any
from uuid import UUID, uuid4

import msgspec

from server.audit.signer import LogSigner, create_log_key
from server.commands.held_client import ProofKey
from server.devices_sync.service import Asked, DevicesSync
from server.identity.people import put_person
from server.identity.principal import Person, Principal
from server.identity.tokens import Jwk, thumbprint
from server.records.service import Records
from server.sharing.authorise import authorise_owner
from server.sharing.authority import Authority
from server.storage.engine import Storage
from sync.messages import Page, Push, Pushed, Registered, Registration, Result

BASE_URL = "https://held.example.org"
CITIZEN = Person(
    subject="login:amina",
    kind="citizen",
    name="Amina Yusuf",
    family_name="Yusuf",
    nhs_number="9990000018",
    birth_date="1990-02-01",
    assurance="P9",
)


class SyncWorld:
    """The record and the service."""

    def __init__(self, storage: Storage, signer: LogSigner) -> None:
        self.storage = storage
        self.signer = signer
        self.record_id = uuid4()
        self.sync = DevicesSync(storage, signer, {})

    async def begin(self) -> "SyncWorld":
        """The record exists and its owner has signed in."""
        self.record_id = await Records(self.storage).open_record_for(CITIZEN)
        await self.storage.register(lambda session: put_person(session, CITIZEN))
        return self

    async def phone(self, name: str = "Phone") -> "ServicePhone":
        """A registered phone."""
        return await ServicePhone(self, name).register()


class ServicePhone:
    """A phone that calls the service."""

    def __init__(self, world: SyncWorld, name: str) -> None:
        self.world = world
        self.name = name
        self.key = ProofKey()
        self.jkt = thumbprint(msgspec.convert(self.key.jwk, Jwk))
        self.registered: Registered | None = None

    @property
    def device_id(self) -> UUID:
        """Its id."""
        assert self.registered is not None
        return UUID(self.registered.device_id)

    async def register(self) -> "ServicePhone":
        """Makes it known."""
        registration = Registration(key=self.key.jwk, name=self.name)
        self.registered = await self.world.sync.register(await self.authority(), registration)
        return self

    async def authority(self) -> Authority:
        """Its owner's authority, of its key."""
        storage, record_id = self.world.storage, self.world.record_id
        principal = Principal(
            kind="citizen",
            subject=CITIZEN.subject,
            client_id="held-phone",
            jkt=self.jkt,
            token_id=uuid4().hex,
            signed_in_at=await storage.look_up(lambda session: session.now),
            record_id=record_id,
        )
        return await authorise_owner(storage, principal, record_id)

    async def changes(self, **asked: Any) -> Page:
        """One page."""
        page = await self.world.sync.changes(await self.authority(), Asked(**asked))
        assert isinstance(page, Page)
        return page

    async def push(self, *mutations: dict[str, Any], since: str | None = None) -> Pushed:
        """What it did."""
        return await self.world.sync.push(await self.authority(), self.pushing(*mutations, since=since))

    async def one(self, mutation: dict[str, Any]) -> Result:
        """The result of one mutation."""
        return (await self.push(mutation)).results[0]

    def pushing(self, *mutations: dict[str, Any], since: str | None = None) -> Push:
        """The message of a push."""
        raw = tuple(msgspec.Raw(json.dumps(mutation).encode()) for mutation in mutations)
        return Push(device_id=str(self.device_id), mutations=raw, since=since)


def new_signer(folder: Any) -> LogSigner:
    """A signer with a key of its own."""
    path = folder / "log.key"
    create_log_key(path)
    return LogSigner.open(path, BASE_URL)
