"""The correction Tasks of an organisation's system: search, read, and sending one back moved on.

https://hl7.org/fhir/R4/task.html, https://hl7.org/fhir/R4/http.html#concurrency
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode
from uuid import UUID, uuid4

import msgspec
from litestar import Response

from fhir_profiles.date_ranges import range_of
from fhir_profiles.parse import JsonRefused, decode_checked
from fhir_profiles.shapes import Resource
from server.corrections.answering import Fetched
from server.corrections.service import Corrections
from server.errors import BadRequest, BodyRefused, NotFound, RuleBroken, UnknownParameter
from server.fhir_api.bundles import entry_of
from server.fhir_api.content import fhir_response, item_response
from server.http.times import to_wire
from server.identity.principal import Principal
from server.records.view import Rendered

TASKS_DEFAULT = 50
TASKS_MAX = 200
_PARAMETERS = frozenset({"owner", "_id", "_lastUpdated", "_count", "_page", "_format"})
_VERSION_TAG = re.compile(r'(?:W/)?"([0-9]{1,9})"')
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_SINCE = re.compile(r"(gt|ge)(.+)")

Pairs = Sequence[tuple[str, str]]


class _Asked(NamedTuple):
    owner: str | None
    logical_id: str | None
    since: datetime | None
    page_size: int
    after: datetime | None


class TaskDesk:
    """Answers the FHIR calls of integrators. Made once by the application."""

    def __init__(self, base_url: str, corrections: Corrections) -> None:
        self._base_url = base_url
        self._corrections = corrections

    async def search(self, principal: Principal, resource_type: str, pairs: Pairs) -> Response[bytes]:
        """A page of the organisation's own Tasks, with their Communications."""
        organisation = _organisation(principal, resource_type)
        asked = _asked(pairs)
        if asked.owner not in {None, f"Organization/{organisation}"}:
            return self._bundle(pairs, [], None, None)
        if asked.logical_id is not None:
            found = await self._one(organisation, asked.logical_id)
            return self._bundle(pairs, [each for each in found if _is_since(each, asked)], None, None)
        queue = await self._corrections.queue(organisation, _after(asked), asked.page_size)
        tasks = [each for each in queue.tasks if _is_since(each, asked)]
        return self._bundle(pairs, tasks, queue.whole_until, queue.next_after)

    async def read(self, principal: Principal, resource_type: str, logical_id: str) -> Response[bytes]:
        """One of the organisation's own Tasks. NotFound for everything else."""
        organisation = _organisation(principal, resource_type)
        return item_response(_rendered(await self._corrections.fetch(organisation, _uuid(logical_id))))

    async def update(
        self, principal: Principal, logical_id: str, body: bytes, if_match: str | None
    ) -> Response[bytes]:
        """The Task where the organisation moved it; the refusals of Corrections.answer."""
        organisation = _organisation(principal, "Task")
        task_id = _uuid(logical_id)
        sent = _object(body)
        version = _version_of(if_match)
        if sent.get("resourceType") != "Task":
            raise RuleBroken("Send a Task.", pointer="/resourceType")
        if sent.get("id") != logical_id:
            raise BadRequest("The id in the Task is not the id in the address.", pointer="/id")
        fetched = await self._corrections.answer(organisation, task_id, sent, if_version=version)
        return item_response(_rendered(fetched))

    async def _one(self, organisation: str, logical_id: str) -> list[Fetched]:
        try:
            return [await self._corrections.fetch(organisation, _uuid(logical_id))]
        except NotFound:
            return []

    def _bundle(
        self,
        pairs: Pairs,
        tasks: Sequence[Fetched],
        whole_until: datetime | None,
        next_after: datetime | None,
    ) -> Response[bytes]:
        kept = [(name, value) for name, value in pairs if name != "_page"]
        links = [{"relation": "self", "url": self._address(pairs)}]
        if next_after is not None:
            links.append({"relation": "next", "url": self._address([*kept, ("_page", to_wire(next_after))])})
        entries = [entry_of(self._base_url, _rendered(each), b"match") for each in tasks]
        entries += [
            entry_of(self._base_url, item, b"include") for each in tasks for item in _communications(each)
        ]
        bundle: dict[str, object] = {"resourceType": "Bundle", "id": str(uuid4())}
        if whole_until is not None:
            bundle["meta"] = {"lastUpdated": to_wire(whole_until)}
        bundle |= {"type": "searchset", "link": links}
        if entries:
            bundle["entry"] = [msgspec.Raw(entry) for entry in entries]
        return fhir_response(msgspec.json.encode(bundle))

    def _address(self, pairs: Pairs) -> str:
        query = urlencode(list(pairs))
        return f"{self._base_url}/fhir/Task" + (f"?{query}" if query else "")


def _organisation(principal: Principal, resource_type: str) -> str:
    if resource_type != "Task" or principal.organisation is None:
        raise NotFound
    return principal.organisation


def _asked(pairs: Pairs) -> _Asked:
    given = dict(pairs)
    if len(given) < len(pairs) or not given.keys() <= _PARAMETERS:
        raise UnknownParameter("Tasks are found by owner, _id, _lastUpdated and _count, each once.")
    since = _SINCE.fullmatch(given["_lastUpdated"]) if "_lastUpdated" in given else None
    if since is None and "_lastUpdated" in given:
        raise BadRequest("_lastUpdated takes gt or ge and an instant here.")
    return _Asked(
        owner=given.get("owner"),
        logical_id=given.get("_id"),
        since=_instant(since[2], place=0 if since[1] == "ge" else 1) if since else None,
        page_size=_count(given.get("_count", str(TASKS_DEFAULT))),
        after=_instant(given["_page"], place=0) if "_page" in given else None,
    )


def _after(asked: _Asked) -> datetime | None:
    """Where in the queue to begin: a Task moves there at its last change or a little later."""
    since = asked.since - timedelta(milliseconds=1) if asked.since else None
    return max((each for each in (since, asked.after) if each), default=None)


def _is_since(fetched: Fetched, asked: _Asked) -> bool:
    return asked.since is None or fetched.correction.changed_at >= asked.since


def _instant(text: str, *, place: int) -> datetime:
    """The first instant of a date (place 0), or the first one after it (place 1)."""
    bounds = range_of(text)
    if bounds is None:
        raise BadRequest("This is not a date or an instant.")
    return max(_EARLIEST, datetime.fromisoformat(bounds[place]).replace(tzinfo=UTC))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= TASKS_MAX):
        raise BadRequest(f"_count must be 1 to {TASKS_MAX}.")
    return int(text)


def _version_of(if_match: str | None) -> int:
    """The version If-Match names; BadRequest when there is none, as STANDARDS section 2 has it."""
    if if_match is None:
        raise BadRequest('Say which version you read, with If-Match: W/"2".')
    found = _VERSION_TAG.fullmatch(if_match.strip())
    return int(found[1]) if found else 0


def _uuid(text: str) -> UUID:
    """The id in its one spelling. NotFound for what can be no Task's."""
    try:
        found = UUID(text)
    except ValueError:
        raise NotFound from None
    if str(found) != text:
        raise NotFound
    return found


def _object(body: bytes) -> Resource:
    """The JSON object in a body that was checked on arrival; BodyRefused when it is other JSON."""
    try:
        return decode_checked(body)
    except JsonRefused as refused:
        raise BodyRefused(refused.detail, pointer=refused.pointer) from refused


def _rendered(fetched: Fetched) -> Rendered:
    correction = fetched.correction
    return Rendered(
        name=("Task", str(correction.correction_id)),
        version=correction.task_version,
        body=fetched.task,
        etag=f'W/"{correction.task_version}"',
        last_updated=to_wire(correction.changed_at),
    )


def _communications(fetched: Fetched) -> list[Rendered]:
    return [
        Rendered(name=("Communication", name), version=1, body=body, etag='W/"1"', last_updated=None)
        for name, body in fetched.communications
    ]
