"""The intake of extracts: take the bytes, keep them, answer; check and publish behind the answer; report.

What was answered is durable: the bytes are kept before the answer, and what a stop leaves unfinished is taken
up again at the next start.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import msgspec

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.second_opinion import load_models
from server.errors import Busy, Conflict, LimitReached, NotFound, RuleBroken, TooLarge
from server.http.times import to_wire
from server.intake import store
from server.intake.background import LEASE_SECONDS, Background
from server.intake.gather import Extract, read_extract
from server.intake.keeping import keep_bytes
from server.intake.matching import Match, match
from server.intake.organisations import Organisation, organisation
from server.intake.process import examined_runs, settle
from server.intake.publish import HELD_DETAIL, Finding
from server.intake.store import PART_BYTES, KeptExtractState
from server.intake.wire import Counts, ExtractReport, ItemVerdict, Progress
from server.records.service import Records
from server.storage import directory_intake
from server.storage.engine import Storage
from server.storage.session import DirectoryReads

BODY_BYTES_MAX: Final = 20 * 1024 * 1024
UPLOADS_MAX: Final = 16
EXTRACTS_PER_ORGANISATION: Final = 8
READ_AT_ONCE: Final = 2
RUNS_PER_READ: Final = 20


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """One extract on its way in."""

    organisation: str
    extent: str
    chunks: AsyncIterator[bytes]
    idempotency_key: str | None = None


class _Taken(NamedTuple):
    """An extract read, and whose it is."""

    sender: Organisation
    extract: Extract
    found: Match


class Intake:
    """Takes extracts in and reports on them. Made once, started and stopped with the application."""

    def __init__(self, storage: Storage, records: Records, *, is_only_process: bool = True) -> None:
        self._storage = storage
        self._records = records
        self._background = Background(storage, records, is_only_process=is_only_process)
        self._uploads: Counter[str] = Counter()
        self._reading = asyncio.Semaphore(READ_AT_ONCE)

    async def start(self) -> None:
        """Makes ready to check, and takes up what was left unfinished."""
        load_models(CATALOGUE)
        await self._background.start()

    async def stop(self) -> None:
        """Lets go of what is under way; the next start takes it up."""
        await self._background.stop()

    async def settled(self) -> None:
        """Waits until no extract is being worked on here."""
        await self._background.settled()

    async def receive(self, upload: Upload) -> ExtractReport:
        """Takes an extract in and answers its report so far; the rest happens behind the answer.

        BodyRefused, TooLarge or RuleBroken when it cannot be read at all; RuleBroken when its Idempotency-Key
        was used for another extract, Conflict while that one is still being received.
        """
        sender = await self._sender(upload.organisation)
        with self._place_for(sender.organisation):
            body, fingerprint = await _whole(upload)
            extract_id = await self._id_of(upload, sender)
            if not await self._is_repeat(extract_id, fingerprint, sender):
                taken = await self._take(sender, body)
                state = await self._first_state(upload, taken, fingerprint)
                await self._keep(extract_id, taken, state)
            return await self.report(upload.organisation, extract_id)

    async def rehearse(self, upload: Upload) -> ExtractReport:
        """The report an extract would get now. Nothing is kept of it."""
        sender = await self._sender(upload.organisation)
        with self._place_for(sender.organisation):
            body, fingerprint = await _whole(upload)
            taken = await self._take(sender, body)
            extract_id, finding, verdicts = uuid4(), Finding(), list[ItemVerdict]()
            if (of := taken.found.whose) is not None:
                setting = await settle(self._storage, of, extract_id, taken.extract)
                async for run in examined_runs(self._storage, of, setting):
                    finding.take(run)
                    verdicts += run.verdicts
            state = await self._first_state(upload, taken, fingerprint)
            if state.state != "held":
                state = msgspec.structs.replace(state, state="done", done=state.seen, counts=finding.counts)
            report = _report(extract_id, state, verdicts)
            return msgspec.structs.replace(report, dry_run=True)

    async def report(self, organisation_code: str, extract_id: UUID) -> ExtractReport:
        """The report on an extract, for the organisation that sent it; NotFound for everyone else."""
        kept = await self._storage.look_up(
            lambda session: directory_intake.extract_of_sender(session, extract_id, organisation_code)
        )
        if kept is None:
            raise NotFound
        state = await self._storage.read(kept.record_id, lambda session: store.extract(session, extract_id))
        if state is None:
            raise NotFound
        items: list[ItemVerdict] = []
        if state.state == "done":
            items = await self._verdicts(kept.record_id, extract_id)
        return _report(extract_id, state, items)

    async def _verdicts(self, record_id: UUID, extract_id: UUID) -> list[ItemVerdict]:
        """Verdicts are final once an extract is done, so that they may be read in several steps."""
        verdicts: list[ItemVerdict] = []
        first = 0
        while True:
            some = await self._storage.read(
                record_id,
                lambda session, first=first: store.verdict_runs(session, extract_id, first, RUNS_PER_READ),
            )
            verdicts += [verdict for run in some for verdict in run]
            first += RUNS_PER_READ
            if len(some) < RUNS_PER_READ:
                return verdicts
            await asyncio.sleep(0)

    async def _take(self, sender: Organisation, body: bytes) -> _Taken:
        async with self._reading:
            extract = await asyncio.to_thread(read_extract, body)
        found = await match(self._storage, self._records, sender, extract.claims)
        return _Taken(sender, extract, found)

    async def _keep(self, extract_id: UUID, taken: _Taken, state: KeptExtractState) -> None:
        """Keeps the extract with the record it is for, or with a holding record of its own."""
        of, body = taken.found.whose, taken.extract.raw
        record_id = of.record_id if of is not None else uuid4()
        if of is None:
            await self._storage.create_record(record_id, lambda _: None)
        await self._claim(extract_id, record_id, taken.sender.organisation)
        await keep_bytes(self._storage, record_id, extract_id, body=body, state=state)
        if of is not None:
            self._background.begin(extract_id, of, taken.extract)
        else:
            await self._storage.register(lambda session: directory_intake.finish_extract(session, extract_id))

    async def _claim(self, extract_id: UUID, record_id: UUID, organisation_code: str) -> None:
        is_ours = await self._storage.register(
            lambda session: directory_intake.keep_extract(
                session, extract_id, record_id, organisation_code, lease_seconds=LEASE_SECONDS
            )
        )
        if not is_ours:
            raise Conflict("An extract with this Idempotency-Key is being received now.")

    async def _first_state(self, upload: Upload, taken: _Taken, fingerprint: bytes) -> KeptExtractState:
        now = await self._storage.look_up(lambda session: session.now)
        seen, because = len(taken.extract.entries), taken.found.because
        is_held = taken.found.whose is None
        return KeptExtractState(
            organisation=taken.sender.organisation,
            organisation_name=taken.sender.name,
            state="held" if is_held else "checking",
            extent=upload.extent,
            received_at=to_wire(now),
            fingerprint=fingerprint,
            parts=-(-len(taken.extract.raw) // PART_BYTES),
            seen=seen,
            counts=Counts(received=seen) if is_held else Counts(),
            detail=HELD_DETAIL if is_held else None,
            held_because=because.value if because is not None else None,
        )

    async def _id_of(self, upload: Upload, sender: Organisation) -> UUID:
        key = upload.idempotency_key
        if key is None:
            return uuid4()
        return await self._storage.look_up(
            lambda session: directory_intake.extract_id_of_key(session, sender.organisation, key)
        )

    async def _is_repeat(self, extract_id: UUID, fingerprint: bytes, sender: Organisation) -> bool:
        kept = await self._storage.look_up(
            lambda session: directory_intake.extract_of_sender(session, extract_id, sender.organisation)
        )
        if kept is None:
            return False
        state = await self._storage.read(kept.record_id, lambda session: store.extract(session, extract_id))
        if state is None:
            raise Conflict("An extract with this Idempotency-Key is being received now.")
        if state.fingerprint != fingerprint:
            raise RuleBroken("This Idempotency-Key was used for another extract.")
        return True

    async def _sender(self, code: str) -> Organisation:
        def named(session: DirectoryReads) -> Organisation:
            return organisation(session, code) or Organisation(organisation=code, name=code)

        return await self._storage.look_up(named)

    @contextmanager
    def _place_for(self, organisation_code: str) -> Generator[None]:
        """A place among the extracts in hand; LimitReached or Busy when there is none."""
        if self._uploads.total() >= UPLOADS_MAX:
            raise Busy
        in_hand = self._uploads[organisation_code] + self._background.in_hand(organisation_code)
        if in_hand >= EXTRACTS_PER_ORGANISATION:
            raise LimitReached("We are still working on your earlier extracts.", retry_after_seconds=5)
        self._uploads[organisation_code] += 1
        try:
            yield
        finally:
            self._uploads[organisation_code] -= 1


async def _whole(upload: Upload) -> tuple[bytes, bytes]:
    """All the bytes, and a fingerprint of them with what was asked for; TooLarge beyond the limit."""
    received: list[bytes] = []
    size, hashed = 0, sha256(upload.extent.encode() + b"\0")
    async for chunk in upload.chunks:
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise TooLarge(f"We take at most {BODY_BYTES_MAX} bytes in one extract.")
        # Hashed as it comes: 20 MB at once would hold up the loop.
        hashed.update(chunk)
        received.append(chunk)
    return b"".join(received), hashed.digest()


def _report(extract_id: UUID, state: KeptExtractState, items: list[ItemVerdict]) -> ExtractReport:
    return ExtractReport(
        extract_id=str(extract_id),
        state=state.state,
        extent=state.extent,
        received_at=state.received_at,
        progress=Progress(state.seen, state.done),
        counts=state.counts,
        items=items,
        detail=state.detail if state.detail is not None else msgspec.UNSET,
    )
