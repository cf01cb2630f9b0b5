"""What the FHIR calls stand on: who is asking, which search they mean, and where the next page is."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from litestar import Request, Response

from fhir_profiles.search_values import SearchQuery, SearchRefused, parse_query
from server.errors import BadRequest, NotFound, UnknownParameter
from server.fhir_api import bundles, interactions
from server.fhir_api.content import fhir_response
from server.fhir_api.page_links import PageLink, open_page_link, seal_page_link
from server.fhir_api.search import After, end_of, search
from server.fhir_api.shaping import shape
from server.identity.principal import Principal
from server.records.service import Disclosed, Records
from server.sharing.authorise import authorise
from server.sharing.authority import Authority
from server.storage.engine import Storage

Pairs = Sequence[tuple[str, str]]

PAGE_PARAMETER = "_page"
QUERY_CHARACTERS_MAX = 4_096
EVERYTHING_ITEMS_DEFAULT = 100
EVERYTHING_ITEMS_MAX = 200
EVERYTHING_PARAMETERS = frozenset({"_count", "_type", "_format"})


class FhirReader:
    """Answers the FHIR calls. Made once by the application."""

    def __init__(self, base_url: str, storage: Storage, records: Records) -> None:
        self.base_url = base_url
        self._storage = storage
        self._records = records

    async def authority(self, principal: Principal) -> Authority:
        """What the principal may see of the record their token is for."""
        assert principal.record_id is not None
        return await authorise(self._storage, principal, principal.record_id)

    async def disclose(self, principal: Principal, choose: interactions.Choose) -> Disclosed:
        """What an interaction picked, already in the log."""
        return await self._records.disclose(await self.authority(principal), choose)

    async def search(self, principal: Principal, resource_type: str, pairs: Pairs) -> Response[bytes]:
        """A page of a search."""
        authority = await self.authority(principal)
        path = resource_type
        asked, place = await self._page_asked_for(authority, path, pairs)
        query = _query(resource_type, asked, f"{self.base_url}/fhir")
        after = After(place[0], int(place[1])) if place else None
        disclosed = await self._records.disclose(authority, lambda view: search(view, query, after))
        links = [("self", self._address(path, asked))]
        if disclosed.choice.more:
            end = end_of(disclosed.choice, after)
            links.append(
                self._next(
                    disclosed, authority, PageLink(path, tuple(asked), (end.logical_id, str(end.place)))
                )
            )
        matches = [shape(item, query) for item in disclosed.items]
        return fhir_response(bundles.searchset(self.base_url, links, matches, disclosed.included))

    async def everything(self, principal: Principal, patient_id: str, pairs: Pairs) -> Response[bytes]:
        """A page of the whole record, for its owner."""
        authority = await self.authority(principal)
        if authority.relation != "owner":
            raise NotFound
        path = f"Patient/{patient_id}/$everything"
        asked, place = await self._page_asked_for(authority, path, pairs)
        count, types = _everything_parameters(asked)
        after = (place[0], place[1]) if place else ("", "")
        disclosed = await self._records.disclose(
            authority,
            lambda view: interactions.everything(view, patient_id, types=types, after=after, count=count),
        )
        links = [("self", self._address(path, asked))]
        if disclosed.choice.more:
            links.append(
                self._next(disclosed, authority, PageLink(path, tuple(asked), disclosed.items[-1].name))
            )
        return fhir_response(bundles.searchset(self.base_url, links, disclosed.items, ()))

    async def _page_asked_for(
        self, authority: Authority, path: str, pairs: Pairs
    ) -> tuple[Pairs, tuple[str, ...] | None]:
        """The query, and where its page begins: after a place when the client follows a page link of ours."""
        if not any(name == PAGE_PARAMETER for name, _ in pairs):
            # A longer query would make a page link that is longer than a request may be.
            if sum(len(name) + len(value) for name, value in pairs) > QUERY_CHARACTERS_MAX:
                raise BadRequest(f"The parameters are longer than {QUERY_CHARACTERS_MAX} characters.")
            return pairs, None
        if len(pairs) > 1:
            raise BadRequest("A page link takes no other parameters.")
        sealer = await self._storage.read(authority.record_id, lambda session: session.sealer)
        link = open_page_link(sealer, authority, pairs[0][1], path)
        return link.pairs, link.after

    def _next(self, disclosed: Disclosed, authority: Authority, link: PageLink) -> tuple[str, str]:
        sealed = seal_page_link(disclosed.sealer, authority, link)
        return ("next", self._address(link.path, [(PAGE_PARAMETER, sealed)]))

    def _address(self, path: str, pairs: Pairs) -> str:
        query = urlencode(list(pairs))
        return f"{self.base_url}/fhir/{path}" + (f"?{query}" if query else "")


def query_pairs(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The query parameters in the order they came, repeats included."""
    return _pairs(request.scope["query_string"].decode("latin-1"))


def form_pairs(body: bytes) -> list[tuple[str, str]]:
    """The parameters of a POST search."""
    return _pairs(body.decode("latin-1"))


def record_of(principal: Principal) -> UUID:
    """The record the token is for; NotFound when it is for none."""
    if principal.record_id is None:
        raise NotFound
    return principal.record_id


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=64
        )
    except ValueError:
        raise BadRequest("We could not read the parameters.") from None


def _query(resource_type: str, pairs: Pairs, fhir_url: str) -> SearchQuery:
    try:
        return parse_query(resource_type, pairs, fhir_url)
    except SearchRefused as refused:
        kind = UnknownParameter if refused.issue.rule == "unknown-parameter" else BadRequest
        raise kind(refused.issue.detail) from refused


def _everything_parameters(pairs: Pairs) -> tuple[int, frozenset[str] | None]:
    given = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= EVERYTHING_PARAMETERS:
        raise UnknownParameter("$everything takes _count, _type and _format, each once.")
    count = given.get("_count", str(EVERYTHING_ITEMS_DEFAULT))
    if not (
        count.isascii() and count.isdigit() and len(count) < 5 and 1 <= int(count) <= EVERYTHING_ITEMS_MAX
    ):
        raise BadRequest(f"_count must be 1 to {EVERYTHING_ITEMS_MAX}.")
    types = frozenset(given["_type"].split(",")) if given.get("_type") else None
    return int(count), types
