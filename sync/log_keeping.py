"""The access log on the phone: every entry since the pinned checkpoint is checked, and only then believed.

The key that signs checkpoints is pinned when the phone first sees one. From then on the log may only grow.
"""

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from sync.calls import Calls
from sync.kept import LogPin, keep, keep_text, pin_of, place_key
from sync.log_verifier import Claim, Fault, Mark, Pin, judge_claim, leaf_of, start_of, verify
from sync.ports import NoAnswer, Storage, Transaction
from sync.signed_note import Checkpoint, NoteKey, NoteRefused, open_checkpoint

PAGES_MAX = 10_000
_AT = "at "


class LogAlarm(Exception):
    """The access log was tampered with, or is not the one this phone knows."""


class _Signed(msgspec.Struct, frozen=True):
    note: str
    key: str


class _Opener(msgspec.Struct, frozen=True):
    key: str = ""


class _Entry(msgspec.Struct, frozen=True):
    n: int
    sealed: str
    hash: str
    root: str


class _LogPage(msgspec.Struct, frozen=True):
    entries: list[msgspec.Raw]
    more: bool
    checkpoint: _Signed
    opens_with: _Opener = _Opener()


async def check_log(storage: Storage, calls: Calls, note: str | None) -> None:
    """Fetches and checks what was logged since the pin, and pins where it now ends.

    `note` is the checkpoint the server sent with the changes, None when it sent none. LogAlarm when anything
    is wrong; nothing is pinned then.
    """
    with storage.transaction() as tx:
        kept = pin_of(tx)
    if kept is not None and (note is None or note == kept.note):
        return
    if kept is not None and note is not None:
        said = _open(note, kept.key)
        if said.size == kept.size and said.root.hex() == kept.root:
            with storage.transaction() as tx:
                keep(tx, "pin", msgspec.structs.replace(kept, note=note))
            return
    fetched = await _fetch_since(calls, kept)
    known = kept or LogPin(
        key=fetched.key, log_id="", size=0, root="", note="", opens_with=fetched.opens_with
    )
    notes = ([note] if note else []) + fetched.notes
    checkpoints = [_open(one, known.key) for one in notes]
    newest = max(range(len(notes)), key=lambda place: checkpoints[place].size)
    size = checkpoints[newest].size
    verified = _verified(_pin(kept, checkpoints[newest]), fetched.entries, checkpoints, size)
    pin = msgspec.structs.replace(
        known,
        log_id=verified.log_id.hex(),
        size=verified.size,
        root=verified.root.hex(),
        note=notes[newest],
    )
    with storage.transaction() as tx:
        _keep_entries(tx, fetched.entries, size)
        keep(tx, "pin", pin)
        keep_text(tx, "alarm", None)


class _Fetched(msgspec.Struct):
    """The entries after the pin, the checkpoints that came with them, and the keys the server gives."""

    entries: list[msgspec.Raw] = []
    notes: list[str] = []
    key: str = ""
    opens_with: str = ""


async def _fetch_since(calls: Calls, kept: LogPin | None) -> _Fetched:
    after = kept.size if kept is not None else 0
    fetched = _Fetched()
    for _ in range(PAGES_MAX):
        page = _read(await calls.log_page(after + len(fetched.entries)))
        fetched.entries += page.entries
        fetched.notes.append(page.checkpoint.note)
        if not page.more or not page.entries:
            fetched.key, fetched.opens_with = page.checkpoint.key, page.opens_with.key
            return fetched
    raise LogAlarm("The access log does not end.")


def _verified(pin: Pin, entries: list[msgspec.Raw], checkpoints: list[Checkpoint], size: int) -> Pin:
    """The pin after these entries; LogAlarm for the first thing that is wrong."""
    claims = [Claim(checkpoint.size, checkpoint.root, "checkpoint") for checkpoint in checkpoints]
    faults = (judge_claim(pin, claim) for claim in claims)
    fault = next((fault for fault in faults if fault is not None), None)
    marks = [_mark(entry) for entry in entries]
    verified = fault or verify(pin, [mark for mark in marks if mark.n <= size], claims)
    if isinstance(verified, Fault):
        raise LogAlarm(verified.sentence)
    return verified


def _pin(kept: LogPin | None, checkpoint: Checkpoint) -> Pin:
    said = checkpoint.origin.rpartition("/")[2]
    if kept is None:
        return start_of(_from_hex(said))
    if said != kept.log_id:
        raise LogAlarm("The server shows another access log than the one this phone knows.")
    return Pin(_from_hex(kept.log_id), kept.size, _from_hex(kept.root))


def is_older(pin: LogPin, than: datetime) -> bool:
    """True when the pinned checkpoint says that it was signed before this instant."""
    said = next((line[len(_AT) :] for line in pin.note.splitlines() if line.startswith(_AT)), "")
    try:
        return datetime.fromisoformat(said) < than
    except (ValueError, TypeError):
        return False


def _open(note: str, key: str) -> Checkpoint:
    try:
        return open_checkpoint(note, NoteKey.from_text(key))
    except NoteRefused as refused:
        raise LogAlarm("The access log's checkpoint is not signed by the key this phone knows.") from refused


def _mark(raw: msgspec.Raw) -> Mark:
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
        sealed = base64.urlsafe_b64decode(entry.sealed + "=" * (-len(entry.sealed) % 4))
        stated = base64.b64decode(entry.hash), base64.b64decode(entry.root)
    except (msgspec.MsgspecError, binascii.Error, ValueError) as broken:
        raise LogAlarm("An entry of the access log cannot be read.") from broken
    return Mark(entry.n, leaf_of(sealed), *stated)


def _keep_entries(tx: Transaction, entries: list[msgspec.Raw], size: int) -> None:
    for raw in entries:
        number: Any = msgspec.json.decode(raw, type=_Entry).n
        if number <= size:
            tx.put("log", place_key(number), bytes(raw))


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as broken:
        raise LogAlarm("The checkpoint does not say which access log it is of.") from broken


def _read(body: bytes) -> _LogPage:
    try:
        return msgspec.json.decode(body, type=_LogPage)
    except msgspec.MsgspecError as broken:
        raise NoAnswer("The answer cannot be read.") from broken
