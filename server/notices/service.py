"""Notices are kept with the record they tell of, and found by the directory (ADR 0026).

A professional has been told when they have fetched a notice: the row and the log say so in one transaction,
before the answer is sent.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from server.audit import service as audit
from server.audit.entry import LogEntry
from server.errors import NotFound
from server.notices import store
from server.notices.notice import Notice
from server.notices.sentences import item_words, removal_told_line, told_line
from server.sharing.sentences import logged_who_slots
from server.storage import directory_notices
from server.storage.directory_notices import KeptNotice
from server.storage.engine import Storage
from server.storage.session import DirectoryReads, RecordUnknown, WriteSession

CITIZEN_NOTICES_MAX = 200
# Each notice may be of another record, which is opened, and written when its recipient is told.
PAGE_NOTICES_MAX = 50


class NoticePage(NamedTuple):
    """Some of a person's notices, and behind which notice the next page begins; None on the last page."""

    notices: list[Notice]
    next_after: UUID | None


class Notices:
    """Everybody's notices. Whoever calls has judged who is asking."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def of_record(self, record_id: UUID) -> list[Notice]:
        """The owner's own notices, newest first."""
        found = await self._storage.read(record_id, store.notices)
        return [notice for notice in found if notice.to is None][:CITIZEN_NOTICES_MAX]

    async def of_person(
        self, subject: str, after: UUID | None = None, limit: int = PAGE_NOTICES_MAX
    ) -> NoticePage:
        """A professional's notices from every record, newest first. From now on they have been told these.

        A page holds fewer than `limit` where a record is gone. NotFound when `after` is not their notice.
        """

        def page(session: DirectoryReads) -> list[KeptNotice]:
            last = None if after is None else _require(directory_notices.notice_of(session, subject, after))
            return directory_notices.notices_of(session, subject, after=last, limit=limit + 1)

        kept = await self._storage.look_up(page)
        shown = kept[:limit]
        by_record: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for one in shown:
            by_record[one.record_id].append(one.notice_id)
        told = {
            notice.notice_id: notice
            for record_id, notice_ids in by_record.items()
            for notice in await self._told(record_id, subject, notice_ids)
        }
        found = [told[one.notice_id] for one in shown if one.notice_id in told]
        return NoticePage(found, shown[-1].notice_id if len(kept) > limit else None)

    async def read(self, subject: str, notice_id: UUID) -> Notice:
        """The notice, read from now on. NotFound when this person has no such notice."""
        kept = await self._storage.look_up(
            lambda session: _require(directory_notices.notice_of(session, subject, notice_id))
        )
        told = await self._told(kept.record_id, subject, [notice_id], is_read=True)
        if not told:
            raise NotFound
        return told[0]

    async def _told(
        self, record_id: UUID, subject: str, notice_ids: Sequence[UUID], *, is_read: bool = False
    ) -> list[Notice]:
        """This person's notices of one record, told and in its log; none when the record is gone."""
        try:
            found = await self._storage.read(
                record_id, lambda session: _theirs(store.notices(session, notice_ids), subject)
            )
            if all(notice.told_at and (notice.read_at or not is_read) for notice in found):
                return found
            return await self._storage.write(record_id, _telling(subject, notice_ids, is_read=is_read))
        except RecordUnknown:
            return []


def _require(kept: KeptNotice | None) -> KeptNotice:
    if kept is None:
        raise NotFound
    return kept


def _telling(
    subject: str, notice_ids: Sequence[UUID], *, is_read: bool
) -> Callable[[WriteSession], list[Notice]]:
    def command(session: WriteSession) -> list[Notice]:
        session.lock_record()
        return [
            _tell(session, notice, is_read=is_read)
            for notice in _theirs(store.notices(session, notice_ids), subject)
        ]

    return command


def _tell(session: WriteSession, notice: Notice, *, is_read: bool) -> Notice:
    told = msgspec.structs.replace(
        notice,
        told_at=notice.told_at or session.now,
        read_at=notice.read_at or (session.now if is_read else None),
    )
    if told != notice:
        store.put(session, told)
    if notice.told_at is None:
        audit.add(session, _line(notice))
    return told


def _line(notice: Notice) -> LogEntry:
    assert notice.to is not None
    assert notice.seen is not None
    who, item = logged_who_slots(notice.to).full, item_words(notice.seen.title, notice.seen.dated)
    # What was taken out may be hidden from its own person: the log does not name it from then on.
    sentence = (
        removal_told_line(who, source=notice.source)
        if notice.is_removal
        else told_line(who, item, source=notice.source)
    )
    return LogEntry(kind="correct", who=notice.to, sentence=sentence)


def _theirs(found: Sequence[Notice], subject: str) -> list[Notice]:
    return [notice for notice in found if notice.to is not None and notice.to.subject == subject]
