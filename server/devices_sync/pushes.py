"""A push, from what the phone sent to what it is told: checked before the lock, done in one transaction."""

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec

from server.audit import service as audit
from server.devices_sync import commands, edits, pushing
from server.devices_sync.commands import CommandBook, Prepared
from server.devices_sync.faults import FAULTS, refused_for
from server.devices_sync.limits import over_limits
from server.devices_sync.mutations import Sent, read_push
from server.devices_sync.pulls import Asked, Pulls
from server.devices_sync.pushing import Plan, Planned, PushRun
from server.devices_sync.visitor import VisitingPhone, phone_of
from server.errors import CursorReset, DeviceUnknown, HeldError, NotFound
from server.records import own_items
from server.records.own_items import ItemName, ItemState
from server.records.service import patient_id_of
from server.sharing.authority import Authority
from server.storage.engine import Snapshot, Storage
from server.storage.session import ReadSession, WriteSession
from sync.messages import MUTATIONS_PER_PUSH_MAX, Page, Push, Pushed, Result


class Pushes:
    """The writing call of phones."""

    def __init__(self, storage: Storage, pulls: Pulls, book: CommandBook) -> None:
        self._storage = storage
        self._pulls = pulls
        self._book = book

    async def push(self, authority: Authority, push: Push) -> Pushed:
        """One result for each mutation, in order, and the rows since the phone's cursor if it sent one.

        BadRequest when a mutation cannot be told from others, OverSyncLimits when there are too many.
        """
        phone = phone_of(authority)
        if push.device_id != str(phone.device_id):
            raise DeviceUnknown("These mutations name another phone.")
        if len(push.mutations) > MUTATIONS_PER_PUSH_MAX:
            raise over_limits()
        plan = await self._plan(authority, phone, read_push(push))
        run = await self._carry_out(authority, phone, plan)
        results = tuple(run.results[sent.mid] for sent in plan.sent)
        return await self._answer(authority, push, _repeats_marked(plan, results))

    async def _plan(self, authority: Authority, phone: VisitingPhone, sent: list[Sent]) -> Plan:
        """Everything that can be decided before the record is locked."""
        async with self._storage.snapshot(authority.record_id) as snapshot:
            await snapshot.run(phone.judge)
            stored = await snapshot.run(lambda session: pushing.stored_results(session, sent))
            patient_id = await snapshot.run(patient_id_of)
            new = [one for one in sent if one.mid not in stored]
            decisions = await _decide_ahead(snapshot, new, patient_id)
            now = await snapshot.run(lambda session: session.now)
        prepared = await self._prepare(authority, new, now)
        return Plan(sent=sent, patient_id=patient_id, decisions=decisions, prepared=prepared)

    async def _prepare(
        self, authority: Authority, new: list[Sent], now: datetime
    ) -> dict[UUID, Prepared | Result]:
        """The commands of a push made ready.

        One about what an earlier command of this push only makes cannot be made ready yet: it is left out,
        and the phone told to send it again.
        """
        prepared: dict[UUID, Prepared | Result] = {}
        made: set[ItemName] = set()
        for one in new:
            mutation = one.mutation
            if mutation is None or mutation.op != "command" or one.mid in prepared:
                continue
            try:
                prepared[one.mid] = await commands.prepare(self._book, authority, mutation, now)
            except NotFound as error:
                if edits.name_of(mutation) not in made:
                    prepared[one.mid] = commands.refused(mutation, error)
            except HeldError as error:
                prepared[one.mid] = commands.refused(mutation, error)
            except FAULTS as error:
                prepared[one.mid] = refused_for(mutation.mid, error)
            made.add(edits.name_of(mutation))
        return prepared

    async def _carry_out(self, authority: Authority, phone: VisitingPhone, plan: Plan) -> PushRun:
        def command(session: WriteSession) -> PushRun:
            run = PushRun(session, plan, phone.device_id)
            is_noted = phone.judge(session)
            run.run()
            if not is_noted:
                audit.add(session, phone.enter(session))
            return run

        ran: set[UUID] = set()
        try:
            run = await self._storage.write(authority.record_id, command)
            ran = run.ran
        finally:
            await _undo(plan, ran)
        for mid in run.ran:
            prepared = plan.prepared[mid]
            if isinstance(prepared, Prepared) and prepared.command.settle is not None:
                await prepared.command.settle()
        return run

    async def _answer(self, authority: Authority, push: Push, results: tuple[Result, ...]) -> Pushed:
        if push.since is None:
            return Pushed(results=results)
        try:
            page = await self._pulls.changes(authority, Asked(since=push.since))
        except CursorReset:
            # The results must reach the phone all the same; its next pull is told of the reset.
            return Pushed(results=results)
        assert isinstance(page, Page)
        return Pushed(
            results=results,
            cursor=page.cursor,
            more=page.more,
            acked=page.acked,
            changes=page.changes,
            checkpoint=page.checkpoint,
            digest=page.digest,
            repair=page.repair,
        )


async def _decide_ahead(snapshot: Snapshot, new: list[Sent], patient_id: str) -> dict[UUID, Planned]:
    """The decisions on mutations of resources as things stand, each on what the one before it would leave."""

    def stand(session: ReadSession) -> dict[ItemName, ItemState]:
        states = own_items.standing(session, pushing.names_in(new))
        return own_items.with_bodies(session, states.values())

    states = await snapshot.run(stand)
    decisions: dict[UUID, Planned] = {}
    for one in new:
        mutation = one.mutation
        if mutation is None or mutation.op == "command" or one.mid in decisions:
            continue
        state = states[edits.name_of(mutation)]
        decision = await snapshot.run(
            lambda session, m=mutation, s=state: pushing.decide_in(session, m, s, patient_id)
        )
        decisions[one.mid] = Planned(state.fingerprint, decision)
        if decision.item is not None:
            states[state.name] = decision.item.as_state
        await asyncio.sleep(0)
    return decisions


def _repeats_marked(plan: Plan, results: tuple[Result, ...]) -> tuple[Result, ...]:
    """A mid that stands twice in one push was answered once; the second is a repeat."""
    seen: set[UUID] = set()
    marked: list[Result] = []
    for sent, result in zip(plan.sent, results, strict=True):
        marked.append(msgspec.structs.replace(result, repeat=True) if sent.mid in seen else result)
        seen.add(sent.mid)
    return tuple(marked)


async def _undo(plan: Plan, ran: set[UUID]) -> None:
    """Takes back what was prepared for commands that did nothing."""
    for mid, prepared in plan.prepared.items():
        if isinstance(prepared, Prepared) and mid not in ran and prepared.command.undo is not None:
            await prepared.command.undo()
