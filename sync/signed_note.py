"""Signed notes and log checkpoints: the few signed lines a phone pins to hold a log to its word.

https://c2sp.org/signed-note and https://c2sp.org/tlog-checkpoint
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# A checkpoint is a few hundred bytes. The bound keeps a hostile one from costing anything.
NOTE_BYTES_MAX = 8 * 1024
SIGNATURES_MAX = 16
SIZE_DIGITS_MAX = 18
ROOT_BYTES = 32

_ED25519 = b"\x01"
_KEY_ID_BYTES = 4
_SIGNATURE_LINE = "— "


class NoteRefused(Exception):
    """This is not a checkpoint signed by the key we know."""


class NoteKey(msgspec.Struct, frozen=True):
    """A public key and the name its signature lines carry."""

    name: str
    public_key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """The four bytes that say which key a signature line is for."""
        return _key_id(self.name, self.public_key)

    def to_text(self) -> str:
        """`name+key id+base64 key`, the form in which a verifier is told of a key."""
        encoded = base64.b64encode(_ED25519 + self.public_key.public_bytes_raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def from_text(cls, text: str) -> "NoteKey":
        """Reads `to_text`; NoteRefused when it is not such a key or its id is not the key's own."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _base64(encoded)
        if not _is_name(name) or raw[:1] != _ED25519 or len(raw) != 33:
            raise NoteRefused("This is not an Ed25519 verifier key.")
        key = cls(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
        if key.key_id.hex() != key_id:
            raise NoteRefused("The verifier key does not match its own id.")
        return key


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a log's keeper signs: how many entries it had, and their root. `extensions` are further lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def sign_note(text: str, name: str, private_key: Ed25519PrivateKey) -> str:
    """The text with one signature line. The text must end in a newline and hold no control characters."""
    _require_text(text)
    if not _is_name(name):
        raise NoteRefused("A key's name holds no space or plus sign.")
    signature = _key_id(name, private_key.public_key()) + private_key.sign(text.encode())
    return f"{text}\n{_SIGNATURE_LINE}{name} {base64.b64encode(signature).decode()}\n"


def signers_of(note: str) -> tuple[str, ...]:
    """The names on the note's signature lines, whether or not their signatures are good."""
    return tuple(_signature(line)[0] for line in _split(note)[1])


def open_note(note: str, key: NoteKey) -> str:
    """The signed text; NoteRefused unless this key signed it. Signatures by other keys are ignored."""
    text, lines = _split(note)
    signatures = [_signature(line) for line in lines]
    ours = [signature for name, key_id, signature in signatures if (name, key_id) == (key.name, key.key_id)]
    if not ours:
        raise NoteRefused("The note is not signed by the key we know.")
    for signature in ours:
        try:
            key.public_key.verify(signature, text.encode())
        except InvalidSignature as broken:
            raise NoteRefused("The note's signature does not fit its text.") from broken
    return text


def sign_checkpoint(checkpoint: Checkpoint, name: str, private_key: Ed25519PrivateKey) -> str:
    """The checkpoint as a signed note."""
    root = base64.b64encode(checkpoint.root).decode()
    lines = (checkpoint.origin, str(checkpoint.size), root, *checkpoint.extensions)
    return sign_note("".join(f"{line}\n" for line in lines), name, private_key)


def open_checkpoint(note: str, key: NoteKey) -> Checkpoint:
    """The checkpoint in a note this key signed; NoteRefused otherwise."""
    return _parse_checkpoint(open_note(note, key))


def peek_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in a note whose signature nobody has checked: only for notes we keep ourselves."""
    return _parse_checkpoint(_split(note)[0])


def _parse_checkpoint(text: str) -> Checkpoint:
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise NoteRefused("A checkpoint has an origin, a size and a root.")
    origin, size, root, *extensions = lines
    if not _is_whole_number(size):
        raise NoteRefused("The checkpoint's size is not a whole number.")
    raw_root = _base64(root)
    if len(raw_root) != ROOT_BYTES:
        raise NoteRefused("The checkpoint's root is not 32 bytes.")
    return Checkpoint(origin=origin, size=int(size), root=raw_root, extensions=tuple(extensions))


def _is_whole_number(text: str) -> bool:
    is_digits = text.isascii() and text.isdigit() and len(text) <= SIZE_DIGITS_MAX
    return is_digits and (text == "0" or not text.startswith("0"))


def _split(note: str) -> tuple[str, Sequence[str]]:
    if len(note.encode("utf-8", "surrogatepass")) > NOTE_BYTES_MAX:
        raise NoteRefused("The note is too long.")
    # The signatures follow the last empty line, so that a text with empty lines of its own stays whole.
    text, separator, tail = note.rpartition("\n\n")
    lines = tail.removesuffix("\n").split("\n")
    if not separator or not tail.endswith("\n") or len(lines) > SIGNATURES_MAX:
        raise NoteRefused("The note has no signature.")
    text += "\n"
    _require_text(text)
    return text, lines


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, separator, encoded = line.removeprefix(_SIGNATURE_LINE).partition(" ")
    is_line = line.startswith(_SIGNATURE_LINE) and separator and _is_name(name)
    raw = _base64(encoded)
    if not is_line or len(raw) <= _KEY_ID_BYTES:
        raise NoteRefused("The note's signature line cannot be read.")
    return name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:]


def _require_text(text: str) -> None:
    if not text.endswith("\n") or any(ord(character) < 0x20 and character != "\n" for character in text):
        raise NoteRefused("A note's text ends in a newline and holds no control characters.")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise NoteRefused("A note's text is UTF-8.")


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def _key_id(name: str, public_key: Ed25519PublicKey) -> bytes:
    material = name.encode() + b"\n" + _ED25519 + public_key.public_bytes_raw()
    return hashlib.sha256(material).digest()[:_KEY_ID_BYTES]


def _base64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as broken:
        raise NoteRefused("This is not base64.") from broken
    # More than one text can decode to the same bytes; only the one we would write is taken.
    if base64.b64encode(raw).decode() != text:
        raise NoteRefused("This is not base64 in its one form.")
    return raw
