"""Takes an extract from its bytes to verdicts and staged items, run by run, giving way to the loop.

Parsing, validating and rendering happen in a worker thread; what is held is read, and what is staged is
written, by one short unit of work per run. Nothing is decoded for longer than its run.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from fhir_profiles.references import target_of
from server.intake import prepare, store
from server.intake.gather import Extract
from server.intake.naming import ItemName, name_entries, new_reference
from server.intake.prepare import Candidate, Rendered, Setting
from server.intake.wire import ItemVerdict
from server.storage import feed
from server.storage.engine import Storage
from server.storage.sealing import Sealer
from server.storage.session import ReadSession

ENTRIES_PER_RUN: Final = 100
BYTES_PER_RUN: Final = 512 * 1024
NAMES_PER_READ: Final = 50


class Whose(msgspec.Struct, frozen=True, kw_only=True):
    """Whose extract it is and who sent it."""

    record_id: UUID
    patient_id: str
    organisation: str
    organisation_name: str


class Standing(msgspec.Struct, frozen=True):
    """How an item stands in the record now: in the feed, and among what its source hides."""

    in_feed: feed.Current | None
    hidden_version: int = 0
    hidden_hash: bytes = b""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one run of entries."""

    number: int
    verdicts: list[ItemVerdict]
    rendered: list[Rendered]
    hidden: list[Rendered]
    withdrawn: list[ItemName]
    released: list[ItemName]


async def settle(storage: Storage, whose: Whose, extract_id: UUID, extract: Extract) -> Setting:
    """Names everything in the extract, and finds what its references mean that lie outside it."""
    sealer = await storage.read(whose.record_id, _sealer)
    hidden = await storage.read(whose.record_id, feed.hidden_names)

    def mac(*parts: str) -> bytes:
        return sealer.mac("served-id", whose.organisation, *parts)

    names = await asyncio.to_thread(
        name_entries,
        extract.entries,
        mac,
        extract.content_key,
        patient_id=whose.patient_id,
        is_transaction=extract.kind == "transaction",
    )
    shown, hidden_here = set[ItemName](), set[ItemName]()
    for entry in extract.entries:
        here = hidden_here if entry.index in extract.hidden else shown
        here.add((entry.resource_type, names.ids[entry.index]))
    known = await _known_names(storage, whose, extract)
    meant = {new_reference(text, names, mac, known) for text in extract.unresolved}
    setting = Setting(
        extract=extract,
        extract_id=str(extract_id),
        names=names,
        mac=mac,
        organisation=whose.organisation,
        # What its source hid before and sends openly now is hidden no longer.
        hidden=frozenset(hidden_here | (hidden - shown)),
        held_back=hidden,
        known=known,
        living=await _living(storage, whose, sorted({target_of(text) for text in meant if text})),
    )
    return await asyncio.to_thread(prepare.as_if_absent, setting)


async def examined_runs(storage: Storage, whose: Whose, setting: Setting) -> AsyncIterator[Run]:
    """Every entry's verdict and what is to be staged, run by run."""
    for number, indexes in enumerate(run_bounds(setting.extract)):
        found = await asyncio.to_thread(_examined, setting, indexes)
        read = partial(_standings, candidates=_candidates(found), held_back=setting.held_back)
        yield await asyncio.to_thread(
            _decided, setting, number, found, await storage.read(whose.record_id, read)
        )


def _examined(setting: Setting, indexes: range) -> list[Candidate | ItemVerdict]:
    return [prepare.examine(setting, index) for index in indexes]


def _candidates(found: Sequence[Candidate | ItemVerdict]) -> list[Candidate]:
    return [one for one in found if isinstance(one, Candidate)]


def run_bounds(extract: Extract) -> list[range]:
    """The entries in runs small enough to be decoded at once."""
    runs: list[range] = []
    first, size = 0, 0
    for index, (start, end) in enumerate(extract.places):
        size += end - start
        if size >= BYTES_PER_RUN or index + 1 - first >= ENTRIES_PER_RUN:
            runs.append(range(first, index + 1))
            first, size = index + 1, 0
    if first < len(extract.entries):
        runs.append(range(first, len(extract.entries)))
    return runs


def _decided(
    setting: Setting,
    number: int,
    found: Sequence[Candidate | ItemVerdict],
    held: tuple[dict[ItemName, Standing], datetime],
) -> Run:
    standings, now = held
    run = Run(number=number, verdicts=[], rendered=[], hidden=[], withdrawn=[], released=[])
    for one in found:
        if isinstance(one, ItemVerdict):
            run.verdicts.append(one)
        elif one.is_hidden:
            run.verdicts.append(_decide_hidden(setting, one, standings[one.name], (run, now)))
        else:
            run.verdicts.append(_decide_served(setting, one, standings[one.name], (run, now)))
    return run


def _decide_served(
    setting: Setting, candidate: Candidate, standing: Standing, into: tuple[Run, datetime]
) -> ItemVerdict:
    run, now = into
    current = standing.in_feed
    if current is not None and (
        current.state == feed.ERASED
        or (current.state == feed.LIVE and current.head.content_hash == candidate.content_hash)
    ):
        return prepare.verdict_of(candidate, "unchanged", current.version)
    rendered = prepare.render(candidate, setting, current.version if current else 0, now)
    run.rendered.append(rendered)
    if standing.hidden_version:
        run.released.append(candidate.name)
    return prepare.verdict_of(candidate, "changed" if current else "new", rendered.version)


def _decide_hidden(
    setting: Setting, candidate: Candidate, standing: Standing, into: tuple[Run, datetime]
) -> ItemVerdict:
    """What the source hides is kept apart from the feed; its sender's report counts it like the rest."""
    run, now = into
    if standing.in_feed is not None and standing.in_feed.state == feed.LIVE:
        run.withdrawn.append(candidate.name)
    elif standing.hidden_version and standing.hidden_hash == candidate.content_hash:
        return prepare.verdict_of(candidate, "unchanged", standing.hidden_version)
    rendered = prepare.render(candidate, setting, standing.hidden_version, now)
    run.hidden.append(rendered)
    return prepare.verdict_of(candidate, "changed" if standing.hidden_version else "new", rendered.version)


def _standings(
    session: ReadSession, candidates: Sequence[Candidate], held_back: frozenset[ItemName]
) -> tuple[dict[ItemName, Standing], datetime]:
    keys = {one.name: session.sealer.item_key(*one.name) for one in candidates}
    currents = feed.currents(session, list(keys.values()))
    standings = {
        name: _hidden_standing(session, key, currents.get(key))
        if name in held_back
        else Standing(currents.get(key))
        for name, key in keys.items()
    }
    return standings, session.now


def _hidden_standing(session: ReadSession, item_key: bytes, current: feed.Current | None) -> Standing:
    hidden = feed.hidden(session, item_key)
    if hidden is None:
        return Standing(current)
    head, body = hidden
    return Standing(current, body.version, head.content_hash)


async def _known_names(storage: Storage, whose: Whose, extract: Extract) -> dict[str, ItemName]:
    unresolved = sorted(extract.unresolved)
    known: dict[str, ItemName] = {}
    for start in range(0, len(unresolved), NAMES_PER_READ):
        some = unresolved[start : start + NAMES_PER_READ]

        def look_up(session: ReadSession, some: Sequence[str] = some) -> dict[str, ItemName]:
            found = {text: store.source_name(session, whose.organisation, text) for text in some}
            return {text: name for text, name in found.items() if name is not None}

        known |= await storage.read(whose.record_id, look_up)
        await asyncio.sleep(0)
    return known


async def _living(storage: Storage, whose: Whose, names: Sequence[ItemName]) -> frozenset[ItemName]:
    """Those of these items that stand in the feed."""
    living: set[ItemName] = set()
    for start in range(0, len(names), NAMES_PER_READ):
        some = names[start : start + NAMES_PER_READ]

        def look_up(session: ReadSession, some: Sequence[ItemName] = some) -> set[ItemName]:
            keys = {session.sealer.item_key(*name): name for name in some}
            found = feed.currents(session, list(keys))
            return {keys[key] for key, current in found.items() if current.state == feed.LIVE}

        living |= await storage.read(whose.record_id, look_up)
        await asyncio.sleep(0)
    return frozenset(living)


def _sealer(session: ReadSession) -> Sealer:
    return session.sealer
