"""Checks an access log as a phone would: every link of the chain, and the signature over where it stands.

The formulas stand in the API page; the note's form at https://c2sp.org/signed-note.
"""

import base64
import hashlib
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from server.commands.demo_steps.journey import must

_SIGNATURE_LINE = "— "
_ED25519 = b"\x01"


def check_chain(entries: list[dict[str, Any]], checkpoint: dict[str, Any]) -> None:
    """Recomputes the chain over all entries from the first, and compares it with the checkpoint."""
    origin: str = checkpoint["origin"]
    root = hashlib.sha256(bytes.fromhex(origin.rpartition("/")[2])).digest()
    roots = [root]
    for place, entry in enumerate(entries, start=1):
        must(entry["n"] == place, f"entry {entry['n']} of the log stands where {place} should")
        must(base64.b64decode(entry["prev"]) == root, f"entry {place} does not follow from the one before")
        leaf = hashlib.sha256(b"\x00" + _from_url(entry["sealed"])).digest()
        must(base64.b64decode(entry["hash"]) == leaf, f"entry {place} is not what was hashed")
        root = hashlib.sha256(b"\x01" + root + leaf).digest()
        roots.append(root)
    size: int = checkpoint["size"]
    must(size < len(roots), f"the checkpoint speaks of {size} entries, and there are {len(entries)}")
    must(base64.b64decode(checkpoint["root"]) == roots[size], "the checkpoint is not of this log")


def check_note(checkpoint: dict[str, Any]) -> None:
    """The checkpoint's note must be signed by the log's key and say what the checkpoint says."""
    text, _, signatures = checkpoint["note"].rpartition("\n\n")
    text += "\n"
    origin, size, root, *_ = text.splitlines()
    said = (checkpoint["origin"], str(checkpoint["size"]), checkpoint["root"])
    must((origin, size, root) == said, "the signed note says something else than the checkpoint")
    name, _, rest = checkpoint["key"].partition("+")
    key_id, _, encoded = rest.partition("+")
    key = base64.b64decode(encoded)
    own_id = hashlib.sha256(f"{name}\n".encode() + key).digest()[:4]
    must(own_id.hex() == key_id, "the log's key is not the one its id names")
    for line in signatures.splitlines():
        signer, _, signature = line.removeprefix(_SIGNATURE_LINE).rpartition(" ")
        raw = base64.b64decode(signature)
        if signer == name and raw[:4] == own_id and key[:1] == _ED25519:
            _must_verify(key[1:], raw[4:], text)
            return
    must(False, "the checkpoint is not signed by the log's key")


def _must_verify(key: bytes, signature: bytes, text: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text.encode())
    except InvalidSignature:
        must(False, "the checkpoint's signature does not fit")


def _from_url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
