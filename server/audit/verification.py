"""Checks the logs of this database: chain, seals, stored checkpoint, and checkpoints kept elsewhere."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import msgspec

from server.audit import store
from server.audit.entry import LogEntry, grant_key, open_entry
from server.audit.signer import LogSigner, log_id_of
from server.storage.engine import Snapshot, Storage
from server.storage.sealing import SealBroken, Sealer
from server.storage.session import ReadSession, RecordUnknown
from sync.log_verifier import Claim, Fault, Mark, leaf_of, opens_as, start_of, verify
from sync.signed_note import Checkpoint, NoteRefused

_PAGE_ROWS = 500
# An entry put in at a number below 1 must be met too.
_BEFORE_EVERYTHING = -(2**62)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `sentence` names the first wrong entry; None when the log is as it was written."""

    log_id: bytes = b""
    size: int = 0
    sentence: str | None = None


class _Gathered(msgspec.Struct, frozen=True):
    """A log as stored. `misfiled` is the first entry that is filed under a grant it does not tell of."""

    head: store.StoredHead
    marks: list[Mark]
    misfiled: int | None


async def verify_record(
    storage: Storage, record_id: UUID, signer: LogSigner, checkpoints: Sequence[Checkpoint] = ()
) -> Verdict:
    """The verdict on one record's log. Checkpoints of other logs are left aside."""
    try:
        async with storage.snapshot(record_id) as snapshot:
            gathered = await _gather(snapshot)
    except RecordUnknown:
        return Verdict(sentence="There is no such record, so its log could not be checked.")
    except SealBroken as broken:
        return Verdict(sentence=f"The record's key cannot be had, so its log could not be checked: {broken}")
    if gathered is None:
        return Verdict(sentence="The record has no log.")
    return _judge(gathered, signer, checkpoints)


def _judge(gathered: _Gathered, signer: LogSigner, checkpoints: Sequence[Checkpoint]) -> Verdict:
    head = gathered.head
    kept = _kept_claim(head, signer)
    claims = [
        Claim(head.size, head.root, "head"),
        *([kept] if isinstance(kept, Claim) else []),
        *(_claim(checkpoint) for checkpoint in checkpoints if log_id_of(checkpoint) == head.log_id),
    ]
    verified = verify(start_of(head.log_id), gathered.marks, claims)
    fault = verified if isinstance(verified, Fault) else None
    sentence = _first(fault, gathered.misfiled) or (kept if isinstance(kept, str) else None)
    return Verdict(log_id=head.log_id, size=len(gathered.marks), sentence=sentence)


def _claim(checkpoint: Checkpoint) -> Claim:
    return Claim(checkpoint.size, checkpoint.root, "checkpoint")


def _first(fault: Fault | None, misfiled: int | None) -> str | None:
    if misfiled is not None and (fault is None or misfiled < fault.n):
        return f"Entry {misfiled} is filed under a grant it does not tell of."
    return fault.sentence if fault else None


def _kept_claim(head: store.StoredHead, signer: LogSigner) -> Claim | str | None:
    """The checkpoint kept beside the log as a claim, or a sentence on what is wrong with it."""
    if head.note is None:
        return None
    try:
        kept = signer.recognise(head.note)
        log_id = log_id_of(kept)
    except NoteRefused as refused:
        return f"The checkpoint kept beside the log is not one we signed: {refused}"
    if log_id != head.log_id:
        return "The checkpoint kept beside the log is of another log."
    return Claim(kept.size, kept.root, "note")


async def _gather(snapshot: Snapshot) -> _Gathered | None:
    """The whole log, page by page; entries are opened and let go, so that only their marks stay in memory."""
    head = await snapshot.run(store.read_head)
    if head is None:
        return None
    marks: list[Mark] = []
    misfiled: int | None = None
    after = _BEFORE_EVERYTHING
    while page := await snapshot.run(partial(_marked_page, after=after)):
        after = page[-1][0].n
        marks += [mark for mark, _ in page]
        if misfiled is None:
            misfiled = next((mark.n for mark, is_filed in page if not is_filed), None)
    return _Gathered(head, marks, misfiled)


def _marked_page(session: ReadSession, after: int) -> list[tuple[Mark, bool]]:
    return [_marked(session.sealer, row) for row in store.read_entries(session, after, _PAGE_ROWS)]


def _marked(sealer: Sealer, row: store.StoredEntry) -> tuple[Mark, bool]:
    """The entry's mark, and whether it stands under the grant it tells of."""
    opened = _opened(sealer, row.n, row.sealed)
    number = row.n if opened else opens_as(row.n, lambda n: _opened(sealer, n, row.sealed) is not None)
    mark = Mark(row.n, leaf_of(row.sealed), row.leaf, row.root, opens_as=number, was_tried=True)
    found_by = grant_key(sealer, opened.grant_id) if opened and opened.grant_id else None
    return mark, opened is None or found_by == row.grant_key


def _opened(sealer: Sealer, n: int, sealed: bytes) -> LogEntry | None:
    if n < 0:
        return None
    try:
        return open_entry(sealer, n, sealed)
    except SealBroken:
        return None
