"""`held verify-log`: recomputes every access log and names the first entry that is not as it was written."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from server.audit import service
from server.audit.signer import LogKeyUnusable, LogSigner, log_id_of
from server.audit.verification import Verdict, verify_record
from server.audit.wire import checkpoint_answer
from server.commands.problems import settings_or_none
from server.errors import Busy
from server.settings import Settings
from server.storage.backend import StorageUnsafe
from server.storage.directory_audit import record_ids
from server.storage.engine import Storage
from server.storage.keys import KeyFile, KeyUnusable
from server.storage.migrating import refuse_outdated
from server.storage.sqlite import database_path
from sync.signed_note import Checkpoint, NoteRefused

CHECKPOINT_FILE_BYTES_MAX = 64 * 1024 * 1024

GOOD, WRONG, UNUSABLE = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--record", action="append", type=UUID, default=[], metavar="ID", help="only this record"
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="an answer of GET .../log/checkpoint, or its note, kept elsewhere: also finds what was cut off",
    )
    parser.add_argument("--save-checkpoint", type=Path, metavar="FILE", help="write today's checkpoints here")


def run(arguments: argparse.Namespace) -> int:
    """0 when every log is as it was written, 1 when one is not, 2 when they could not be looked at."""
    settings = settings_or_none(os.environ)
    if settings is None:
        return UNUSABLE
    try:
        return asyncio.run(_carry_out(settings, arguments))
    except (LogKeyUnusable, KeyUnusable, NoteRefused, StorageUnsafe, Busy, OSError) as refused:
        print(f"The logs were not checked: {refused}", file=sys.stderr)
    except SQLAlchemyError as unreachable:
        print(f"The database cannot be reached ({type(unreachable).__name__}).", file=sys.stderr)
    return UNUSABLE


async def _carry_out(settings: Settings, arguments: argparse.Namespace) -> int:
    signer = LogSigner.open(settings.log_key_file, settings.base_url)
    keys = KeyFile.open(settings.key_file)
    checkpoints = read_checkpoint_files(arguments.checkpoint, signer)
    # SQLite would make the file that is not there, and an empty database has no log that is wrong.
    if settings.uses_sqlite and not database_path(settings.database_url).is_file():
        raise StorageUnsafe("There is no database yet. Run `held migrate`.")
    await refuse_outdated(settings.database_url)
    storage = await Storage.open(settings.database_url, keys)
    try:
        return await verify_logs(
            storage, signer, only=arguments.record, checkpoints=checkpoints, save_to=arguments.save_checkpoint
        )
    finally:
        await storage.close()


async def verify_logs(
    storage: Storage,
    signer: LogSigner,
    *,
    only: Sequence[UUID] = (),
    checkpoints: Sequence[Checkpoint] = (),
    save_to: Path | None = None,
) -> int:
    """Checks the logs and prints what was found; the exit status. Checkpoints are saved if all is well."""
    chosen = list(only) or await storage.look_up(record_ids)
    verdicts = {
        record_id: await verify_record(storage, record_id, signer, checkpoints) for record_id in chosen
    }
    wrong = [
        f"Record {record_id}: {found.sentence}" for record_id, found in verdicts.items() if found.sentence
    ]
    wrong += _unmatched(checkpoints, list(verdicts.values()))
    for sentence in wrong:
        print(sentence)
    entries = sum(found.size for found in verdicts.values())
    print(f"Checked {len(verdicts)} logs with {entries} entries: {len(wrong) or 'nothing'} wrong.")
    if wrong:
        return WRONG
    if save_to is not None:
        await _save(storage, signer, chosen, save_to)
    return GOOD


def read_checkpoint_files(paths: Sequence[Path], signer: LogSigner) -> list[Checkpoint]:
    """The checkpoints in these files; NoteRefused names the file that holds none we signed."""
    found: list[Checkpoint] = []
    for path in paths:
        try:
            found += [signer.recognise(note) for note in _notes(path)]
            _ = [log_id_of(checkpoint) for checkpoint in found]
        except (NoteRefused, OSError) as refused:
            raise NoteRefused(f"{path}: {refused}") from refused
    return found


class _Kept(msgspec.Struct, frozen=True):
    """As much of a saved answer as is needed: the note proves the rest."""

    note: str


_ANSWER = msgspec.json.Decoder(_Kept)
_ANSWERS = msgspec.json.Decoder(list[_Kept])


def _notes(path: Path) -> list[str]:
    """The notes in a file: an answer, a list of answers, or a bare note."""
    if path.stat().st_size > CHECKPOINT_FILE_BYTES_MAX:
        raise NoteRefused("The file is too large to be checkpoints.")
    content = path.read_bytes()
    try:
        if content.lstrip()[:1] in (b"{", b"["):
            is_list = content.lstrip().startswith(b"[")
            kept = _ANSWERS.decode(content) if is_list else [_ANSWER.decode(content)]
            return [one.note for one in kept]
        return [content.decode()]
    except (msgspec.DecodeError, UnicodeDecodeError) as broken:
        raise NoteRefused("This is neither a checkpoint's answer nor a note.") from broken


def _unmatched(checkpoints: Sequence[Checkpoint], verdicts: Sequence[Verdict]) -> list[str]:
    """A checkpoint whose log is not among those checked: it is gone, or another stands in its place."""
    known = {verdict.log_id for verdict in verdicts}
    return [
        f"The log of the checkpoint '{checkpoint.origin}' with {checkpoint.size} entries is not here."
        for checkpoint in checkpoints
        if log_id_of(checkpoint) not in known
    ]


async def _save(storage: Storage, signer: LogSigner, chosen: Sequence[UUID], path: Path) -> None:
    answers = [
        checkpoint_answer(await service.checkpoint(storage, record_id, signer), signer)
        for record_id in chosen
    ]
    content = msgspec.json.encode(answers[0] if len(answers) == 1 else answers)
    partial = path.with_name(f"{path.name}.new")
    partial.write_bytes(msgspec.json.format(content))
    partial.replace(path)
