"""The calls of the protocol: what is asked, and how an answer, a refusal or silence is read."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from sync.messages import (
    MEDIA_TYPE,
    Change,
    DigestAnswer,
    Fetch,
    Page,
    Problem,
    Push,
    Pushed,
    Registered,
    Registration,
    Snapshot,
)
from sync.ports import Answer, Clock, NoAnswer, Transport

TRIES_MAX = 3
LOG_ENTRIES_MAX = 200
WAIT_SECONDS_MAX = 60
WAIT_SECONDS_DEFAULT = 2
BUSY = frozenset({429, 503})
NOT_CHANGED = 304

Message = TypeVar("Message")


class _Checkpoint(msgspec.Struct, frozen=True):
    note: str


class Refused(Exception):
    """The server refused. `code` is its stable word for why."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.detail or f"The server answered {status}.")
        self.status = status
        self.problem = problem
        self.code = problem.code


class Calls:
    """Speaks to the server about one record."""

    def __init__(self, record_id: str, transport: Transport, clock: Clock) -> None:
        self._record_id = record_id
        self._transport = transport
        self._clock = clock

    async def register(self, registration: Registration) -> Registered:
        """Makes this phone known."""
        answer = await self._call("POST", "devices", msgspec.json.encode(registration))
        return _read(answer.body, Registered)

    async def confirm_wiped(self) -> None:
        """Tells the server that everything is erased."""
        await self._call("POST", "devices/self/wiped", b"{}")

    async def snapshot(self) -> Snapshot:
        """The parts of a first load."""
        return _read((await self._call("GET", "snapshot")).body, Snapshot)

    async def segment(self, name: str) -> list[Change]:
        """One part of a first load."""
        answer = await self._call("GET", f"segments/{quote(name, safe='')}")
        lines = [line for line in answer.body.split(b"\n") if line]
        return [_read(line, Change) for line in lines]

    async def changes(self, since: str | None, headers: Mapping[str, str]) -> Page | None:
        """The next page; None when nothing is new."""
        path = "changes" if since is None else f"changes?since={quote(since, safe='')}"
        answer = await self._call("GET", path, headers=headers)
        return None if answer.status == NOT_CHANGED else _read(answer.body, Page)

    async def push(self, push: Push) -> Pushed:
        """Sends what the person did."""
        return _read((await self._call("POST", "mutations", msgspec.json.encode(push))).body, Pushed)

    async def digest(self, at: str, prefix: str, depth: int) -> DigestAnswer:
        """The nodes `depth` digits below a prefix; with 0 the items under it."""
        below = f"&depth={depth}" if depth else ""
        path = f"digest?at={quote(at, safe='')}&prefix={prefix}{below}"
        return _read((await self._call("GET", path)).body, DigestAnswer)

    async def fetch(self, items: tuple[tuple[str, str], ...]) -> Page:
        """These items as they stand now."""
        answer = await self._call("POST", "fetch", msgspec.json.encode(Fetch(items=items)))
        return _read(answer.body, Page)

    async def log_page(self, after: int) -> bytes:
        """Entries of the access log."""
        path = f"/records/{self._record_id}/log?after={after}&limit={LOG_ENTRIES_MAX}"
        return (await self._ask("GET", path, {}, None)).body

    async def checkpoint(self) -> str:
        """The newest checkpoint of the access log."""
        answer = await self._ask("GET", f"/records/{self._record_id}/log/checkpoint", {}, None)
        return _read(answer.body, _Checkpoint).note

    async def _call(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = dict(headers or {}) | ({"content-type": MEDIA_TYPE} if body is not None else {})
        return await self._ask(method, f"/sync/v1/records/{self._record_id}/{path}", sent, body)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The answer; Refused when it is a refusal. A busy server is asked again when it says so."""
        for attempt in range(1, TRIES_MAX + 1):
            answer = await self._transport.call(method, path, headers, body)
            if answer.status < 300 or answer.status == NOT_CHANGED:
                return answer
            seconds = _seconds(answer)
            if answer.status not in BUSY or seconds > WAIT_SECONDS_MAX or attempt == TRIES_MAX:
                raise Refused(answer.status, _problem(answer))
            await self._clock.pause(seconds * (1 + _jitter(self._record_id, path, attempt)))
        raise AssertionError("The last attempt returns or raises.")


def _seconds(answer: Answer) -> int:
    said = answer.headers.get("retry-after", "")
    return int(said) if said.isascii() and said.isdigit() else WAIT_SECONDS_DEFAULT


def _jitter(record_id: str, path: str, attempt: int) -> float:
    """Between 0 and 1, and another one on each phone: so that they do not all come back at once."""
    mixed = hashlib.sha256(f"{record_id} {path} {attempt}".encode()).digest()
    return mixed[0] / 256


def _problem(answer: Answer) -> Problem:
    try:
        problem = msgspec.json.decode(answer.body, type=Problem)
    except msgspec.MsgspecError:
        problem = Problem()
    return msgspec.structs.replace(problem, status=answer.status)


def _read(body: bytes, kind: type[Message]) -> Message:
    """The message; NoAnswer when it was cut off on its way."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.MsgspecError as broken:
        raise NoAnswer("The answer cannot be read.") from broken
