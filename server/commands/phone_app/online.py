"""A phone opened with a line to its server, for the commands that use it."""

import platform
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from server.commands.phone_app.folder import PhoneFacts, PhoneFolder
from server.commands.phone_app.opened import OpenPhone, read_json, stored
from server.commands.phone_app.refusals import MustSignIn, NoConnection, PhoneEnded, PhoneRefusal
from server.commands.phone_app.signing_in import SignedInLine
from server.commands.phone_app.store import SqliteStorage
from sync.kept import text_of
from sync.messages import Problem, Registration
from sync.phone import Report
from sync.ports import Answer, NoAnswer, SignInNeeded

HTTP_SECONDS_MAX = 30
LOOK_SECONDS_MAX = 8
APP_VERSION = "1"


class Told(PhoneRefusal):
    """The server said no."""


class OnlinePhone(OpenPhone):
    """What a command that asks the server works with."""

    def __init__(self, facts: PhoneFacts, storage: SqliteStorage, line: SignedInLine) -> None:
        about = Registration(
            key=line.public_key,
            name=facts.device_name,
            platform=platform.system() or "unknown",
            app_version=APP_VERSION,
        )
        super().__init__(facts, storage, line, about)
        self.line = line

    @property
    def has_confirmed_its_end(self) -> bool:
        """Whether the server knows that an ended phone holds nothing more. Until then its key is needed."""
        with self.storage.transaction() as step:
            return text_of(step, "ended") == "confirmed"

    async def ask(self, method: str, path: str, body: object | None = None) -> Any:
        """The JSON the server answers; Told with its reason when it says no. `path` is below the record's."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"content-type": "application/json"}
        answer = await self.call(method, f"/records/{self.facts.record_id}/{path}", headers, content)
        return read_json(answer.body) if answer.body else None

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """What the server answers when it says yes; a PhoneRefusal otherwise."""
        try:
            answer = await self.line.call(method, path, headers or {}, body)
        except NoAnswer as lost:
            raise NoConnection from lost
        except SignInNeeded as asked:
            raise MustSignIn from asked
        if answer.status < 300:
            return answer
        problem = _problem(answer)
        if problem.code == "wipe":
            raise PhoneEnded
        if problem.code == "step-up-needed":
            raise MustSignIn
        raise Told(problem.detail or f"The server answered {answer.status}.")


@asynccontextmanager
async def online(folder: PhoneFolder) -> AsyncGenerator[OnlinePhone]:
    """The phone in the folder; NoPhone when there is none."""
    facts = folder.facts()
    with stored(folder) as storage:
        async with httpx.AsyncClient(timeout=HTTP_SECONDS_MAX, trust_env=False) as http:
            yield OnlinePhone(facts, storage, SignedInLine(http, folder, facts))


async def look_at_log(folder: PhoneFolder) -> Report:
    """Fetches and checks the newest of the access log; gives up soon, for somebody waits."""
    facts = folder.facts()
    with stored(folder) as storage:
        async with httpx.AsyncClient(timeout=LOOK_SECONDS_MAX, trust_env=False) as http:
            phone = OnlinePhone(facts, storage, SignedInLine(http, folder, facts))
            return await phone.engine.look_at_log()


def _problem(answer: Answer) -> Problem:
    try:
        return msgspec.json.decode(answer.body, type=Problem)
    except msgspec.MsgspecError:
        return Problem()
