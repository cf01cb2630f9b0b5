"""The demo's own check of a log finds every way in which one can be altered."""

import base64
import copy
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.commands.demo_steps.chain import check_chain, check_note
from server.commands.demo_steps.journey import NotAsPromised
from sync.signed_note import Checkpoint, NoteKey, sign_checkpoint

LOG_ID = b"\x07" * 32
KEY = Ed25519PrivateKey.generate()

Log = tuple[list[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def log() -> Log:
    root = hashlib.sha256(LOG_ID).digest()
    entries: list[dict[str, Any]] = []
    for n in range(1, 6):
        sealed = f"entry {n}".encode()
        leaf = hashlib.sha256(b"\x00" + sealed).digest()
        line = {"n": n, "prev": _text(root), "hash": _text(leaf), "sealed": _url_text(sealed)}
        root = hashlib.sha256(b"\x01" + root + leaf).digest()
        entries.append(line)
    checkpoint = Checkpoint(origin=f"held.test/log/{LOG_ID.hex()}", size=5, root=root, extensions=("at now",))
    answer = {
        "origin": checkpoint.origin,
        "size": 5,
        "root": _text(root),
        "note": sign_checkpoint(checkpoint, "held.test/log", KEY),
        "key": NoteKey("held.test/log", KEY.public_key()).to_text(),
    }
    return entries, answer


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _url_text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_log_as_it_was_written_passes(log: Log) -> None:
    check_chain(*log)
    check_note(log[1])


def edit(entries: list[dict[str, Any]]) -> None:
    entries[2]["sealed"] = _url_text(b"something else")


def delete(entries: list[dict[str, Any]]) -> None:
    del entries[2]


def reorder(entries: list[dict[str, Any]]) -> None:
    entries[1], entries[2] = entries[2], entries[1]


def insert(entries: list[dict[str, Any]]) -> None:
    entries.insert(2, dict(entries[2]))


def truncate(entries: list[dict[str, Any]]) -> None:
    del entries[-1]


def rehash(entries: list[dict[str, Any]]) -> None:
    sealed = b"another"
    entries[4] |= {"sealed": _url_text(sealed), "hash": _text(hashlib.sha256(b"\x00" + sealed).digest())}


@pytest.mark.parametrize("alter", [edit, delete, reorder, insert, truncate, rehash])
def test_an_altered_log_does_not_pass(log: Log, alter: Callable[[list[dict[str, Any]]], None]) -> None:
    entries, checkpoint = copy.deepcopy(log)
    alter(entries)
    with pytest.raises(NotAsPromised):
        check_chain(entries, checkpoint)


@pytest.mark.parametrize("name", ["origin", "size", "root"])
def test_a_checkpoint_that_says_more_than_its_note_does_not_pass(log: Log, name: str) -> None:
    checkpoint = {**log[1], name: "another"}
    with pytest.raises(NotAsPromised, match="something else"):
        check_note(checkpoint)


def test_a_checkpoint_signed_by_another_key_does_not_pass(log: Log) -> None:
    other = NoteKey("held.test/log", Ed25519PrivateKey.generate().public_key()).to_text()
    with pytest.raises(NotAsPromised, match="not signed"):
        check_note({**log[1], "key": other})
    name, key_id, _ = log[1]["key"].split("+", 2)
    mixed = f"{name}+{key_id}+{other.split('+', 2)[2]}"
    with pytest.raises(NotAsPromised):
        check_note({**log[1], "key": mixed})
