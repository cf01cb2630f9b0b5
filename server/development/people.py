"""The made-up people of a development installation, kept in its data folder so that a restart finds them."""

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from litestar.types import ASGIApp

from server.errors import Conflict
from server.identity.development_pages import development_app
from server.identity.development_provider import DemoPerson, development_providers
from server.identity.providers import Provider
from server.identity.signing_keys import SigningKey, kept_signing_key
from server.settings import Settings

PEOPLE_FILE = "development-people.json"

_DECODER = msgspec.json.Decoder(list[DemoPerson])


def people_file(settings: Settings) -> Path:
    """Where the people of this installation are kept."""
    return settings.data_folder / PEOPLE_FILE


def read_people(path: Path) -> list[DemoPerson]:
    """The people in a file; none when there is no file yet."""
    return _DECODER.decode(path.read_bytes()) if path.exists() else []


def keep_people(path: Path, people: Iterable[DemoPerson]) -> None:
    """Adds people to a file, each in the place of whoever had their subject; written whole or not at all."""
    known = {person.held_subject: person for person in read_people(path)}
    known |= {person.held_subject: person for person in people}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(list(known.values()))))
    partial.replace(path)


class _KeptPeople(dict[str, DemoPerson]):
    """One provider's people. Whoever is not known yet may have been added by another process meanwhile."""

    def __init__(self, people: dict[str, DemoPerson], path: Path, kind: str) -> None:
        super().__init__(people)
        self._path = path
        self._kind = kind

    def __missing__(self, subject: str) -> DemoPerson:
        kept = {person.subject: person for person in read_people(self._path) if person.provider == self._kind}
        self.update(kept)
        return kept[subject]


class DemoPeople:
    """Who can sign in to a development installation, and the providers that vouch for them."""

    def __init__(self, settings: Settings) -> None:
        self._path = people_file(settings)
        self._clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        people = read_people(self._path)
        keys = settings.data_folder / "keys"

        # Every worker process speaks for the same providers, so they share their keys.
        def kept_key(name: str, algorithm: str) -> SigningKey:
            return kept_signing_key(keys / f"{name}.jwk", algorithm)

        self._providers = development_providers(settings.base_url, people, self._now, make_key=kept_key)
        for provider in self._providers:
            provider.people = _KeptPeople(provider.people, self._path, provider.kind)

    def _now(self) -> datetime:
        return self._clock()

    def use_clock(self, now: Callable[[], datetime]) -> None:
        """Lets the providers read the application's clock, which is made after them."""
        self._clock = now

    def providers(self) -> Sequence[Provider]:
        """The providers as the configuration of this installation."""
        return tuple(provider.provider() for provider in self._providers)

    def pages(self) -> ASGIApp:
        """The providers as they look from outside."""
        return development_app(self._providers)

    def add(self, person: DemoPerson) -> DemoPerson:
        """Someone who can sign in from now on. Conflict when their subject is taken by somebody else."""
        for provider in self._providers:
            if provider.kind != person.provider:
                continue
            known = provider.people.get(person.subject)
            if known is not None and known.birth_date != person.birth_date:
                raise Conflict("There is already a person with this number and another date of birth.")
            keep_people(self._path, [person])
            provider.people[person.subject] = person
        return person
