"""Works on kept extracts behind the answer: a few at once, one per record, taken up again after a stop.

A lease in the directory says which process works on an extract; it is renewed while the work goes on.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec
import structlog

from server.errors import Busy
from server.intake import store
from server.intake.gather import Extract
from server.intake.matching import whose
from server.intake.organisations import Organisation
from server.intake.process import Whose
from server.intake.publish import hold
from server.intake.work import finish, forget_staged
from server.records.service import Records
from server.storage import directory_intake
from server.storage.directory_intake import KeptExtract
from server.storage.engine import Storage
from server.storage.session import RecordUnknown, WriteSession

AT_ONCE: Final = 2
ATTEMPTS_MAX: Final = 3
LEASE_SECONDS: Final = 60
SWEEP_SECONDS: Final = 15
FAILED_DETAIL: Final = (
    "We could not finish checking this extract. Its bytes are kept and the operator is told."
)
_LOG: structlog.stdlib.BoundLogger = structlog.get_logger("held.intake")


class Background:
    """The extracts this process is working on."""

    def __init__(self, storage: Storage, records: Records, *, is_only_process: bool) -> None:
        self._storage = storage
        self._records = records
        self._is_only_process = is_only_process
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._of_organisation: Counter[str] = Counter()
        self._attempts: Counter[UUID] = Counter()
        self._turns = asyncio.Semaphore(AT_ONCE)
        # A turn lives as long as somebody holds it or waits for it.
        self._record_turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Takes up unfinished extracts, and goes on looking for those another process left."""
        if self._is_only_process:
            await self._storage.register(directory_intake.free_all_leases)
        await self.take_up_unfinished()
        self._sweeper = asyncio.create_task(self._sweep(), name="intake-sweep")

    async def stop(self) -> None:
        """Lets go of everything under way."""
        tasks = [*self._tasks.values(), *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settled(self) -> None:
        """Waits until nothing is being worked on here."""
        while self._tasks:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def in_hand(self, organisation: str) -> int:
        """How many extracts of an organisation are being worked on here."""
        return self._of_organisation[organisation]

    def begin(self, extract_id: UUID, of: Whose, extract: Extract | None) -> None:
        """Works on an extract whose lease this process has."""
        turn = self._record_turns.setdefault(of.record_id, asyncio.Lock())
        # Bytes that would wait their turn in memory are read again instead.
        at_hand = None if turn.locked() or self._turns.locked() else extract
        self._of_organisation[of.organisation] += 1
        task = asyncio.create_task(self._work(extract_id, of, at_hand, turn), name=f"intake-{extract_id}")
        self._tasks[extract_id] = task
        task.add_done_callback(lambda _: self._let_go(extract_id, of.organisation))

    async def take_up_unfinished(self) -> None:
        """Goes on with extracts that were kept and that nobody is working on."""
        for kept in await self._storage.look_up(directory_intake.unfinished):
            if kept.extract_id not in self._tasks and await self._take_lease(kept.extract_id):
                await self._take_up(kept)

    async def _take_lease(self, extract_id: UUID) -> bool:
        return await self._storage.register(
            lambda session: directory_intake.take_lease(session, extract_id, seconds=LEASE_SECONDS)
        )

    async def _take_up(self, kept: KeptExtract) -> None:
        """An extract without a state was never answered with 202: its sender sends it again."""
        extract_id = kept.extract_id
        try:
            state = await self._storage.read(
                kept.record_id, lambda session: store.extract(session, extract_id)
            )
            if state is None:
                await self._storage.write(
                    kept.record_id, lambda session: store.forget_parts(session, extract_id)
                )
        except RecordUnknown:
            state = None
        if state is None:
            await self._storage.register(lambda session: directory_intake.forget_extract(session, extract_id))
        elif state.state in {"done", "held"}:
            await self._finished(extract_id, kept.record_id)
        else:
            profile = await self._records.profile(kept.record_id)
            sender = Organisation(organisation=state.organisation, name=state.organisation_name)
            self.begin(extract_id, whose(kept.record_id, profile.patient_id, sender), None)

    async def _work(self, extract_id: UUID, of: Whose, extract: Extract | None, turn: asyncio.Lock) -> None:
        try:
            async with turn, self._turns:
                await finish(self._storage, of, extract_id, extract)
            await self._finished(extract_id, of.record_id)
        except (Busy, RecordUnknown):
            await self._free(extract_id)
        except Exception as error:
            # The error's text may hold what was sent, so that only its kind is logged.
            _LOG.exception(
                "extract-failed", extract_id=str(extract_id), error=type(error).__name__, exc_info=False
            )
            await self._failed(extract_id, of)

    async def _failed(self, extract_id: UUID, of: Whose) -> None:
        self._attempts[extract_id] += 1
        if self._attempts[extract_id] < ATTEMPTS_MAX:
            await self._free(extract_id)
            return
        await self._storage.write(of.record_id, lambda session: _give_up(session, extract_id))
        await self._finished(extract_id, of.record_id)

    async def _finished(self, extract_id: UUID, record_id: UUID) -> None:
        await forget_staged(self._storage, record_id, extract_id)
        self._attempts.pop(extract_id, None)
        await self._storage.register(lambda session: directory_intake.finish_extract(session, extract_id))

    async def _free(self, extract_id: UUID) -> None:
        # Where not even this can be written, the lease runs out by itself.
        with suppress(Busy):
            await self._storage.register(
                lambda session: directory_intake.renew_lease(session, extract_id, seconds=0)
            )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                for extract_id in list(self._tasks):
                    await self._storage.register(
                        lambda session, mine=extract_id: directory_intake.renew_lease(
                            session, mine, seconds=LEASE_SECONDS
                        )
                    )
                await self.take_up_unfinished()
            except Busy:
                continue

    def _let_go(self, extract_id: UUID, organisation: str) -> None:
        self._tasks.pop(extract_id, None)
        self._of_organisation[organisation] -= 1


def _give_up(session: WriteSession, extract_id: UUID) -> None:
    state = store.extract(session, extract_id)
    if state is not None and state.state not in {"done", "held"}:
        hold(session, extract_id, msgspec.structs.replace(state), "failed")
        held = store.extract(session, extract_id)
        assert held is not None
        store.put_extract(session, extract_id, msgspec.structs.replace(held, detail=FAILED_DETAIL))
