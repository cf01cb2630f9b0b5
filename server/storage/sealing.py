"""Sealing: what stands on disk can be opened only with the owner's key (THREATS rule 16).

Key provider -> record key -> one subkey for each purpose (HKDF, RFC 5869, https://www.rfc-editor.org/rfc/rfc5869).
What is sealed is compressed, padded to a Padmé size so that its length says little, and bound by AES-256-GCM
to its purpose, owner, name and version: a value moved elsewhere, or an older one put back, does not open.
"""

import hmac
import os
import struct
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import TypeVar
from uuid import UUID

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

KEY_BYTES = 32
COMMITMENT_BYTES = 32
MAC_BYTES = 16
NONCE_BYTES = 12
PLAIN_BYTES_MAX = 64 * 1024 * 1024
FORMAT_ZSTD_AES_GCM = 1

_TAG_BYTES = 16
_LENGTH = struct.Struct(">I")
_VERSION = struct.Struct(">Q")
_FORMAT_BYTE = bytes([FORMAT_ZSTD_AES_GCM])
_INSTALLATION = b"installation"

Value = TypeVar("Value", bound=msgspec.Struct)


class SealBroken(Exception):
    """This sealed value is not what was put here: it was altered, moved, or sealed with another key."""


class _Compressors(threading.local):
    """A zstd context may not be used by two threads at once, so that each thread has its own."""

    def __init__(self) -> None:
        self.compress: Callable[[bytes], bytes] = zstandard.ZstdCompressor(level=1).compress
        self.decompress: Callable[[bytes, int], bytes] = zstandard.ZstdDecompressor().decompress


_compressors = _Compressors()


class Sealer:
    """Seals and opens with one owner's key: a record's, or the installation's for the directory.

    Subkeys are derived once and kept, so a Sealer is worth keeping too.
    """

    __slots__ = ("_ciphers", "_key", "_mac_keys", "_owner", "_prefixes", "_secrets")

    def __init__(self, owner: bytes, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._owner = owner
        self._key = key
        self._ciphers: dict[str, AESGCM] = {}
        self._prefixes: dict[str, bytes] = {}
        self._mac_keys: dict[str, bytes] = {}
        self._secrets: dict[str, bytes] = {}

    @classmethod
    def of_record(cls, record_id: UUID, key: bytes) -> "Sealer":
        """The sealer of one record."""
        return cls(record_id.bytes, key)

    @classmethod
    def of_installation(cls, key: bytes) -> "Sealer":
        """The sealer of the directory tables."""
        return cls(_INSTALLATION, key)

    def seal(self, purpose: str, name: bytes, version: int, plain: bytes) -> bytes:
        """`plain`, compressed, padded and sealed; it opens only for the same purpose, name and version."""
        frame = _compressors.compress(plain)
        padded_size = padme(_LENGTH.size + len(frame))
        padded = (_LENGTH.pack(len(frame)) + frame).ljust(padded_size, b"\0")
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._ciphers.get(purpose) or self._cipher(purpose)
        return _FORMAT_BYTE + nonce + cipher.encrypt(nonce, padded, self._bound_to(purpose, name, version))

    def open(self, purpose: str, name: bytes, version: int, sealed: bytes) -> bytes:
        """What was sealed; SealBroken when it was not sealed by this owner for exactly this place."""
        if len(sealed) < 1 + NONCE_BYTES + _TAG_BYTES or sealed[0] != FORMAT_ZSTD_AES_GCM:
            raise SealBroken("This sealed value is in no format we know.")
        cipher = self._ciphers.get(purpose) or self._cipher(purpose)
        bound_to = self._bound_to(purpose, name, version)
        try:
            padded = cipher.decrypt(sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :], bound_to)
        except InvalidTag:
            raise SealBroken(SealBroken.__doc__) from None
        (size,) = _LENGTH.unpack_from(padded)
        return _compressors.decompress(padded[_LENGTH.size : _LENGTH.size + size], PLAIN_BYTES_MAX)

    def seal_struct(self, purpose: str, name: bytes, version: int, value: msgspec.Struct) -> bytes:
        """A struct, written as MessagePack and sealed."""
        return self.seal(purpose, name, version, msgspec.msgpack.encode(value))

    # Five parts say where the struct stands and what it is; each is needed to open it.
    def open_struct(  # noqa: PLR0917
        self, purpose: str, name: bytes, version: int, sealed: bytes, struct_type: type[Value]
    ) -> Value:
        """The struct again; SealBroken as for `open`."""
        return msgspec.msgpack.decode(self.open(purpose, name, version, sealed), type=struct_type)

    def mac(self, purpose: str, *parts: bytes | str, size: int = MAC_BYTES) -> bytes:
        """A keyed hash of the parts; no two different lists of parts are hashed as the same bytes."""
        keyed = blake2b(digest_size=size, key=self._mac_keys.get(purpose) or self._mac_key(purpose))
        for part in parts:
            encoded = part.encode() if isinstance(part, str) else part
            keyed.update(_LENGTH.pack(len(encoded)))
            keyed.update(encoded)
        return keyed.digest()

    def item_key(self, resource_type: str, logical_id: str) -> bytes:
        """The key under which an item is stored; it tells nothing to who lacks the record's key."""
        return self.mac("item", resource_type, logical_id)

    def subkey(self, purpose: str) -> bytes:
        """The key that opens what was sealed for this purpose, for an owner who may open it themselves."""
        return derive(self._key, b"held/seal/" + purpose.encode())

    def secret(self, purpose: str) -> bytes:
        """32 bytes for a purpose of the caller's own, such as a digest key given to a phone."""
        secret = self._secrets.get(purpose)
        if secret is None:
            secret = self._secrets[purpose] = derive(self._key, b"held/secret/" + purpose.encode())
        return secret

    def commitment(self) -> bytes:
        """A value that only this key gives: AES-GCM alone would let one sealed text open under two keys."""
        return derive(self._key, b"held/commitment/" + self._owner)

    def commits_to(self, commitment: bytes) -> bool:
        """Whether this is the key the commitment was made with."""
        return hmac.compare_digest(self.commitment(), commitment)

    def _cipher(self, purpose: str) -> AESGCM:
        cipher = AESGCM(derive(self._key, b"held/seal/" + purpose.encode()))
        self._ciphers[purpose] = cipher
        return cipher

    def _mac_key(self, purpose: str) -> bytes:
        key = derive(self._key, b"held/mac/" + purpose.encode())
        self._mac_keys[purpose] = key
        return key

    def _bound_to(self, purpose: str, name: bytes, version: int) -> bytes:
        prefix = self._prefixes.get(purpose)
        if prefix is None:
            prefix = _FORMAT_BYTE + _sized(purpose.encode()) + _sized(self._owner)
            self._prefixes[purpose] = prefix
        return prefix + _VERSION.pack(version) + name


def derive(key: bytes, info: bytes) -> bytes:
    """A subkey of a uniformly random key."""
    return HKDFExpand(SHA256(), KEY_BYTES, info).derive(key)


def padme(size: int) -> int:
    """The size to pad to: at most 12 % more, and few different sizes (Padmé, arXiv:1806.03160)."""
    if size < 2:
        return size
    exponent = size.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (size + mask) & ~mask


def _sized(part: bytes) -> bytes:
    return _LENGTH.pack(len(part)) + part
