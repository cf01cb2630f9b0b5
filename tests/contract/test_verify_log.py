"""`held verify-log` against databases that somebody altered behind the server's back."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.audit import service
from server.audit.signer import LogSigner, create_log_key
from server.audit.wire import checkpoint_answer
from server.cli import main
from server.commands.verify_log import read_checkpoint_files, verify_logs
from server.storage.engine import Storage
from server.storage.keys import KeyFile
from sync.log_verifier import first_root, leaf_of, next_root
from sync.signed_note import Checkpoint, NoteRefused
from tests.contract.logs import SIGNER, reading, record_with_log
from tests.postgres_server import PostgresServer
from tests.storages import new_keys, sqlite_storage, sqlite_url

Alter = Callable[[str], Awaitable[None]]


class Altered:
    """A database in use and a way to alter it that asks nobody."""

    def __init__(self, storage: Storage, run: Alter, *, bytes_from: str) -> None:
        self.storage = storage
        self.run = run
        self.bytes_from = bytes_from


@pytest_asyncio.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def altered(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Altered]:
    if request.param == "sqlite":
        async with sqlite_storage(tmp_path) as storage:
            yield Altered(storage, partial(alter_sqlite, tmp_path / "held.db"), bytes_from="x'")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    database = await server.fresh_database()
    storage = await Storage.open(database.app_url, new_keys(tmp_path))
    yield Altered(storage, partial(alter_postgres, database.superuser_url), bytes_from="'\\x")
    await storage.close()
    await server.drop(database)


async def alter_sqlite(path: Path, statements: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.executescript(statements)
    connection.close()


async def alter_postgres(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statements)
    await connection.close()


# Numbers go below zero on the way, since a key may not be there twice even for a moment.
_SHIFT_DOWN = "UPDATE log_entry SET n = -n WHERE n > 4; UPDATE log_entry SET n = -n - 1 WHERE n < 0;"
_SHIFT_UP = "UPDATE log_entry SET n = -n WHERE n > 3; UPDATE log_entry SET n = 1 - n WHERE n < 0;"
_SWAP = (
    "UPDATE log_entry SET n = -3 WHERE n = 3; UPDATE log_entry SET n = 3 WHERE n = 6;"
    "UPDATE log_entry SET n = 6 WHERE n = -3;"
)
_COPY = (
    "INSERT INTO log_entry (record_id, n, sealed, leaf, root, grant_key)"
    " SELECT record_id, {to}, sealed, leaf, root, grant_key FROM log_entry WHERE n = {n};"
)

_CHANGED = "{} was changed after it was written."
_INSERTED = "{} was put in afterwards."
_MISFILED = "Entry {} is filed under a grant it does not tell of."
_UNFIT_HEAD = "One of the entries 1 to {} or the log's head was changed: they do not fit."
ALTERATIONS = {
    "UPDATE log_entry SET sealed = leaf WHERE n = 5;": _CHANGED.format("Entry 5"),
    "UPDATE log_entry SET leaf = root WHERE n = 5;": _CHANGED.format("Entry 5"),
    "UPDATE log_entry SET root = leaf WHERE n = 5;": _CHANGED.format("Entry 5"),
    "DELETE FROM log_entry WHERE n = 4;": "Entry 4 was removed.",
    f"DELETE FROM log_entry WHERE n = 4; {_SHIFT_DOWN}": "Entry 4 was removed.",
    f"{_SHIFT_UP} {_COPY.format(to=4, n=2)}": _INSERTED.format("Entry 4"),
    _COPY.format(to=0, n=2): _INSERTED.format("Entry 1"),
    _COPY.format(to=9, n=8): _INSERTED.format("Entry 9"),
    _SWAP: "Entry 3 is not the one that was written in this place.",
    "DELETE FROM log_entry WHERE n > 6;": "The log ends at 6, its own head says 8.",
    "UPDATE log_head SET size = 7;": _UNFIT_HEAD.format(7),
    "UPDATE log_head SET root = log_id;": _UNFIT_HEAD.format(8),
    "UPDATE log_head SET log_id = root;": _CHANGED.format("Entry 1"),
    "UPDATE log_entry SET grant_key = leaf WHERE n = 7": _MISFILED.format(7),
    "DELETE FROM log_head;": "The record has no log.",
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
async def test_the_first_wrong_entry_is_named(
    altered: Altered, alteration: str, capsys: pytest.CaptureFixture[str]
):
    record_id = await record_with_log(altered.storage, 7)
    await service.append(altered.storage, record_id, reading(uuid4()))
    assert await verify_logs(altered.storage, SIGNER) == 0
    await altered.run(alteration)
    assert await verify_logs(altered.storage, SIGNER) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"Record {record_id}: {ALTERATIONS[alteration]}"
    assert lines[2].endswith(": 1 wrong.")
    assert len(lines) == 3


async def test_each_log_that_is_wrong_is_named_once(altered: Altered, capsys: pytest.CaptureFixture[str]):
    records = [await record_with_log(altered.storage, 2) for _ in range(3)]
    await altered.run("DELETE FROM log_entry WHERE n = 1;")
    assert await verify_logs(altered.storage, SIGNER) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [f"Record {record_id}: Entry 1 was removed." for record_id in sorted(records)]
    assert lines[-1] == "Checked 3 logs with 3 entries: 3 wrong."
    assert await verify_logs(altered.storage, SIGNER, only=records[:1]) == 1


async def test_a_record_that_is_not_there_is_an_alarm(altered: Altered, capsys: pytest.CaptureFixture[str]):
    assert await verify_logs(altered.storage, SIGNER, only=[uuid4()]) == 1
    assert "There is no such record" in capsys.readouterr().out


async def test_a_forged_checkpoint_beside_the_log_is_found(
    altered: Altered, capsys: pytest.CaptureFixture[str]
):
    record_id = await record_with_log(altered.storage, 3)
    forger = LogSigner(SIGNER.name, Ed25519PrivateKey.generate())
    await service.checkpoint(altered.storage, record_id, forger)
    assert await verify_logs(altered.storage, SIGNER) == 1
    assert "is not one we signed" in capsys.readouterr().out


async def test_a_checkpoint_signed_under_an_earlier_address_still_counts(altered: Altered):
    record_id = await record_with_log(altered.storage, 3)
    await service.checkpoint(altered.storage, record_id, SIGNER)
    moved = LogSigner("new.example.org/log", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    assert await verify_logs(altered.storage, moved) == 0
    again = await service.checkpoint(altered.storage, record_id, moved)
    assert again.checkpoint.origin.startswith("new.example.org/log/")


async def checkpoint_file(storage: Storage, record_id: UUID, path: Path) -> Path:
    answer = checkpoint_answer(await service.checkpoint(storage, record_id, SIGNER), SIGNER)
    path.write_bytes(msgspec.json.encode(answer))
    return path


async def test_a_checkpoint_kept_elsewhere_finds_what_was_cut_off(
    altered: Altered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    record_id = await record_with_log(altered.storage, 57)
    kept = await checkpoint_file(altered.storage, record_id, tmp_path / "checkpoint.json")
    cut = "DELETE FROM log_entry WHERE n > 41; UPDATE log_head SET size = 41, note = NULL, root = {root};"
    await altered.run(cut.format(root="(SELECT root FROM log_entry WHERE n = 41)"))
    assert await verify_logs(altered.storage, SIGNER) == 0
    checkpoints = read_checkpoint_files([kept], SIGNER)
    assert await verify_logs(altered.storage, SIGNER, checkpoints=checkpoints) == 1
    assert "it ends at 41, the checkpoint says 57." in capsys.readouterr().out


async def test_the_checkpoint_beside_the_log_finds_what_was_cut_off_without_it(
    altered: Altered, capsys: pytest.CaptureFixture[str]
):
    record_id = await record_with_log(altered.storage, 57)
    await service.checkpoint(altered.storage, record_id, SIGNER)
    cut = "DELETE FROM log_entry WHERE n > 41; UPDATE log_head SET size = 41, root = {root};"
    await altered.run(cut.format(root="(SELECT root FROM log_entry WHERE n = 41)"))
    assert await verify_logs(altered.storage, SIGNER) == 1
    assert "The log ends at 41, its last signed checkpoint says 57." in capsys.readouterr().out


async def test_an_older_copy_put_back_is_found_even_when_it_has_grown_past_the_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    async with sqlite_storage(tmp_path) as storage:
        record_id = await record_with_log(storage, 5)
    shutil.copyfile(tmp_path / "held.db", tmp_path / "older.db")
    url, keys = f"sqlite:///{tmp_path}/held.db", new_keys(tmp_path)
    storage = await Storage.open(url, keys)
    for _ in range(3):
        await service.append(storage, record_id, reading())
    kept = await checkpoint_file(storage, record_id, tmp_path / "checkpoint.json")
    await storage.close()
    for leftover in tmp_path.glob("held.db*"):
        leftover.unlink()
    shutil.copyfile(tmp_path / "older.db", tmp_path / "held.db")
    storage = await Storage.open(url, keys)
    checkpoints = read_checkpoint_files([kept], SIGNER)
    assert await verify_logs(storage, SIGNER, checkpoints=checkpoints) == 1
    assert "it ends at 5, the checkpoint says 8." in capsys.readouterr().out
    for _ in range(6):
        await service.append(storage, record_id, reading())
    assert await verify_logs(storage, SIGNER) == 0
    assert await verify_logs(storage, SIGNER, checkpoints=checkpoints) == 1
    expected = "One of the entries 1 to 8 was rewritten after a checkpoint was signed."
    assert expected in capsys.readouterr().out
    await storage.close()


async def test_a_log_replaced_by_a_new_one_is_missed(
    altered: Altered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    record_id = await record_with_log(altered.storage, 5)
    kept = await checkpoint_file(altered.storage, record_id, tmp_path / "checkpoint.json")
    await altered.run("DELETE FROM log_entry; DELETE FROM log_head;")
    fresh = os.urandom(32)
    await altered.storage.write(record_id, lambda session: session.hot.open_log(fresh, first_root(fresh)))
    await service.append(altered.storage, record_id, reading())
    assert await verify_logs(altered.storage, SIGNER) == 0
    checkpoints = read_checkpoint_files([kept], SIGNER)
    assert await verify_logs(altered.storage, SIGNER, checkpoints=checkpoints) == 1
    assert "with 5 entries is not here." in capsys.readouterr().out


async def test_a_thief_who_recomputes_the_whole_chain_is_found_by_the_seals(
    altered: Altered, capsys: pytest.CaptureFixture[str]
):
    """Without the record's key nobody can write an entry, nor move one to another place."""
    record_id = await record_with_log(altered.storage, 6)
    page = await service.entries(altered.storage, record_id, 0, 10)
    root, statements = page.entries[1].root, ["DELETE FROM log_entry WHERE n = 3;"]
    for one in page.entries[3:]:
        root = next_root(root, leaf_of(one.sealed))
        statements.append(
            f"UPDATE log_entry SET n = {one.n - 1}, root = {{0}}{root.hex()}' WHERE n = {one.n};"
        )
    statements.append(f"UPDATE log_head SET size = 5, root = {{0}}{root.hex()}';")
    await altered.run("".join(statements).format(altered.bytes_from))
    assert await verify_logs(altered.storage, SIGNER) == 1
    assert f"Record {record_id}: Entry 3 was removed." in capsys.readouterr().out


async def test_saved_checkpoints_are_read_again(altered: Altered, tmp_path: Path):
    path = tmp_path / "kept.json"
    for count in (1, 2):
        await record_with_log(altered.storage, 3)
        assert await verify_logs(altered.storage, SIGNER, save_to=path) == 0
        checkpoints = read_checkpoint_files([path], SIGNER)
        assert [checkpoint.size for checkpoint in checkpoints] == [3] * count
        assert await verify_logs(altered.storage, SIGNER, checkpoints=checkpoints) == 0


async def test_no_checkpoint_is_saved_of_a_log_that_is_wrong(altered: Altered, tmp_path: Path):
    await record_with_log(altered.storage, 3)
    await altered.run("DELETE FROM log_entry WHERE n = 2;")
    assert await verify_logs(altered.storage, SIGNER, save_to=tmp_path / "kept.json") == 1
    assert not (tmp_path / "kept.json").exists()


def test_a_bare_note_is_read_as_a_checkpoint(tmp_path: Path):
    note = SIGNER.sign(b"l" * 32, 3, b"r" * 32, at=datetime(2026, 11, 22, tzinfo=UTC))
    (tmp_path / "note.txt").write_text(note)
    (checkpoint,) = read_checkpoint_files([tmp_path / "note.txt"], SIGNER)
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.size, checkpoint.root) == (3, b"r" * 32)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"note":"text"}', b"\xff\xfe", b"{", b"note\n\n"])
def test_a_file_without_a_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "kept.json"
    path.write_bytes(content)
    with pytest.raises(NoteRefused, match=r"kept\.json"):
        read_checkpoint_files([path], SIGNER)
    with pytest.raises(NoteRefused, match="other"):
        read_checkpoint_files([tmp_path / "other"], SIGNER)


def test_the_command_itself_finds_what_sqlite3_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    record_id = asyncio.run(_installation(tmp_path))
    for name, value in _environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    kept = tmp_path / "kept.json"
    assert main(["verify-log", "--save-checkpoint", str(kept)]) == 0
    assert capsys.readouterr().out == "Checked 1 logs with 9 entries: nothing wrong.\n"
    with sqlite3.connect(tmp_path / "held.db") as connection:
        connection.execute("UPDATE log_entry SET sealed = zeroblob(80) WHERE n = 4")
    connection.close()
    expected = f"Record {record_id}: Entry 4 was changed after it was written.\n"
    for options in ((), ("--record", str(record_id)), ("--checkpoint", str(kept))):
        assert main(["verify-log", *options]) == 1
        assert capsys.readouterr().out.startswith(expected)
    assert main(["verify-log", "--checkpoint", str(tmp_path / "held.db")]) == 2
    assert "held.db: This is neither" in capsys.readouterr().err
    command = [sys.executable, "-m", "server.cli", "verify-log"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith(expected)


def test_the_command_says_why_it_could_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in _environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("There is no log key", lambda: create_log_key(tmp_path / "log.pem")),
        ("There is no key file", lambda: KeyFile.create(tmp_path / "root.key")),
        ("There is no database yet", (tmp_path / "held.db").touch),
        ("The database is not up to date", lambda: monkeypatch.setenv("HELD_MODE", "no such mode")),
        ("HELD_MODE", lambda: None),
    ]
    for expected, mend in steps:
        assert main(["verify-log"]) == 2
        assert expected in capsys.readouterr().err
        mend()


async def _installation(folder: Path) -> UUID:
    create_log_key(folder / "log.pem")
    await sqlite_url(folder)
    storage = await Storage.open(f"sqlite:///{folder}/held.db", KeyFile.create(folder / "root.key"))
    record_id = await record_with_log(storage, 9)
    await storage.close()
    return record_id


def _environment(folder: Path) -> dict[str, str]:
    return {
        "HELD_MODE": "development",
        "HELD_DATA_DIR": str(folder),
        "HELD_KEY_FILE": str(folder / "root.key"),
        "HELD_LOG_KEY_FILE": str(folder / "log.pem"),
    }
