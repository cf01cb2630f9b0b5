"""Where keys come from: a provider wraps record keys and holds the installation's secrets (DESIGN section 7).

`KeyFile` is the provider for development and tests. Its file has a line for each key: `wrap <name> <base64>`,
the first of which wraps new record keys, and one `installation <base64>`, which directory secrets come from.
"""

import base64
import binascii
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.storage.sealing import KEY_BYTES, NONCE_BYTES, SealBroken, derive

DISTINCT_BYTES_MIN = 16
WRAP_NAME_BYTES = 8
_FILE_MODE = 0o600


class KeyUnusable(Exception):
    """The key file cannot be used."""


class KeyProvider(Protocol):
    """Wraps record keys with a key that never leaves it.

    `wrap` and `unwrap` may ask another machine; Storage calls them outside transactions only.
    """

    async def wrap(self, record_id: UUID, key: bytes) -> bytes:
        """The record's key, wrapped so that it can be kept beside the record."""
        ...

    async def unwrap(self, record_id: UUID, wrapped: bytes) -> bytes:
        """The record's key again; SealBroken when it was wrapped for another record or is altered."""
        ...

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose of this installation: the same each time, kept in no database."""
        ...


class KeyFile:
    """Keys in a file that only its owner may read."""

    def __init__(self, wrapping: dict[bytes, bytes], installation: bytes) -> None:
        self._wrapping = {name: AESGCM(key) for name, key in wrapping.items()}
        self._newest = next(iter(wrapping))
        self._installation = installation

    @classmethod
    def create(cls, path: Path) -> "KeyFile":
        """A new key file; FileExistsError when there is one, so that no key is ever written over."""
        name = base64.b16encode(os.urandom(WRAP_NAME_BYTES // 2)).decode().lower()
        lines = f"wrap {name} {_random_key()}\ninstallation {_random_key()}\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "KeyFile":
        """The keys of a file; KeyUnusable when it is missing, malformed, a sample, or open to others."""
        text = _read_private(path)
        wrapping: dict[bytes, bytes] = {}
        installation: bytes | None = None
        for number, line in enumerate(text.splitlines(), start=1):
            match line.split():
                case []:
                    continue
                case ["wrap", name, encoded]:
                    wrapping[_wrap_name(name, number)] = _key(encoded, number)
                case ["installation", encoded] if installation is None:
                    installation = _key(encoded, number)
                case _:
                    raise KeyUnusable(f"Line {number} of the key file is not a key.")
        if not wrapping or installation is None:
            raise KeyUnusable("The key file must hold a `wrap` key and an `installation` key.")
        if installation in wrapping.values():
            raise KeyUnusable("The key file must not use one key for two purposes.")
        return cls(wrapping, installation)

    async def wrap(self, record_id: UUID, key: bytes) -> bytes:
        """The key, wrapped by the newest wrapping key and bound to the record."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._wrapping[self._newest].encrypt(nonce, key, _bound_to(record_id))
        return self._newest + nonce + sealed

    async def unwrap(self, record_id: UUID, wrapped: bytes) -> bytes:
        """The record's key; SealBroken when no key of this file wrapped it for this record."""
        cipher = self._wrapping.get(wrapped[:WRAP_NAME_BYTES])
        if cipher is None:
            raise SealBroken("The key file does not hold the key that wrapped this record's key.")
        start = WRAP_NAME_BYTES + NONCE_BYTES
        try:
            return cipher.decrypt(wrapped[WRAP_NAME_BYTES:start], wrapped[start:], _bound_to(record_id))
        except InvalidTag:
            raise SealBroken("This record's key was altered or belongs to another record.") from None

    def secret(self, purpose: str) -> bytes:
        """32 bytes for one purpose, derived from the installation key."""
        return derive(self._installation, b"held/installation/" + purpose.encode())


def _read_private(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(65_536)
    except FileNotFoundError:
        raise KeyUnusable(f"There is no key file at {path}.") from None
    except OSError as error:
        raise KeyUnusable(f"The key file at {path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(mode):
        raise KeyUnusable(f"The key file at {path} is not a file.")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyUnusable(f"Others may read the key file at {path}. Make it yours alone: chmod 600.")
    try:
        return content.decode("ascii")
    except UnicodeDecodeError:
        raise KeyUnusable(f"The key file at {path} is not text.") from None


def _wrap_name(text: str, line: int) -> bytes:
    name = text.encode("ascii")
    if len(name) != WRAP_NAME_BYTES:
        raise KeyUnusable(f"Line {line} of the key file must name its key in {WRAP_NAME_BYTES} characters.")
    return name


def _key(encoded: str, line: int) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise KeyUnusable(f"The key on line {line} of the key file is not base64.") from None
    if len(key) != KEY_BYTES:
        raise KeyUnusable(f"The key on line {line} of the key file must be {KEY_BYTES} bytes long.")
    # 32 random bytes have about 30 different values; a sample typed by hand or a padded word has few, or
    # is printable from end to end.
    if len(set(key)) < DISTINCT_BYTES_MIN or all(32 <= byte < 127 for byte in key) or _is_a_run(key):
        raise KeyUnusable(f"The key on line {line} of the key file is a sample, not a random key.")
    return key


def _is_a_run(key: bytes) -> bool:
    return len({(after - before) % 256 for before, after in pairwise(key)}) == 1


def _random_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode("ascii")


def _bound_to(record_id: UUID) -> bytes:
    return b"held/record-key/" + record_id.bytes
