import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.signed_note import (
    Checkpoint,
    NoteKey,
    NoteRefused,
    open_checkpoint,
    open_note,
    peek_checkpoint,
    sign_checkpoint,
    sign_note,
    signers_of,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
NAME = "held.example.org/log"
PUBLIC = NoteKey(NAME, KEY.public_key())
CHECKPOINT = Checkpoint(
    origin=f"{NAME}/00ff", size=57, root=b"r" * 32, extensions=("at 2026-11-22T09:00:00Z",)
)


def test_a_signed_checkpoint_opens_to_itself():
    note = sign_checkpoint(CHECKPOINT, NAME, KEY)
    assert open_checkpoint(note, PUBLIC) == CHECKPOINT
    assert peek_checkpoint(note) == CHECKPOINT
    assert signers_of(note) == (NAME,)


def test_a_checkpoint_reads_as_the_standard_says():
    lines = sign_checkpoint(CHECKPOINT, NAME, KEY).split("\n")
    root = base64.b64encode(b"r" * 32).decode()
    assert lines[:5] == [f"{NAME}/00ff", "57", root, "at 2026-11-22T09:00:00Z", ""]
    assert lines[5].startswith(f"— {NAME} ")
    raw = base64.b64decode(lines[5].split(" ")[2])
    assert (raw[:4], len(raw)) == (PUBLIC.key_id, 68)
    assert lines[6:] == [""]


def test_a_published_note_opens():
    """The example of golang.org/x/mod/sumdb/note, made by another program."""
    key = NoteKey.from_text("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    assert open_note(f"{text}\n— PeterNeumann {signature}\n", key) == text


def test_a_key_reads_back_from_its_text():
    assert NoteKey.from_text(PUBLIC.to_text()).to_text() == PUBLIC.to_text()


@pytest.mark.parametrize(
    "text",
    ["", "name", "na me+00+AA==", PUBLIC.to_text()[:-4], PUBLIC.to_text().replace("/log+", "/lag+")],
)
def test_a_broken_key_text_is_refused(text: str):
    with pytest.raises(NoteRefused):
        NoteKey.from_text(text)


def test_every_changed_byte_of_a_note_is_refused():
    note = sign_checkpoint(CHECKPOINT, NAME, KEY)
    for index, character in enumerate(note):
        for other in {"A", "1", "\n", " ", chr(ord(character) ^ 1)} - {character}:
            with pytest.raises(NoteRefused):
                open_checkpoint(note[:index] + other + note[index + 1 :], PUBLIC)


def test_another_key_of_the_same_name_is_refused():
    with pytest.raises(NoteRefused):
        open_checkpoint(sign_checkpoint(CHECKPOINT, NAME, OTHER), PUBLIC)


def test_a_witness_beside_our_signature_is_ignored():
    note = sign_checkpoint(CHECKPOINT, NAME, KEY)
    witness = sign_checkpoint(CHECKPOINT, "witness.example", OTHER).rpartition("\n\n")[2]
    assert open_checkpoint(note + witness, PUBLIC) == CHECKPOINT
    assert open_checkpoint(note.replace("\n\n", "\n\n" + witness), PUBLIC) == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "origin\n57\n",
        "origin\n057\nAAAA\n",
        "origin\n-1\n" + base64.b64encode(b"r" * 32).decode() + "\n",
        "origin\n٣\n" + base64.b64encode(b"r" * 32).decode() + "\n",
        "origin\n" + "9" * 19 + "\n" + base64.b64encode(b"r" * 32).decode() + "\n",
        "origin\n57\nAAAA\n",
        "origin\n57\nnot base64\n",
        "\n57\n" + base64.b64encode(b"r" * 32).decode() + "\n",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str):
    with pytest.raises(NoteRefused):
        open_checkpoint(sign_note(text, NAME, KEY), PUBLIC)


@pytest.mark.parametrize("text", ["no newline", "a\tb\n", "nul\0\n", "lone \ud800\n"])
def test_text_a_note_cannot_hold_is_refused(text: str):
    with pytest.raises(NoteRefused):
        sign_note(text, NAME, KEY)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "new\nline"])
def test_a_name_a_note_cannot_hold_is_refused(name: str):
    with pytest.raises(NoteRefused):
        sign_note("text\n", name, KEY)


@pytest.mark.parametrize(
    "note", ["", "\n", "\n\n", "text\n\n", "text\n\n— \n", "x" * 9_000, "text\n\n— a AAAA\n"]
)
def test_what_is_no_note_is_refused(note: str):
    with pytest.raises(NoteRefused):
        open_note(note, PUBLIC)
