"""Two served applications that began as one: the second is a copy of the first, database, keys and all.

So the same call means the same in both, down to the ids and the signatures of tokens. What a test then does
in one of them alone must be invisible to whoever may not see it: THREATS d2. The clock stands still but for
the steps a test makes, in both worlds alike, so that not even a moment may differ.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from server.commands.held_client import HeldClient, ProofKey
from server.identity.development_provider import DemoPerson
from tests.api.two_worlds_transcript import Answer
from tests.held_app import BASE_URL, ServedHeld, served_held

TOKEN_PATH = "/oauth/token"
STEP = timedelta(milliseconds=7)


class StandingClock:
    """Stands where storage keeps its clock's offset: whatever is added to it, the time is the same."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def step(self) -> None:
        """Lets a little time pass."""
        self.moment += STEP

    def __radd__(self, _now: datetime) -> datetime:
        return self.moment

    def __rsub__(self, said: datetime) -> datetime:
        return said

    def total_seconds(self) -> float:
        """How far the clock is from this machine's."""
        return (self.moment - datetime.now(UTC)).total_seconds()


class Caller(NamedTuple):
    """Someone who calls both worlds with one key and one token, made before the worlds parted."""

    name: str
    key: ProofKey
    token: str | None

    @classmethod
    def of(cls, name: str, client: HeldClient) -> "Caller":
        """The holder of a signed-in client."""
        return cls(name, client.key, client.token)


class Call(NamedTuple):
    """One request. `path` may hold `{next}`, the next page of the last Bundle, a phone's `{cursor}` and
    `{segment}`, and `{log}`, the newest log entry seen.

    Header values may hold the `{etag}` and `{modified}` of the last answer. Each world fills in its own.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    form: Mapping[str, str] | None = None
    json: Any = None
    content: bytes | None = None

    def __str__(self) -> str:
        asked = [f"{name}: {value}" for name, value in self.headers.items()]
        asked += [str(sent) for sent in (self.form, self.json) if sent is not None]
        return " ".join([self.method, self.path, *asked])


class Half:
    """One of the two worlds."""

    def __init__(self, name: str, held: ServedHeld, clock: StandingClock) -> None:
        self.name = name
        self.held = held
        self._clock = clock
        self._last: dict[str, Answer] = {}
        self._kept: dict[str, dict[str, str]] = {}
        held.parts.storage.clock_offset = clock  # type: ignore[assignment]

    async def send(self, caller: Caller, call: Call, proof: str | None = None) -> Answer:
        """The answer to a call, remembered for the caller's next one."""
        path = self._filled(caller, call.path)
        url = path if path.startswith("http") else BASE_URL + path
        headers = {name: self._filled(caller, value) for name, value in call.headers.items()}
        if caller.token is not None and not path.startswith(TOKEN_PATH):
            headers = {"Authorization": f"DPoP {caller.token}"} | headers
        headers["DPoP"] = proof or self.proof(caller, call.method, url)
        response = await self.held.http.request(
            call.method, url, headers=headers, data=call.form, json=call.json, content=call.content
        )
        answer = Answer(response.status_code, tuple(response.headers.multi_items()), response.content)
        self._remember(caller, answer, response)
        return answer

    def proof(self, caller: Caller, method: str, url: str) -> str:
        """A proof dated by the standing clock; the token endpoint is told of no token."""
        token = None if url.endswith(TOKEN_PATH) else caller.token
        return caller.key.proof(method, url, token=token, iat=int(self._clock.moment.timestamp()))

    def _filled(self, caller: Caller, text: str) -> str:
        last = self._last.get(caller.name)
        given = dict(last.headers) if last else {}
        kept = self._kept.setdefault(caller.name + (caller.token or ""), {})
        return (
            text.replace("{next}", kept.get("next", "/fhir/Condition?_page=none"))
            .replace("{cursor}", kept.get("cursor", "none"))
            .replace("{segment}", kept.get("segment", "none"))
            .replace("{log}", kept.get("log", "0"))
            .replace("{etag}", given.get("etag", 'W/"1"'))
            .replace("{modified}", given.get("last-modified", "Sun, 22 Nov 2026 00:00:00 GMT"))
        )

    def _remember(self, caller: Caller, answer: Answer, response: httpx.Response) -> None:
        self._last[caller.name] = answer
        kept = self._kept.setdefault(caller.name + (caller.token or ""), {})
        if answer.body.startswith(b'{"resourceType":"Bundle"'):
            links = {link["relation"]: link["url"] for link in response.json().get("link", ())}
            kept |= {"next": links["next"]} if "next" in links else {}
        elif answer.body.startswith((b'{"cursor"', b'{"epoch"')):
            said = response.json()
            kept["cursor"] = said.get("cursor", "none")
            if said.get("segments"):
                kept["segment"] = said["segments"][0]["hash"]
        elif answer.body.startswith(b'{"entries":[{"n"'):
            kept["log"] = str(max(int(kept.get("log", "0")), response.json()["entries"][-1]["n"]))

    async def settled(self) -> None:
        """Waits until no extract is being worked on."""
        await asyncio.wait_for(self.held.parts.intake.settled(), 60)


class TwoWorlds:
    """The world without the hidden things, and the one with them."""

    def __init__(self, without: Half, with_hidden: Half, clock: StandingClock) -> None:
        self.without = without
        self.with_hidden = with_hidden
        self.clock = clock

    @property
    def halves(self) -> tuple[Half, Half]:
        """Both, the one without first."""
        return self.without, self.with_hidden

    async def both(self, caller: Caller, call: Call) -> tuple[Answer, Answer]:
        """The answers of both worlds to the very same call at the same moment, proof and all."""
        self.clock.step()
        proof = None
        if "{" not in call.path:
            url = call.path if call.path.startswith("http") else BASE_URL + urlsplit(call.path).path
            proof = self.without.proof(caller, call.method, url)
        one = await self.without.send(caller, call, proof)
        return one, await self.with_hidden.send(caller, call, proof)


@asynccontextmanager
async def parted(folder: Path, people: list[DemoPerson], base: Path) -> AsyncIterator[TwoWorlds]:
    """Two worlds, each a copy of the one whose folder is `base` and which is not served any more."""
    clock = StandingClock(datetime.now(UTC).replace(microsecond=0))
    async with AsyncExitStack() as stack:
        halves: list[Half] = []
        for name in ("without", "with"):
            own = folder / name
            shutil.copytree(base, own)
            served = served_held(own, people, database_url=f"sqlite:///{own / 'held.db'}")
            halves.append(Half(name, await stack.enter_async_context(served), clock))
        yield TwoWorlds(halves[0], halves[1], clock)
