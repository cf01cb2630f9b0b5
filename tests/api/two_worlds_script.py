"""Scripts: what a caller asks of both worlds, drawn from everything that is offered and much that is not."""

from collections.abc import Callable, Sequence
from random import Random
from urllib.parse import quote, urlencode
from uuid import UUID

from fhir_profiles.catalogue import CATALOGUE, SearchParam
from fhir_profiles.search_query import sort_names
from server.commands.held_client import ACCESS_GRANT, ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE
from tests.api import two_worlds_phone as phones
from tests.api.matrix import Route
from tests.api.two_worlds import TOKEN_PATH, Call
from tests.api.two_worlds_cast import Person
from tests.held_app import PORTAL

_CODES = (
    "195967001",
    "http://snomed.info/sct|35489007",
    "http://snomed.info/sct|",
    "4548-4",
    "active",
    "resolved",
    "completed",
    "final",
    "laboratory",
    "39113611000001102",
)
_DATES = ("2019", "2024", "2024-03", "2026-09-02", "2026-09-01", "2015-01-01", "2030")
_PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_TEXTS = ("Dr", "Beeston", "Problems", "a", "HIDDEN", "Letter", "Surgery")
_ELEMENTS = ("code", "subject", "status", "name", "meta", "text", "encounter", "performer", "entry", "period")
_READING_TYPES = (
    "Condition",
    "Observation",
    "Encounter",
    "MedicationRequest",
    "Practitioner",
    "List",
    "Provenance",
)
_CUT = (
    "Condition?evidence-detail",
    "DocumentReference?related",
    "DiagnosticReport?result",
    "List?item",
    "Observation?derived-from",
    "Procedure?reason-reference",
)


class Script:
    """Draws calls about one record. `hidden` are names that extras brought."""

    def __init__(self, person: Person, rng: Random, routes: Sequence[Route]) -> None:
        self._person = person
        self._rng = rng
        self._routes = [route for route in routes if route.method in ("GET", "HEAD") and _is_safe(route)]
        self._known = list(person.names.values())
        self.hidden: list[str] = []
        self._fresh: list[str] = []

    def tell(self, names: Sequence[str]) -> None:
        """Names that have come to be since, hidden ones first among what is asked for."""
        self._fresh = list(names)
        self.hidden += names

    def calls(self, count: int, caller: str) -> list[Call]:
        """So many calls: first about what an extra touched, then whatever comes to mind."""
        types = dict.fromkeys(name.partition("/")[0] for name in self._fresh)
        drawn = [Call("GET", f"/fhir/{each}?_count=200") for each in types if each in CATALOGUE]
        drawn += [Call("GET", f"/fhir/{name}/_history") for name in self._fresh[:4]]
        drawn += [call for name in self._fresh[:2] for call in (*self._reads_of(name), self._search_of(name))]
        drawn += self._by_what_is_cut()
        drawn = self._rng.sample(drawn, min(len(drawn), count))
        if caller == "another citizen":
            record = f"/records/{self._person.record_id}"
            drawn += [Call("GET", record + path) for path in ("/log", "/links", "/grants", "/corrections")]
        if caller == "owner":
            drawn.append(Call("GET", f"/records/{self._person.record_id}/log?after={{log}}&limit=200"))
            drawn += phones.questioning(self._person, self._rng, self._rng.choice(self._fresh or self._known))
            drawn += phones.writing(self._person, self._rng, self._fresh[:3])
        while len(drawn) < count:
            drawn += self._rng.choice(self._kinds(caller))()
        return drawn

    def _kinds(self, caller: str) -> list[Callable[[], list[Call]]]:
        kinds: list[Callable[[], list[Call]]] = [
            self._search,
            self._search,
            self._search,
            self._include,
            self._sorted,
            self._pages,
            self._shaped,
            lambda: self._reads_of(self._name()),
            self._conditional,
            self._refused,
            self._everything,
            self._about_the_record,
            self._any_route,
            lambda: self._renewed(caller),
        ]
        person, rng = self._person, self._rng
        phone: list[Callable[[], list[Call]]] = [
            lambda: phones.pulling(person, rng),
            lambda: phones.checking(person, rng),
            lambda: phones.fetching(person, [self._name() for _ in range(5)]),
            lambda: phones.writing(person, rng, [self._name() for _ in range(3)]),
            lambda: phones.questioning(person, rng, self._name()),
        ]
        return [*kinds, *phone, *phone] if caller == "owner" else [*kinds, rng.choice(phone)]

    def _name(self) -> str:
        """A name: most often one that is hidden, then one of the record, at times of nobody."""
        rng = self._rng
        absent = f"{rng.choice(_READING_TYPES)}/{UUID(int=rng.getrandbits(128), version=4)}"
        pools = [self._fresh or self._known, self.hidden or self._known, self._known, self._known, [absent]]
        return rng.choice(rng.choice(pools))

    def _type(self) -> str:
        return self._rng.choice([self._name().partition("/")[0], *CATALOGUE])

    def _search_of(self, name: str) -> Call:
        """A search that would find the item if it were there."""
        resource_type, _, logical_id = name.partition("/")
        if resource_type not in CATALOGUE or self._rng.random() < 0.5:
            return Call("GET", f"/fhir/{resource_type}?_count=200")
        return Call("GET", f"/fhir/{resource_type}?_id={logical_id}")

    def _reads_of(self, name: str) -> list[Call]:
        rng = self._rng
        ways = ["", "", "/_history", "/_history/1", "/_history/2", "/$source"]
        return [Call(rng.choice(["GET", "GET", "HEAD"]), f"/fhir/{name}{way}") for way in rng.sample(ways, 2)]

    def _search(self) -> list[Call]:
        resource_type = self._type()
        if resource_type not in CATALOGUE:
            return [Call("GET", f"/fhir/{resource_type}")]
        offered = CATALOGUE[resource_type].search
        names = self._rng.sample(sorted(offered), min(self._rng.randint(1, 2), len(offered)))
        pairs = [self._criterion(name, offered[name]) for name in names]
        if self._rng.random() < 0.2:
            pairs.append(("_lastUpdated", self._rng.choice(["ge2020", "lt2030-01-01", "eq2026-11-22"])))
        if self._rng.random() < 0.2:
            form = dict(pairs)
            return [Call("POST", f"/fhir/{resource_type}/_search", form=form)]
        return [Call("GET", f"/fhir/{resource_type}?{urlencode(pairs)}")]

    def _criterion(self, name: str, param: SearchParam) -> tuple[str, str]:
        rng = self._rng
        if rng.random() < 0.25:
            return f"{name}:missing", rng.choice(["true", "false"])
        match param.kind:
            case "token":
                return name + rng.choice(["", "", ":not"]), rng.choice(_CODES)
            case "date":
                return name, rng.choice(_PREFIXES) + rng.choice(_DATES)
            case "string":
                return name + rng.choice(["", ":contains"]), rng.choice(_TEXTS)
            case "reference":
                fitting = [
                    each
                    for each in (*self._fresh, *self.hidden, *self._known)
                    if not param.targets or each.partition("/")[0] in param.targets
                ]
                target = rng.choice(fitting or [f"Patient/{self._person.patient_id}"])
                resource_type, _, logical_id = target.partition("/")
                return rng.choice([(name, target), (f"{name}:{resource_type}", logical_id), (name, target)])

    def _by_what_is_cut(self) -> list[Call]:
        """Searches that would find an item by what a reader may not see of it."""
        place = self._rng.choice(_CUT)
        named = [name for name in self._fresh if name.partition("/")[0] in ("Condition", "Observation")]
        target = self._rng.choice(named or self._known)
        return [
            Call("GET", "/fhir/DocumentReference?related:missing=false"),
            Call("GET", f"/fhir/{place}={quote(target)}"),
        ]

    def _include(self) -> list[Call]:
        resource_type = self._type()
        if resource_type not in CATALOGUE:
            return []
        search = CATALOGUE[resource_type].search
        names = [name for name, param in search.items() if param.kind == "reference"]
        pairs = [
            ("_include", f"{resource_type}:{name}") for name in self._rng.sample(names, min(len(names), 4))
        ]
        return [Call("GET", f"/fhir/{resource_type}?{urlencode([*pairs, ('_count', '100')])}")]

    def _sorted(self) -> list[Call]:
        resource_type = self._rng.choice(list(CATALOGUE))
        names = sort_names(CATALOGUE[resource_type])
        keys = [self._rng.choice(["", "-"]) + name for name in self._rng.sample(names, min(2, len(names)))]
        return [Call("GET", f"/fhir/{resource_type}?_sort={quote(','.join(keys))}&_count=200")]

    def _pages(self) -> list[Call]:
        resource_type = self._rng.choice(_READING_TYPES)
        first = Call("GET", f"/fhir/{resource_type}?_count={self._rng.randint(1, 4)}")
        return [first, *[Call("GET", "{next}")] * self._rng.randint(1, 3)]

    def _shaped(self) -> list[Call]:
        resource_type = self._rng.choice(_READING_TYPES)
        how = self._rng.choice(
            [f"_elements={self._rng.choice(_ELEMENTS)}", "_summary=true", "_summary=text", "_summary=data"]
        )
        return [Call("GET", f"/fhir/{resource_type}?{how}")]

    def _conditional(self) -> list[Call]:
        read = Call("GET", f"/fhir/{self._name()}")
        headers = self._rng.choice(
            [{"If-None-Match": "{etag}"}, {"If-Modified-Since": "{modified}"}, {"If-None-Match": 'W/"1"'}]
        )
        return [read, read._replace(headers=headers)]

    def _refused(self) -> list[Call]:
        resource_type = self._rng.choice(_READING_TYPES)
        queries = [
            "_total=accurate",
            "colour=blue",
            "patient.name=x",
            "_count=0",
            "_count=9999",
            "_sort=colour",
        ]
        queries += [
            "_has:Provenance:target:agent=x",
            "_page=nonsense",
            "_summary=count",
            "_revinclude=x",
            "_id=",
        ]
        name = self._name()
        return [
            self._rng.choice(
                [
                    Call("GET", f"/fhir/{resource_type}?{self._rng.choice(queries)}"),
                    Call("DELETE", f"/fhir/{name}"),
                    Call("PUT", f"/fhir/{name}", json={"resourceType": name.partition("/")[0]}),
                    Call("GET", f"/fhir/{name}?_format=xml"),
                    Call("GET", f"/fhir/Patient/{self._person.patient_id}/{name}"),
                    Call("OPTIONS", f"/fhir/{name}"),
                ]
            )
        ]

    def _everything(self) -> list[Call]:
        path = f"/fhir/Patient/{self._person.patient_id}/$everything"
        return [
            Call("GET", f"{path}?_count={self._rng.choice([7, 100, 200])}"),
            *self._rng.choice([[], [Call("GET", "{next}")]]),
        ]

    def _about_the_record(self) -> list[Call]:
        record = f"/records/{self._person.record_id}"
        grant = self._rng.choice([*self._person.grants.values()])
        paths = [
            "/grants",
            f"/grants/{grant}",
            "/log",
            "/log?limit=200",
            "/log?after=3&limit=2",
            "/log/checkpoint",
        ]
        paths += [
            "/links",
            "/devices",
            "/corrections",
            "/notices",
            f"/grants/{self._name().partition('/')[2]}",
        ]
        return [Call("GET", record + self._rng.choice(paths))]

    def _renewed(self, caller: str) -> list[Call]:
        """A new token for a grant, of one's own or not."""
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": self._person.grants.get(caller, self._person.grants["doctor"]),
            "subject_token_type": ACCESS_GRANT,
            "actor_token": self._person.own_tokens.get(caller, "none"),
            "actor_token_type": ACCESS_TOKEN_TYPE,
            "client_id": PORTAL["client_id"],
        }
        scope = self._rng.choice([{}, {"scope": "patient/Observation.rs"}])
        return [Call("POST", TOKEN_PATH, form=form | scope), Call("GET", "/me")]

    def _any_route(self) -> list[Call]:
        """One of the application's own routes, whichever it is, with names that could fit."""
        route = self._rng.choice(self._routes)
        name = self._name()
        values = {
            "record_id": self._person.record_id,
            "grant_id": self._rng.choice([*self._person.grants.values()]),
            "resource_type": name.partition("/")[0],
            "logical_id": self._rng.choice([name.partition("/")[2], self._person.patient_id]),
            "version_id": "1",
        }
        path = route.path
        for part in [part for part in path.split("/") if part.startswith("{")]:
            path = path.replace(part, values.get(part[1:-1], name.partition("/")[2]))
        return [Call(route.method, path)]


def _is_safe(route: Route) -> bool:
    """Whether its answer depends on what is held alone: counts of the process tell of all callers."""
    return not route.path.startswith(("/metrics", "/docs", "/development", "/oauth", "/app"))
