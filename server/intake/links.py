"""The organisations a citizen lets push to their record, and what each organisation is told of its links.

The record's own row is the truth, asked again when an extract is published; the directory's row is the way
from an organisation to the record. The record's is written first, so that a link ended is ended at once.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import msgspec

from server.errors import BadRequest, NotFound
from server.http.times import to_wire
from server.intake import organisations as registered_organisations
from server.intake import store
from server.intake.facts import Identifier
from server.intake.store import KeptLink
from server.intake.wire import AvailableOrganisation, Link, LinkedPeople, LinkedPerson, LinkList
from server.records.service import Records
from server.storage import directory_intake
from server.storage.directory_intake import LinkChange
from server.storage.engine import Storage
from server.storage.sealing import SealBroken
from server.storage.session import DirectoryReads, RecordUnknown, WriteSession

CURSOR_CHARACTERS_MAX: Final = 200
_CURSOR_PURPOSE: Final = "links-cursor"


class _Cursor(msgspec.Struct, frozen=True):
    change: int


class Links:
    """Reads and changes links. Whoever calls has already judged that the caller owns the record."""

    def __init__(self, storage: Storage, records: Records) -> None:
        self._storage = storage
        self._records = records

    async def of_record(self, record_id: UUID) -> LinkList:
        """The citizen's links, and the organisations they could link besides."""
        kept = await self._storage.read(record_id, store.links)
        registered = await self._storage.look_up(registered_organisations.organisations)
        accepted = {link.organisation for link in kept if link.state == "accepted"}
        return LinkList(
            links=[_link(one) for one in sorted(kept, key=lambda link: (link.name, link.organisation))],
            available=[
                AvailableOrganisation(one.organisation, one.name)
                for one in registered
                if one.organisation not in accepted
            ],
        )

    async def accept(self, record_id: UUID, code: str) -> Link:
        """Lets an organisation push from now on. NotFound when the operator did not register it."""
        found = await self._storage.look_up(
            lambda session: registered_organisations.organisation(session, code)
        )
        if found is None:
            raise NotFound

        def command(session: WriteSession) -> KeptLink:
            session.lock_record()
            kept = store.link(session, code)
            if kept is None or kept.state != "accepted":
                kept = KeptLink(
                    organisation=code,
                    name=found.name,
                    state="accepted",
                    changed_at=to_wire(session.now),
                    last_extract_at=kept.last_extract_at if kept else None,
                    aliases=kept.aliases if kept else (),
                )
                store.put_link(session, kept)
            return kept

        accepted = await self._storage.write(record_id, command)
        await self._tell_directory(record_id, code, is_accepted=True)
        return _link(accepted)

    async def end(self, record_id: UUID, code: str) -> None:
        """Takes nothing from the organisation from now on. NotFound when it was never linked."""

        def command(session: WriteSession) -> None:
            session.lock_record()
            kept = store.link(session, code)
            if kept is None:
                raise NotFound
            if kept.state == "accepted":
                ended = msgspec.structs.replace(kept, state="ended", changed_at=to_wire(session.now))
                store.put_link(session, ended)

        await self._storage.write(record_id, command)
        await self._tell_directory(record_id, code, is_accepted=False)

    async def changes(self, code: str, since: str | None) -> LinkedPeople:
        """The people whose link with the organisation changed since the cursor, and the next cursor."""
        after = await self._storage.look_up(lambda session: _opened(session, code, since)) if since else 0
        found = await self._storage.look_up(
            lambda session: directory_intake.link_changes(session, code, after)
        )
        people = [person for change in found if (person := await self._person(code, change)) is not None]
        newest = found[-1].change if found else after
        cursor = await self._storage.look_up(lambda session: _sealed(session, code, newest))
        return LinkedPeople(links=people, cursor=cursor)

    async def _person(self, code: str, change: LinkChange) -> LinkedPerson | None:
        """None for a record that is gone: there is nothing left to say of it."""
        try:
            profile = await self._records.profile(change.record_id)
            kept = await self._storage.read(change.record_id, lambda session: store.link(session, code))
        except RecordUnknown:
            return None
        state = "accepted" if change.accepted else "ended"
        return LinkedPerson(profile.nhs_number, state, kept.changed_at) if kept is not None else None

    async def _tell_directory(self, record_id: UUID, code: str, *, is_accepted: bool) -> None:
        """Written again even when the record's row stood already: an earlier call may have been cut short."""

        def command(session: directory_intake.DirectorySession) -> None:
            if directory_intake.is_linked(session, code, record_id) is not is_accepted:
                directory_intake.set_link(session, code, record_id, accepted=is_accepted)

        await self._storage.register(command)


async def accept_alias(  # noqa: PLR0917 - a development tool says each of these by name or in this order
    storage: Storage, record_id: UUID, organisation: str, system: str, value: str
) -> None:
    """Lets an organisation use an identifier of its own for the person. NotFound without an accepted link."""

    def command(session: WriteSession) -> None:
        session.lock_record()
        kept = store.link(session, organisation)
        if kept is None or kept.state != "accepted":
            raise NotFound
        store.put_link(session, msgspec.structs.replace(kept, aliases=_added(kept.aliases, (system, value))))

    await storage.write(record_id, command)
    await storage.register(
        lambda session: directory_intake.put_alias(session, organisation, system, value, record_id=record_id)
    )


def _added(aliases: Sequence[Identifier], alias: Identifier) -> tuple[Identifier, ...]:
    return tuple(dict.fromkeys((*aliases, alias)))


def _link(kept: KeptLink) -> Link:
    return Link(
        organisation=kept.organisation,
        name=kept.name,
        state=kept.state,
        connected=kept.last_extract_at is not None,
        last_extract_at=kept.last_extract_at,
    )


def _sealed(session: DirectoryReads, code: str, change: int) -> str:
    sealed = session.sealer.seal_struct(_CURSOR_PURPOSE, code.encode(), 0, _Cursor(change))
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _opened(session: DirectoryReads, code: str, cursor: str) -> int:
    try:
        if len(cursor) > CURSOR_CHARACTERS_MAX:
            raise SealBroken
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return session.sealer.open_struct(_CURSOR_PURPOSE, code.encode(), 0, sealed, _Cursor).change
    except (SealBroken, binascii.Error, ValueError):
        raise BadRequest("This cursor is not one we gave you.") from None
