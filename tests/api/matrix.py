"""What the isolation matrix is made of: routes from the application's own table, actors, and targets.

A route parameter nobody has given a sample for makes the matrix fail, so that no route can be forgotten.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from litestar import Litestar
from litestar.routes import ASGIRoute, HTTPRoute

from server.audit import service as audit
from server.audit.entry import LogEntry
from server.commands.held_client import HeldClient, ProofKey
from server.http.access import Access
from server.storage.session import ReadSession
from tests.held_app import ServedHeld
from tests.world import AMINA, BEN, OKAFOR, PATEL, Integrator, Shared, World, extract_for, offer, record_id_of

SLICE = {"current": True, "categories": ["results"]}
PLAIN = "00000000-0000-4000-8000-000000000000"


class Route(NamedTuple):
    """One method of one path, with its access class."""

    method: str
    path: str
    access: Access


class Target(NamedTuple):
    """What a cell is aimed at: a name for the state and the values of the path's parameters."""

    state: str
    values: dict[str, str]


def routes_of(app: Litestar) -> list[Route]:
    """Every method of every route, automatic ones included."""
    found: list[Route] = []
    for route in app.routes:
        if isinstance(route, ASGIRoute):
            found.append(Route("GET", route.path_format, route.route_handler.opt["access"]))
            continue
        assert isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items():
            found.append(
                Route(str(getattr(method, "value", method)), route.path_format, handler.opt["access"])
            )
    return sorted(
        found, key=lambda one: (one.method not in ("GET", "HEAD"), "end" in one.path, one.path, one.method)
    )


class Actor(NamedTuple):
    """Someone who calls: their client, and the markers of what they may see."""

    name: str
    client: HeldClient
    may_see: frozenset[str]
    has_token: bool = True
    seconds_ahead: int = 0


class MatrixWorld:
    """Amina's record with a live, an ended and an expired grant, Ben's with one, and everyone else."""

    def __init__(self, held: ServedHeld) -> None:
        self.held = held
        self.world = World(held)
        self.actors: dict[str, Actor] = {}
        self.values: dict[str, dict[str, Any]] = {}

    async def build(self) -> None:
        """Makes the records, the grants and the actors."""
        await self.world.register_integrators()
        self.world.stranger = Integrator("stranger-system", "X99999")  # type: ignore[attr-defined]
        owner, ben = await self._filled(AMINA), await self._filled(BEN)
        doctor, pharmacist = await self.world.sign_in(PATEL), await self.world.sign_in(OKAFOR)
        live = await self.world.share(owner, SLICE, doctor)
        of_ben = await self.world.share(ben, {"current": False, "categories": ["immunisations"]}, pharmacist)
        ended = await self.world.share(owner, SLICE, pharmacist)
        short = await self.world.share(owner, SLICE, pharmacist, seconds=60)
        offered = await offer(owner, SLICE)
        amina_id, ben_id = await record_id_of(owner), await record_id_of(ben)
        await owner.expect(200, "POST", f"/records/{amina_id}/grants/{ended.grant_id}/end", json={})
        await self._register_phones(owner, ben, amina_id=amina_id, ben_id=ben_id)
        await self._name_targets(
            owner, ben, amina_id=amina_id, ben_id=ben_id, live=live, of_ben=of_ben, offered=offered
        )
        await self._name_actors(owner, ben, doctor, live=live, of_ben=of_ben, ended=ended, short=short)

    async def _filled(self, person: Any) -> HeldClient:
        client = await self.world.sign_in(person)
        await self.world.link(client)
        report = await self.world.push(extract_for(person, person.given_name.upper()))
        assert report["state"] == "done", report
        return client

    async def _register_phones(
        self, owner: HeldClient, ben: HeldClient, *, amina_id: str, ben_id: str
    ) -> None:
        """The owners' own keys are phones'; both have a tablet too, which may be ended."""
        tablet, tablet_of_ben = await self.world.sign_in(AMINA), await self.world.sign_in(BEN)
        devices: dict[str, str] = {"absent": str(uuid4())}
        segments: dict[str, str] = {"absent": "x"}
        for state, client, record_id in (
            ("this", owner, amina_id),
            ("own", tablet, amina_id),
            ("foreign", ben, ben_id),
            ("foreign", tablet_of_ben, ben_id),
        ):
            path, body = f"/sync/v1/records/{record_id}", {"key": client.key.jwk}
            devices[state] = (await client.expect(201, "POST", f"{path}/devices", json=body))["deviceId"]
            found = await client.expect(200, "GET", f"{path}/snapshot")
            segments[state] = found["segments"][0]["hash"]
        devices.pop("this")
        self.values |= {"device_id": devices, "name": segments}

    async def _name_targets(
        self,
        owner: HeldClient,
        ben: HeldClient,
        *,
        amina_id: str,
        ben_id: str,
        live: Shared,
        of_ben: Shared,
        offered: dict[str, Any],
    ) -> None:
        found = {
            state: await _condition_named(owner, text)
            for state, text in (("visible", "AMINA-asthma"), ("hidden", "AMINA-depression"))
        }
        found["foreign"] = await _condition_named(ben, "BEN-asthma")
        found["absent"] = str(uuid4())
        practice = await self.world.integrator_client(self.world.practice)
        report = await self.world.push(extract_for(AMINA, "AMINA"))
        assert practice.token
        self.values |= {
            "record_id": {"own": amina_id, "foreign": ben_id, "absent": str(uuid4())},
            "grant_id": {
                "own": live.grant_id,
                "offered": offered["grant_id"],
                "foreign": of_ben.grant_id,
                "absent": str(uuid4()),
            },
            "logical_id": found,
            "patient_id": {"own": live.patient_id, "foreign": of_ben.patient_id, "absent": str(uuid4())},
            "extract_id": {"own": report["extract_id"], "absent": str(uuid4())},
            "correction_id": {"own": await self._questioned(owner, amina_id), "absent": str(uuid4())},
            "notice_id": {"absent": str(uuid4())},
            "organisation": {"own": "B86001", "absent": "Z99999"},
        }

    async def _questioned(self, owner: HeldClient, record_id: str) -> str:
        body = {"kind": "missing", "should_say": "AMINA-asthma is not there."}
        asked = await owner.expect(201, "POST", f"/records/{record_id}/corrections", json=body)
        return asked["correction_id"]

    async def _name_actors(
        self,
        owner: HeldClient,
        ben: HeldClient,
        doctor: HeldClient,
        *,
        live: Shared,
        of_ben: Shared,
        ended: Shared,
        short: Shared,
    ) -> None:
        assert owner.token
        stolen = HeldClient(owner.http, owner.base_url, key=ProofKey()).with_token(owner.token)
        seen_live = frozenset(
            {"AMINA-asthma", "AMINA-penicillin", "AMINA-salbutamol", "AMINA-result", "AMINA-gp"}
        )
        actors = [
            Actor("nobody", self.held.client(), frozenset(), has_token=False),
            Actor("bearer", _Bearer(owner), frozenset(), has_token=False),
            Actor("thief of a token", stolen, frozenset(), has_token=False),
            Actor("owner", owner, frozenset({"AMINA"})),
            Actor(
                "owner before choosing a record",
                await self.world.sign_in(AMINA, with_record=False),
                frozenset(),
            ),
            Actor("another citizen", ben, frozenset({"BEN"})),
            Actor("professional without a grant", doctor, frozenset()),
            Actor("reader", live.client, seen_live),
            Actor("reader of another record", of_ben.client, frozenset({"BEN-flu-jab"})),
            Actor("reader whose access ended", ended.client, frozenset(), has_token=False),
            Actor(
                "reader whose access ran out", short.client, frozenset(), has_token=False, seconds_ahead=60
            ),
            Actor(
                "linked integrator",
                await self.world.integrator_client(self.world.practice),
                # Amina asked this organisation to put something right, in these words.
                frozenset({"AMINA-asthma"}),
            ),
            Actor("other integrator", await self.world.integrator_client(self.world.hospital), frozenset()),
        ]
        self.actors = {actor.name: actor for actor in actors}

    @property
    def record_ids(self) -> list[UUID]:
        """Amina's record and Ben's."""
        return [UUID(self.values["record_id"]["own"]), UUID(self.values["record_id"]["foreign"])]

    async def log_size(self, record_id: UUID) -> int:
        """How many entries the record's log has."""

        def size(session: ReadSession) -> int:
            head = session.hot.log_head()
            assert head is not None
            return head.size

        return await self.held.parts.storage.read(record_id, size)

    async def entries_after(self, record_id: UUID, n: int) -> list[LogEntry]:
        """The entries after number n."""
        page = await audit.entries(self.held.parts.storage, record_id, n, 50)
        return [opened.entry for opened in page.entries]

    def targets(self, route: Route) -> Iterator[Target]:
        """Every state the route's parameters can be in. KeyError for a parameter without samples."""
        names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        samples: list[list[tuple[str, str, str]]] = []
        for name in names:
            match name:
                case "resource_type":
                    samples.append([(name, "", "Patient" if "$everything" in route.path else "Condition")])
                case "path" if route.path.startswith("/docs"):
                    samples.append([(name, "", "swagger")])
                case "version_id":
                    samples.append([(name, "", "1")])
                case "logical_id" if "$everything" in route.path:
                    samples.append(
                        [(name, state, value) for state, value in self.values["patient_id"].items()]
                    )
                case _:
                    samples.append([(name, state, value) for state, value in self.values[name].items()])
        if route.path == "/fhir/{resource_type}/{logical_id}":
            task_id = self.values["correction_id"]["own"]
            yield Target("task=own", {"resource_type": "Task", "logical_id": task_id})
        for chosen in _product(samples):
            state = " ".join(f"{name}={state}" for name, state, _ in chosen if state) or "-"
            yield Target(state, {name: value for name, _, value in chosen})


class _Bearer(HeldClient):
    """The owner's token sent as a bearer token."""

    def __init__(self, owner: HeldClient) -> None:
        super().__init__(owner.http, owner.base_url, key=owner.key)
        self._stolen = owner.token

    async def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {**(options.pop("headers", None) or {}), "Authorization": f"Bearer {self._stolen}"}
        return await super().call(method, path, headers=headers, **options)


def _product(samples: list[list[tuple[str, str, str]]]) -> Iterator[list[tuple[str, str, str]]]:
    if not samples:
        yield []
        return
    for first in samples[0]:
        for rest in _product(samples[1:]):
            yield [first, *rest]


async def _condition_named(client: HeldClient, text: str) -> str:
    found = await client.expect(200, "GET", "/fhir/Condition")
    return next(
        entry["resource"]["id"] for entry in found["entry"] if entry["resource"]["code"]["text"] == text
    )
