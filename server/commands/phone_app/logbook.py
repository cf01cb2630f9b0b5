"""`held phone log|verify`: who looked, from entries that were checked against the signed chain."""

import argparse
import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.online import look_at_log
from server.commands.phone_app.opened import opened
from server.commands.phone_app.refusals import DONE, WRONG
from server.commands.phone_app.words import clock_time, counted, one_line
from sync.kept import LogPin
from sync.log_verifier import Claim, Fault, Mark, leaf_of, start_of, verify
from sync.signed_note import NoteKey, NoteRefused, open_checkpoint


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of an entry, and what proves it."""

    n: int
    at: str
    sentence: str
    sealed: str
    hash: str
    root: str


_LINE = msgspec.json.Decoder(LogLine)


async def log_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Who looked, newest last."""
    await _look_at_the_newest(folder)
    with opened(folder) as phone:
        entries = phone.engine.log_entries()
        alarm, now = phone.engine.status().log_alarm, phone.now
    for raw in entries[-arguments.last :] if arguments.last > 0 else ():
        line = _LINE.decode(raw)
        at = clock_time(_instant(line.at), now, now.tzinfo)
        print(f"{line.n:>5}  {at}  {one_line(line.sentence, longest=600)}")
    if not entries:
        print("Nothing of the log is on this phone yet.")
    if alarm:
        print(f"THE ACCESS LOG IS NOT AS IT WAS: {one_line(alarm)}")
    return WRONG if alarm else DONE


async def verify_(folder: PhoneFolder, _arguments: argparse.Namespace) -> int:
    """Checks every entry on the phone again, from the first to the pinned checkpoint."""
    await _look_at_the_newest(folder)
    with opened(folder) as phone:
        entries, pin = phone.engine.log_entries(), phone.engine.pin()
        alarm = phone.engine.status().log_alarm
    if pin is None:
        print("No part of the log has been checked yet. Sync first.")
        return WRONG
    wrong = alarm or fault_in(entries, pin)
    if wrong:
        print(f"THE ACCESS LOG IS NOT AS IT WAS: {one_line(wrong)}")
        return WRONG
    print(f"{counted(pin.size, 'entry', 'entries')}: each follows from the one before.")
    print("The end is signed by the key this phone has known from the beginning.")
    return DONE


async def _look_at_the_newest(folder: PhoneFolder) -> None:
    """Fetches and checks what was logged since, when there is a connection; says so when there is none."""
    report = await look_at_log(folder)
    if report.trouble in {"no-answer", "sign-in"}:
        print("There is no connection. This is the log as this phone last checked it.")


def fault_in(entries: Sequence[bytes], pin: LogPin) -> str:
    """What is wrong with the kept entries, in a sentence; empty when nothing is."""
    try:
        signed = open_checkpoint(pin.note, NoteKey.from_text(pin.key))
    except NoteRefused:
        return "The pinned checkpoint is not signed by the key this phone knows."
    pinned = (pin.size, pin.root, pin.log_id)
    if (signed.size, signed.root.hex(), signed.origin.rpartition("/")[2]) != pinned:
        return "The pinned checkpoint is not the one that was signed."
    try:
        marks = [_mark(raw) for raw in entries]
    except (msgspec.MsgspecError, binascii.Error, ValueError) as broken:
        return f"An entry cannot be read: {broken}"
    claim = Claim(pin.size, signed.root, "checkpoint")
    found: Any = verify(start_of(bytes.fromhex(pin.log_id)), marks, [claim])
    return found.sentence if isinstance(found, Fault) else ""


def _mark(raw: bytes) -> Mark:
    line = _LINE.decode(raw)
    sealed = base64.urlsafe_b64decode(line.sealed + "=" * (-len(line.sealed) % 4))
    return Mark(line.n, leaf_of(sealed), base64.b64decode(line.hash), base64.b64decode(line.root))


def _instant(said: str) -> datetime:
    return datetime.fromisoformat(said)
