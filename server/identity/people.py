"""Who has signed in: what a provider last said of them, kept sealed, and the records they may open."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from server.identity.principal import Person
from server.storage import directory
from server.storage.engine import Storage
from server.storage.session import DirectoryReads, DirectorySession


class KnownRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that a citizen may open: their own, or one they care for."""

    record_id: UUID
    patient_id: str
    name: str
    relation: Literal["self", "carer"] = "self"
    until: datetime | None = None


class RecordBook(Protocol):
    """What signing in needs to know of records. The application gives it; identity imports none."""

    async def open_for(self, person: Person) -> None:
        """Opens the record of a citizen who has proved who they are, unless they have one."""
        ...

    async def of_subject(self, subject: str) -> Sequence[KnownRecord]:
        """The records this citizen may open."""
        ...


class People:
    """Keeps and finds people by their subject."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def find(self, subject: str) -> Person | None:
        """What was last said of someone, if they ever signed in."""
        return await self._storage.look_up(lambda session: person(session, subject))

    async def keep(self, someone: Person) -> None:
        """Keeps what a provider now says of someone."""
        await self._storage.register(lambda session: put_person(session, someone))


def person(session: DirectoryReads, subject: str) -> Person | None:
    """What was last said of someone, inside a directory look-up."""
    plain = directory.person(session, subject)
    return msgspec.msgpack.decode(plain, type=Person) if plain is not None else None


def put_person(session: DirectorySession, someone: Person) -> None:
    """Keeps what a provider now says of someone, inside a directory command."""
    directory.put_person(session, someone.subject, msgspec.msgpack.encode(someone))
