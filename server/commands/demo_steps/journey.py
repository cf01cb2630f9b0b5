"""What the journey knows as it goes along, and how a step says that something is not as promised."""

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import httpx
import msgspec

from server.commands.demo_citizens import DemoDoor
from server.commands.demo_file import DemoCitizen, DemoFile, DemoProfessional
from server.commands.extract_sender import ExtractSender
from server.commands.held_client import HeldClient
from server.commands.phone_app.folder import PhoneFolder

CITIZEN = "nhs-login:george-hartley"
OTHER_CITIZEN = "nhs-login:aisha-khan"
UNPROVED = "nhs-login:tom-whitaker"
DOCTOR = "cis2:samuel-adeyemi"
PHARMACIST = "cis2:hassan-ali"
GUESSER = "cis2:ewa-nowak"
RIVAL = "cis2:priya-patel"

DEMO_NAMES = ("george-", "demo-")
"""How the names begin that the demo's senders gave George's items."""

REFUSED = frozenset({401, 403, 404})

ItemName = tuple[str, str]
"""(resource type, id)."""
Resource = dict[str, Any]


class NotAsPromised(Exception):
    """Something a step relies on is broken."""


class Step(NamedTuple):
    """One sentence of the journey and what makes it true."""

    sentence: str
    play: "Callable[[Journey], Awaitable[None]]"


class Disclosure(NamedTuple):
    """One answer with content that a professional got: what the log must show."""

    kind: str
    items: frozenset[ItemName]


class Holder(msgspec.Struct, kw_only=True):
    """A professional who holds a grant: the client with its token, and everything it was shown."""

    client: HeldClient
    grant_id: str
    answer: dict[str, Any]
    seen: list[Disclosure] = msgspec.field(default_factory=list[Disclosure])


class PhonePlay(msgspec.Struct, kw_only=True):
    """What the steps on George's phones know: ids of what was made there, and who may see it."""

    folder: PhoneFolder
    tablet: PhoneFolder | None = None
    cursor: str = ""
    condition: str = ""
    reading: str = ""
    question: str = ""
    doctor: Holder | None = None
    pharmacist: Holder | None = None


class Journey:
    """One play of the demo. Steps fill it in from top to bottom."""

    def __init__(self, http: httpx.AsyncClient, demo: DemoFile) -> None:
        self.http = http
        self.demo = demo
        self.door = DemoDoor(http=http, base_url=demo.base_url, clients=demo.clients)
        self.play_id = secrets.token_hex(4)
        self.citizen: HeldClient
        self.doctor: HeldClient
        self.holder: Holder
        self.second_holder: Holder
        self.phone_play: PhonePlay
        self.items: dict[str, ItemName] = {}
        self.own: dict[ItemName, Resource] = {}
        self.others_item: ItemName
        self.entries_before = 0
        self.offered: list[str] = []
        self.code = ""
        self.offer: dict[str, Any] = {}
        self.page_link = ""
        self.receipt: dict[str, Any] = {}
        self.afterwards: list[Callable[[], Awaitable[None]]] = []

    @property
    def person(self) -> DemoCitizen:
        """The citizen whose record is shared."""
        return self._citizen(CITIZEN)

    @property
    def other_person(self) -> DemoCitizen:
        """A citizen who shares nothing."""
        return self._citizen(OTHER_CITIZEN)

    @property
    def record(self) -> str:
        """The path of the citizen's record."""
        return f"/records/{self.person.record_id}"

    def professional(self, subject: str) -> DemoProfessional:
        """Someone of the demo by their subject."""
        return next(one for one in self.demo.professionals if one.subject == subject)

    def sender(self, organisation: str) -> ExtractSender:
        """An integrator of the demo by its organisation."""
        integrator = next(one for one in self.demo.integrators if one.organisation == organisation)
        return ExtractSender(self.http, self.demo.base_url, integrator)

    @property
    def sent_by_demo(self) -> frozenset[ItemName]:
        """The citizen's items that came with the demo. Others may have been sent since."""
        return frozenset(item for name, item in self.items.items() if name.startswith(DEMO_NAMES))

    def item(self, name: str) -> ItemName:
        """An item of the citizen's by the name its source gave it."""
        must(name in self.items, f"the record has no item called {name}")
        return self.items[name]

    async def professional_client(self, subject: str) -> HeldClient:
        """A professional signed in with a key of their own."""
        client = HeldClient(self.http, self.demo.base_url)
        await client.sign_in(msgspec.to_builtins(self.demo.clients.portal), subject)
        return client

    def _citizen(self, subject: str) -> DemoCitizen:
        return next(one for one in self.demo.citizens if one.subject == subject)


def must(is_so: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence: must(it is so, otherwise).
    """Raises NotAsPromised, saying what is wrong, unless it is so."""
    if not is_so:
        raise NotAsPromised(otherwise)


def must_be_refused(response: httpx.Response, what: str, statuses: Iterable[int] = REFUSED) -> None:
    """The answer must be a refusal that carries no resource."""
    allowed = sorted(statuses)
    must(response.status_code in allowed, f"{what} was answered {response.status_code}, not one of {allowed}")
    must(not holds_resource(response), f"{what} was refused, yet the answer holds a resource")


def holds_resource(response: httpx.Response) -> bool:
    """Whether an answer carries anything of a record."""
    if not response.content or "json" not in response.headers.get("content-type", ""):
        return False
    body: Any = response.json()
    return isinstance(body, dict) and body.get("resourceType") not in (None, "OperationOutcome")  # pyright: ignore[reportUnknownMemberType]


def must_be_invalid_grant(response: httpx.Response, what: str) -> None:
    """The answer must be the one face of every refused code: nothing in it says why."""
    must(response.status_code == 400, f"{what} was answered {response.status_code}")
    body = response.json()
    must(body.get("error") == "invalid_grant", f"{what} was answered {body.get('error')}")
    must("access_token" not in body and "redemption" not in body, f"{what} gave something away")


def name_of(resource: Resource) -> ItemName:
    """What an item is called here."""
    return resource["resourceType"], resource["id"]


def resources_of(bundle: dict[str, Any]) -> list[Resource]:
    """The resources in an answer to a search."""
    return [entry["resource"] for entry in bundle.get("entry", [])]


def next_link(bundle: dict[str, Any]) -> str | None:
    """Where an answer to a search goes on."""
    return next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), None)


def references_in(value: Any) -> set[str]:
    """Every reference anywhere in a resource."""
    if isinstance(value, list):
        return {found for one in value for found in references_in(one)}  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
        if key == "reference" and isinstance(inner, str):
            found.add(inner)
        else:
            found |= references_in(inner)
    return found
