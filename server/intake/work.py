"""Carries one kept extract to its end: checked, staged, published or held. Safe to begin again."""

import asyncio
from typing import Final
from uuid import UUID

import msgspec

from server.errors import Busy
from server.intake import publish, store
from server.intake.gather import Extract, read_extract
from server.intake.keeping import kept_bytes
from server.intake.naming import ItemName
from server.intake.prepare import Setting
from server.intake.process import Run, Whose, examined_runs, settle
from server.intake.publish import Finding, Outcome
from server.storage import feed
from server.storage.engine import Storage
from server.storage.session import WriteSession

STALE_ATTEMPTS_MAX: Final = 5
STAGED_FORGOTTEN_AT_ONCE: Final = 500


async def finish(storage: Storage, whose: Whose, extract_id: UUID, extract: Extract | None) -> None:
    """Publishes the extract or holds it. Busy when other writers changed its items each time it was ready."""
    state = await storage.read(whose.record_id, lambda session: store.extract(session, extract_id))
    if state is None or state.state in {"done", "held"}:
        return
    if extract is None:
        body = await kept_bytes(storage, whose.record_id, extract_id, parts=state.parts)
        extract = await asyncio.to_thread(read_extract, body)
    for _ in range(STALE_ATTEMPTS_MAX):
        if await _attempt(storage, whose, extract_id, extract) is not Outcome.STALE:
            return
    raise Busy


async def forget_staged(storage: Storage, record_id: UUID, extract_id: UUID) -> None:
    """Takes away what an extract staged, some at a time, so that nobody who writes to the record waits."""

    def forget(session: WriteSession) -> int:
        return feed.discard_staged(session, extract_id, at_most=STAGED_FORGOTTEN_AT_ONCE)

    while await storage.write(record_id, forget) == STAGED_FORGOTTEN_AT_ONCE:
        pass


async def _attempt(storage: Storage, whose: Whose, extract_id: UUID, extract: Extract) -> Outcome:
    await storage.write(whose.record_id, lambda session: _begin(session, extract_id))
    setting = await settle(storage, whose, extract_id, extract)
    finding = Finding()
    async for run in examined_runs(storage, whose, setting):
        finding.take(run)
        names = _source_names(setting, run)

        def keep(session: WriteSession, run: Run = run, names: dict[str, ItemName] = names) -> None:
            publish.stage_run(session, extract_id, run, organisation=whose.organisation, names=names)
            _advance(session, extract_id, finding)

        await storage.write(whose.record_id, keep)

    def ready(session: WriteSession) -> None:
        publish.stage_provenance(
            session, extract_id, finding, whose=whose, first_position=len(extract.entries)
        )
        _advance(session, extract_id, finding, is_checked=True)

    await storage.write(whose.record_id, ready)
    return await storage.write(
        whose.record_id, lambda session: publish.publish(session, extract_id, finding, whose)
    )


def _begin(session: WriteSession, extract_id: UUID) -> None:
    feed.discard_staged(session, extract_id)
    store.forget_verdicts(session, extract_id)


def _advance(session: WriteSession, extract_id: UUID, finding: Finding, *, is_checked: bool = False) -> None:
    state = store.extract(session, extract_id)
    assert state is not None
    advanced = msgspec.structs.replace(
        state,
        state="publishing" if is_checked else "checking",
        done=finding.counts.received,
        counts=finding.counts,
    )
    store.put_extract(session, extract_id, advanced)


def _source_names(setting: Setting, run: Run) -> dict[str, ItemName]:
    """The new items whose source also calls them by an id that their served id is not made from."""
    named: dict[str, ItemName] = {}
    for one in run.rendered:
        entry = setting.extract.entries[one.index]
        if one.base_version == 0 and entry.source_id and entry.identifiers:
            named[f"{entry.resource_type}/{entry.source_id}"] = one.name
    return named
