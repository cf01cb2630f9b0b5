"""Corrections: the person asks, the source answers, and whoever saw what was wrong is told.

A Task's way to its source is a row of the directory. The row is marked before the record is written and set
right after the commit; what a stop leaves marked is set right when the source next asks for its Tasks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from fhir_profiles.shapes import Resource
from server.corrections import answering, asking, rules, store
from server.corrections.answering import Fetched
from server.corrections.correction import Correction
from server.corrections.following import Saw, who_saw
from server.corrections.rules import Question
from server.corrections.targets import asked_of, may_be_named
from server.errors import Busy, Conflict, NotFound, RuleBroken
from server.notices import store as notice_store
from server.notices.notice import Notice
from server.sharing.authority import Authority
from server.storage import directory_corrections, directory_notices
from server.storage.command import Command
from server.storage.directory_corrections import QueuedTask
from server.storage.engine import Storage
from server.storage.session import DirectoryReads, DirectorySession, ReadSession, RecordUnknown, WriteSession

# A move takes seconds at most; a mark older than this was left by a stop.
MOVE_SECONDS_MAX = 60
# A page of Tasks ends early rather than grow past what a system takes at once.
ANSWER_BYTES_MAX = 2 * 1024 * 1024


class Followed(NamedTuple):
    """A correction, who saw what it is about, and the notices they got.

    `may_be_named` is False once the item's source hides it from the person.
    """

    correction: Correction
    may_be_named: bool
    saw: list[Saw]
    notices: list[Notice]
    disagreement: Correction | None


class Queue(NamedTuple):
    """Part of an organisation's queue. `whole_until` is the moment up to which nothing is missing."""

    tasks: list[Fetched]
    whole_until: datetime
    next_after: datetime | None


class Corrections:
    """Both sides of corrections. Made once by the application."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def prepare_question(
        self, authority: Authority, correction_id: UUID, question: Question
    ) -> Command[Correction]:
        """The command that asks. The same id again answers the correction that is there.

        RuleBroken when it may not be asked; Conflict when the id is taken elsewhere.
        """
        if refused := rules.judge_question(question):
            raise RuleBroken(refused.reason, pointer=refused.pointer)

        def organisation(session: ReadSession) -> str:
            standing = store.correction_of(session, correction_id)
            return (
                standing.organisation if standing else asked_of(session, question).organisation.organisation
            )

        code = await self._storage.read(authority.record_id, organisation)
        return await self._moving(
            authority.record_id,
            code,
            correction_id,
            lambda session: asking.ask(session, authority.who, correction_id, question),
        )

    async def prepare_message(
        self, authority: Authority, correction_id: UUID, text: str
    ) -> Command[Correction]:
        """The command that adds a message; it refuses with NotFound, or Conflict once it is settled."""
        _require_words(text, "/text")
        code = await self._organisation_of(authority.record_id, correction_id)
        return await self._moving(
            authority.record_id,
            code,
            correction_id,
            lambda session: asking.add_message(session, authority.who, correction_id, text),
        )

    async def prepare_withdraw(self, authority: Authority, correction_id: UUID) -> Command[Correction]:
        """The command that takes a correction back; it refuses with NotFound, or Conflict once decided."""
        code = await self._organisation_of(authority.record_id, correction_id)
        return await self._moving(
            authority.record_id,
            code,
            correction_id,
            lambda session: asking.withdraw(session, authority.who, correction_id),
        )

    async def prepare_disagree(
        self, authority: Authority, correction_id: UUID, statement: str
    ) -> Command[Correction]:
        """The command that disagrees with a refusal; NotFound, or Conflict while there is none."""
        _require_words(statement, "/statement")
        code = await self._organisation_of(authority.record_id, correction_id)
        disagreement_id = await self._storage.read(
            authority.record_id, lambda session: asking.disagreement_id_of(session, correction_id)
        )
        return await self._moving(
            authority.record_id,
            code,
            disagreement_id,
            lambda session: asking.disagree(session, authority.who, correction_id, statement),
        )

    async def new_id(self, record_id: UUID, mid: str | None) -> UUID:
        """The id of a correction that is asked now: the same for the same `mid`."""
        if mid is None:
            return uuid4()
        mac = await self._storage.read(record_id, lambda session: session.sealer.mac("correction-mid", mid))
        return UUID(bytes=mac, version=4)

    async def run(self, record_id: UUID, command: Command[Correction]) -> Correction:
        """A command in a transaction of its own."""
        try:
            return await self._storage.write(record_id, command.run)
        finally:
            assert command.settle is not None
            # What was written stands: a queue that could not be set right now is set right when it is asked.
            with suppress(Busy):
                await command.settle()

    async def every(self, record_id: UUID) -> list[Followed]:
        """Every correction of the record, newest first, each with its disagreement."""
        return await self._storage.read(record_id, _every)

    async def one(self, record_id: UUID, correction_id: UUID) -> Followed:
        """One correction, or the one that a disagreement is about; NotFound when the record has no such."""
        found = await self._storage.read(record_id, _every)
        for each in found:
            if correction_id in {each.correction.correction_id, each.correction.disagreed_in}:
                return each
        raise NotFound

    async def fetch(self, organisation: str, task_id: UUID) -> Fetched:
        """One Task of this organisation, told in the record's log. NotFound for every other."""
        queued = await self._queued(organisation, task_id)
        return await self._fetch(organisation, queued)

    async def queue(self, organisation: str, since: datetime | None, count: int) -> Queue:
        """The organisation's Tasks that moved after an instant, oldest move first, told in each log."""
        await self._settle_forgotten(organisation)
        rows, moving, now = await self._storage.look_up(
            lambda session: (
                directory_corrections.tasks_of(session, organisation, since, count),
                directory_corrections.moving_tasks(session, organisation),
                session.now,
            )
        )
        found: list[Fetched] = []
        size, last = 0, None
        for row in rows:
            last = row
            with suppress(NotFound):
                found.append(await self._fetch(organisation, row))
                size += found[-1].size
            if size > ANSWER_BYTES_MAX:
                break
            await asyncio.sleep(0)
        is_cut = last is not None and (len(rows) == count or last is not rows[-1])
        whole_until = min([now, *(one.moved_at for one in moving)])
        return Queue(found, whole_until, last.moved_at if last is not None and is_cut else None)

    async def answer(self, organisation: str, task_id: UUID, sent: Resource, *, if_version: int) -> Fetched:
        """The Task where its source moved it; NotFound, and the refusals of answering.answer."""
        queued = await self._queued(organisation, task_id)
        await self.run(
            queued.record_id, await self.prepare_answer(organisation, task_id, sent, if_version=if_version)
        )
        return await self._fetch(organisation, queued)

    async def prepare_answer(
        self, organisation: str, task_id: UUID, sent: Resource, *, if_version: int
    ) -> Command[Correction]:
        """The command that moves a Task for its source. NotFound when this organisation is not asked."""
        queued = await self._queued(organisation, task_id)
        return await self._moving(
            queued.record_id,
            organisation,
            task_id,
            lambda session: answering.answer(session, organisation, task_id, sent, if_version=if_version),
        )

    async def _moving(
        self,
        record_id: UUID,
        organisation: str | None,
        task_id: UUID,
        run: Callable[[WriteSession], Correction],
    ) -> Command[Correction]:
        """A command on a Task whose row in the directory is marked as moving until it settles.

        A correction that is not there yet is asked by an earlier command of the same transaction, which has
        marked the row, or it never will be.
        """
        if organisation is not None:
            is_ours = await self._storage.register(
                lambda session: directory_corrections.begin_move(session, organisation, task_id, record_id)
            )
            if not is_ours:
                raise Conflict("This id is taken.")
        settle = self._settling(record_id, organisation, task_id)

        async def undo() -> None:
            # The mark goes though nothing was written. A queue that is busy is set right when it is asked.
            with suppress(Busy):
                await settle()

        return Command(run, settle, undo)

    def _settling(
        self, record_id: UUID, organisation: str | None, task_id: UUID
    ) -> Callable[[], Awaitable[None]]:
        async def settle() -> None:
            correction = await self._kept(record_id, task_id)

            def command(session: DirectorySession) -> None:
                if correction is None:
                    if organisation is not None:
                        directory_corrections.drop_task(session, organisation, task_id)
                    return
                for told in correction.told:
                    directory_notices.put_notice(session, told.subject, told.notice_id, record_id)
                asked = correction.organisation
                if organisation not in {None, asked}:
                    # The row was made for another organisation than the one that is asked in the end.
                    directory_corrections.drop_task(session, organisation or asked, task_id)
                directory_corrections.put_task(session, asked, task_id, record_id, at=session.now)

            await self._storage.register(command)

        return settle

    async def _settle_forgotten(self, organisation: str) -> None:
        def forgotten(session: DirectoryReads) -> list[QueuedTask]:
            oldest = session.now - timedelta(seconds=MOVE_SECONDS_MAX)
            marked = directory_corrections.moving_tasks(session, organisation)
            return [one for one in marked if one.moved_at < oldest]

        for one in await self._storage.look_up(forgotten):
            await self._settling(one.record_id, organisation, one.task_id)()

    async def _kept(self, record_id: UUID, correction_id: UUID) -> Correction | None:
        try:
            return await self._storage.read(
                record_id, lambda session: store.correction_of(session, correction_id)
            )
        except RecordUnknown:
            return None

    async def _organisation_of(self, record_id: UUID, correction_id: UUID) -> str | None:
        correction = await self._kept(record_id, correction_id)
        return None if correction is None else correction.organisation

    async def _queued(self, organisation: str, task_id: UUID) -> QueuedTask:
        queued = await self._storage.look_up(
            lambda session: directory_corrections.task_of(session, organisation, task_id)
        )
        if queued is None:
            raise NotFound
        return queued

    async def _fetch(self, organisation: str, queued: QueuedTask) -> Fetched:
        def query(session: ReadSession) -> tuple[Correction, bool]:
            correction = answering.asked_of_source(session, organisation, queued.task_id)
            return correction, answering.is_fetch_noted(session, correction)

        correction, is_noted = await self._storage.read(queued.record_id, query)
        if not is_noted:
            correction = await self._storage.write(
                queued.record_id,
                lambda session: answering.note_fetched(session, organisation, queued.task_id),
            )
        return answering.fetched(correction)


def _require_words(text: str, pointer: str) -> None:
    if refused := rules.judge_text(text, pointer):
        raise RuleBroken(refused.reason, pointer=refused.pointer)


def _every(session: ReadSession) -> list[Followed]:
    kept = {each.correction_id: each for each in store.corrections_of(session)}
    return [
        _followed(session, each, kept.get(each.disagreed_in) if each.disagreed_in else None)
        for each in kept.values()
        if not each.is_disagreement
    ]


def _followed(session: ReadSession, correction: Correction, disagreement: Correction | None) -> Followed:
    notices = notice_store.notices(session, [told.notice_id for told in correction.told])
    return Followed(
        correction, may_be_named(session, correction), who_saw(session, correction), notices, disagreement
    )
