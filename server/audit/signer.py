"""The installation's name and key for signing checkpoints of access logs."""

import os
import stat
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sync.signed_note import Checkpoint, NoteKey, NoteRefused, open_checkpoint, sign_checkpoint, signers_of

NOTES_KNOWN_MAX = 10_000

_FILE_MODE = 0o600
_AT = "at "


class LogKeyUnusable(Exception):
    """The key that signs the logs cannot be used."""


class LogSigner:
    """Signs and recognises this installation's checkpoints."""

    def __init__(self, name: str, private_key: Ed25519PrivateKey) -> None:
        self.name = name
        self._private_key = private_key
        # An idle phone asks for the same note again and again, and its signature is most of what that costs.
        self._known_note = lru_cache(NOTES_KNOWN_MAX)(self._recognised)

    @classmethod
    def open(cls, path: Path, base_url: str) -> "LogSigner":
        """The signer of a PEM file; LogKeyUnusable when others may read it or it holds no Ed25519 key."""
        return cls(log_name(base_url), _read_key(path))

    @property
    def key(self) -> NoteKey:
        """The public half, which phones and witnesses pin."""
        return NoteKey(self.name, self._private_key.public_key())

    def origin(self, log_id: bytes) -> str:
        """The first line of every checkpoint of one log."""
        return f"{self.name}/{log_id.hex()}"

    def sign(self, log_id: bytes, size: int, root: bytes, *, at: datetime) -> str:
        """A checkpoint of the log as a signed note that says when it was signed."""
        when = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        checkpoint = Checkpoint(
            origin=self.origin(log_id), size=size, root=root, extensions=(f"{_AT}{when}",)
        )
        return sign_checkpoint(checkpoint, self.name, self._private_key)

    def recognise(self, note: str) -> Checkpoint:
        """The checkpoint in a note of ours, also from when our address was another; NoteRefused otherwise."""
        return self._known_note(note)

    def _recognised(self, note: str) -> Checkpoint:
        public_key = self._private_key.public_key()
        refused = NoteRefused("The note is not signed by the key we know.")
        for name in signers_of(note):
            try:
                return open_checkpoint(note, NoteKey(name, public_key))
            except NoteRefused as why:
                refused = why
        raise refused


def create_log_key(path: Path) -> None:
    """Writes a new private key that only this user may read; FileExistsError when there is one."""
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def log_name(base_url: str) -> str:
    """The name checkpoints are signed with: the host people know us by."""
    return f"{urlsplit(base_url).hostname}/log"


def log_id_of(checkpoint: Checkpoint) -> bytes:
    """The log a checkpoint is of; NoteRefused when its origin does not say."""
    try:
        return bytes.fromhex(checkpoint.origin.rpartition("/")[2])
    except ValueError as broken:
        raise NoteRefused("The checkpoint does not say which log it is of.") from broken


def signed_at(checkpoint: Checkpoint) -> datetime:
    """When the checkpoint was signed; NoteRefused when it does not say."""
    said = next((line.removeprefix(_AT) for line in checkpoint.extensions if line.startswith(_AT)), "")
    try:
        return datetime.fromisoformat(said)
    except ValueError as broken:
        raise NoteRefused("The checkpoint does not say when it was signed.") from broken


def _read_key(path: Path) -> Ed25519PrivateKey:
    if not path.is_file():
        raise LogKeyUnusable(f"There is no log key at {path}.")
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise LogKeyUnusable(f"Others may read the log key at {path}. Make it yours alone: chmod 600.")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as broken:
        raise LogKeyUnusable(f"The file at {path} is not a private key.") from broken
    if not isinstance(key, Ed25519PrivateKey):
        raise LogKeyUnusable(f"The key at {path} is not an Ed25519 key.")
    return key
