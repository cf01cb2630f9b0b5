"""Opening a record, and the one way its content reaches anybody: read, log, answer (DESIGN walls 3 and 4)."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlmodel import col

from fhir_profiles import served
from fhir_profiles.heads import Head
from fhir_profiles.labels import LABEL_RULES_VERSION
from fhir_profiles.parse import encode
from server.audit import service as audit
from server.audit.entry import LogEntry
from server.errors import NotFound, RuleBroken, TooLarge
from server.http.times import to_wire
from server.identity.principal import Person
from server.records.deciding import decide
from server.records.marks import marked
from server.records.profile import RecordProfile, patient_resource
from server.records.rendering import render, whole
from server.records.view import Choice, Older, Rendered, View, VisibleItem
from server.records.view_cache import ViewCache
from server.sharing import sentences
from server.sharing.authority import Authority
from server.storage import directory, feed
from server.storage.engine import RecordExists, Snapshot, Storage
from server.storage.sealing import Sealer
from server.storage.session import DirectorySession, ReadSession, RecordUnknown, WriteSession
from server.storage.tables import RecordRow

BODIES_PER_SLICE = 100
ANSWER_BYTES_MAX = 10 * 1024 * 1024
PROFILE_PURPOSE = "profile"


class Disclosed(NamedTuple):
    """What one interaction gave away, already in the log. `older` is newest first."""

    choice: Choice
    items: tuple[Rendered, ...]
    included: tuple[Rendered, ...]
    older: tuple[Rendered, ...]
    sealer: Sealer


class Records:
    """The records, and the door to them."""

    def __init__(self, storage: Storage, *, people_max: int | None = None) -> None:
        self._storage = storage
        self._people_max = people_max
        self._cache = ViewCache()

    async def disclose(self, authority: Authority, choose: Callable[[View], Choice]) -> Disclosed:
        """What `choose` picked from the authority's View, after the log has taken it.

        `choose` may raise NotFound, and then nothing was disclosed. AccessEnded when the grant ended before
        the log could take the entry: then nothing is answered either.
        """
        async with self._storage.snapshot(authority.record_id) as snapshot:
            view = await self._open_view(snapshot, authority)
            choice = choose(view)
            chosen = (*choice.items, *choice.included)
            bodies = await _bodies(snapshot, chosen)
            older = await _older(snapshot, choice.older, view)
        sealer = snapshot.sealer
        rendered = tuple(render(item, body, sealer) for item, body in zip(chosen, bodies, strict=True))
        await self._log(authority, choice, older)
        count = len(choice.items)
        return Disclosed(choice, rendered[:count], rendered[count:], older, sealer)

    async def _open_view(self, snapshot: Snapshot, authority: Authority) -> View:
        seq, now = await snapshot.run(lambda session: (_seq(session), session.now))
        key = (
            authority.record_id,
            seq,
            authority.grant_id,
            authority.grant_version,
            LABEL_RULES_VERSION,
            now.date(),
        )
        items = self._cache.get(key)
        if items is None:
            items = await decide(snapshot, authority, now.date())
            self._cache.put(key, items)
        return View(authority=authority, seq=seq, items=items)

    async def _log(self, authority: Authority, choice: Choice, older: Sequence[Rendered]) -> None:
        names = [(*item.name, str(item.version)) for item in (*choice.items, *choice.included)]
        names += [(*item.name, str(item.version)) for item in older]
        entry = LogEntry(
            kind=choice.kind,
            who=authority.who,
            sentence=sentences.looked_line(
                authority.who, choice.kind, names, is_owner=authority.relation == "owner"
            ),
            grant_id=authority.grant_id,
            grant_version=authority.grant_version,
            purpose=authority.purpose,
            items=tuple(names),
            query=choice.query,
        )
        await audit.append(self._storage, authority.record_id, entry, authority.still_live)

    async def open_record_for(self, person: Person) -> UUID:
        """The record of this verified person, made at their first sign-in.

        The directory is claimed first: two first sign-ins at once agree on one record, and a start cut short
        between the two steps is finished by the next sign-in. RuleBroken when there is no room for one more.
        """
        record_id = await self._storage.register(lambda session: _claim(session, person, self._people_max))
        try:
            await self.profile(record_id)
        except RecordUnknown:
            await self._make_record(record_id, person)
        return record_id

    async def profile(self, record_id: UUID) -> RecordProfile:
        """Whose record it is."""
        return await self._storage.read(record_id, profile_of)

    async def _make_record(self, record_id: UUID, person: Person) -> None:
        profile = RecordProfile(
            patient_id=str(uuid4()),
            name=person.name,
            family_name=person.family_name,
            given_name=person.given_name,
            nhs_number=person.nhs_number,
            birth_date=person.birth_date,
        )
        with suppress(RecordExists):
            await self._storage.create_record(record_id, lambda session: _begin(session, profile))


def _claim(session: DirectorySession, person: Person, people_max: int | None) -> UUID:
    """The record that is this person's, or the id of one to be made.

    A verified person who comes back under a new sign-in keeps the record of their NHS number.
    """
    assert person.nhs_number is not None
    record_id = directory.record_of_subject(session, person.subject)
    if record_id is not None:
        return record_id
    record_id = directory.claim_nhs_number(session, person.nhs_number, uuid4())
    if people_max is not None and directory.count_people(session) > people_max:
        raise RuleBroken("This installation is for one household, and it is full.")
    return directory.claim_subject(session, person.subject, record_id)


async def _bodies(snapshot: Snapshot, items: Sequence[VisibleItem]) -> list[bytes]:
    bodies: list[bytes] = []
    size = 0
    for start in range(0, len(items), BODIES_PER_SLICE):
        some = items[start : start + BODIES_PER_SLICE]
        read = await snapshot.run(lambda session, some=some: _read_bodies(session, some))
        size += sum(len(body) for body in read)
        if size > ANSWER_BYTES_MAX:
            raise TooLarge("This answer would be larger than 10 MB. Ask for fewer items, with _count.")
        bodies += read
    return bodies


def _read_bodies(session: ReadSession, items: Sequence[VisibleItem]) -> list[bytes]:
    found = feed.bodies(session, [item.key for item in items])
    # The heads are of this same snapshot, so that each body is there and of that version.
    assert all(found[item.key].version == item.version for item in items)
    return [found[item.key].body for item in items]


async def _older(snapshot: Snapshot, wanted: Older | None, view: View) -> tuple[Rendered, ...]:
    if wanted is None:
        return ()
    is_questioned = view.items[wanted.name].is_questioned
    return await snapshot.run(lambda session: _read_older(session, wanted, is_questioned=is_questioned))


def _read_older(session: ReadSession, wanted: Older, *, is_questioned: bool) -> tuple[Rendered, ...]:
    key = session.sealer.item_key(*wanted.name)
    heads = feed.versions(session, key)[:-1]
    if wanted.version_id is not None:
        heads = [head for head in heads if head.version == wanted.version_id]
        if not heads:
            raise NotFound
    return tuple(_past(session, key, head, is_questioned=is_questioned) for head in reversed(heads))


def _past(session: ReadSession, key: bytes, head: Head, *, is_questioned: bool) -> Rendered:
    body = feed.version_body(session, key, head.version)
    if body is None:
        raise NotFound
    name, shown = (head.resource_type, head.logical_id), marked(body) if is_questioned else body
    return whole(name, head.version, shown, head.last_updated, is_questioned=is_questioned)


def _seq(session: ReadSession) -> int:
    state = session.hot.record_state()
    if state is None:
        raise RecordUnknown
    return state[0]


def _begin(session: WriteSession, profile: RecordProfile) -> None:
    sealed = session.sealer.seal_struct(PROFILE_PURPOSE, session.record_id.bytes, 0, profile)
    session.execute(
        sa.update(RecordRow).where(col(RecordRow.record_id) == session.record_id).values(sealed=sealed)
    )
    feed.put(session, [_patient_item(profile)])


def _patient_item(profile: RecordProfile) -> feed.FeedItem:
    def render_patient(version: int, now: datetime) -> tuple[Head, bytes]:
        last_updated = to_wire(now)
        resource = served.stamp(patient_resource(profile), profile.patient_id, version, last_updated)
        return served.head_of(resource, version=version, last_updated=last_updated), encode(resource)

    return feed.FeedItem(resource_type="Patient", logical_id=profile.patient_id, render=render_patient)


def patient_id_of(session: ReadSession) -> str:
    """The id of the record's one Patient."""
    return profile_of(session).patient_id


def profile_of(session: ReadSession) -> RecordProfile:
    """Whose record it is, inside a reading of it."""
    statement = sa.select(col(RecordRow.sealed)).where(col(RecordRow.record_id) == session.record_id)
    sealed = session.execute(statement).scalar_one()
    return session.sealer.open_struct(PROFILE_PURPOSE, session.record_id.bytes, 0, sealed, RecordProfile)
