"""A phone opened for one command, without a line to its server: most commands need none."""

import asyncio
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

from server.commands.phone_app.folder import PhoneFacts, PhoneFolder
from server.commands.phone_app.store import SqliteStorage
from sync.identifiers import uuid7
from sync.messages import Registration
from sync.phone import Phone
from sync.ports import Answer, NoAnswer, Transport

_READER = msgspec.json.Decoder(float_hook=str)


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    async def pause(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


class RandomIds:
    """New ids."""

    def mutation_id(self) -> str:
        """A UUID of version 7."""
        return uuid7(int(datetime.now(UTC).timestamp() * 1000), secrets.token_bytes(16))

    def resource_id(self) -> str:
        """A random UUID."""
        return str(uuid4())


class NoLine:
    """The line of a command that needs none."""

    async def call(
        self,
        method: str,  # noqa: ARG002
        path: str,  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        body: bytes | None,  # noqa: ARG002
    ) -> Answer:
        """Never answers."""
        raise NoAnswer


class OpenPhone:
    """What a command works with."""

    def __init__(
        self, facts: PhoneFacts, storage: SqliteStorage, line: Transport, about: Registration
    ) -> None:
        self.facts = facts
        self.storage = storage
        self.engine = Phone(facts.record_id, storage, line, clock=SystemClock(), ids=RandomIds(), about=about)

    @property
    def now(self) -> datetime:
        """The time where this machine stands."""
        return datetime.now(UTC).astimezone()

    def new_id(self) -> str:
        """An id for something made here."""
        return str(uuid4())


@contextmanager
def opened(folder: PhoneFolder) -> Generator[OpenPhone]:
    """The phone in the folder, offline; NoPhone when there is none."""
    facts = folder.facts()
    with stored(folder) as storage:
        yield OpenPhone(facts, storage, NoLine(), Registration(key={}))


@contextmanager
def stored(folder: PhoneFolder) -> Generator[SqliteStorage]:
    """The folder's storage."""
    storage = SqliteStorage(folder.replica)
    try:
        yield storage
    finally:
        storage.close()


def read_json(body: bytes) -> Any:
    """JSON as a person reads it: numbers with a point keep their digits, as text."""
    return _READER.decode(body)
