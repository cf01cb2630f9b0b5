"""The digest: one small value by which a phone and the server know that they hold the same record.

Each live item is hashed with a key of its record, the hashes are added up in 256 buckets modulo 2^256, and
the root is the hash of the buckets. Adding is undone by subtracting: a change costs one hash and no reading.
"""

from collections.abc import Iterable
from hashlib import blake2b

HASH_BYTES = 32
BUCKETS = 256
COUNT_BYTES = 4
BUCKET_BYTES = HASH_BYTES + COUNT_BYTES
STATE_BYTES = BUCKETS * BUCKET_BYTES
WIRE_HASH_BYTES = 16

_COUNT_BITS = 8 * COUNT_BYTES
# What overflows the sum leaves at the top, and a count of items never overflows.
_MODULUS = 1 << (8 * BUCKET_BYTES)
_ENTRY = b"held/entry"
_PLACE = b"held/place"
_NODE = b"held/node"


def body_hash(body: bytes) -> bytes:
    """The hash of the bytes as stored and served."""
    return blake2b(body, digest_size=HASH_BYTES).digest()


def entry_hash(key: bytes, resource_type: str, logical_id: str, *, version: int, body: bytes) -> bytes:
    """What one live item adds to its bucket."""
    keyed = _named(key, _ENTRY, resource_type, logical_id)
    keyed.update(version.to_bytes(8, "big"))
    keyed.update(body_hash(body))
    return keyed.digest()


def place(key: bytes, resource_type: str, logical_id: str) -> str:
    """Where an item stands in the tree: hexadecimal, its first two digits name its bucket."""
    return _named(key, _PLACE, resource_type, logical_id).hexdigest()


def bucket_of(key: bytes, resource_type: str, logical_id: str) -> int:
    """The bucket an item is counted in, 0 to 255."""
    return _named(key, _PLACE, resource_type, logical_id).digest()[0]


class Digest:
    """The sums and counts of a record's buckets, each bucket one number: its sum, then its count."""

    __slots__ = ("_state",)

    def __init__(self, state: bytes = b"") -> None:
        self._state = bytearray(state or STATE_BYTES)

    @classmethod
    def decode(cls, state: bytes) -> "Digest":
        """What `encode` made; an empty state is that of an empty record. ValueError for anything else."""
        if len(state) not in {0, STATE_BYTES}:
            raise ValueError("This is no digest's state.")
        return cls(state)

    def encode(self) -> bytes:
        """The state as bytes, always of the same length."""
        return bytes(self._state)

    def add(self, bucket: int, entry: bytes) -> None:
        """Counts an item in."""
        self._move(bucket, (int.from_bytes(entry, "big") << _COUNT_BITS) + 1)

    def remove(self, bucket: int, entry: bytes) -> None:
        """Counts an item out that was counted in."""
        self._move(bucket, -((int.from_bytes(entry, "big") << _COUNT_BITS) + 1))

    def change(self, added: Iterable[tuple[int, bytes]], removed: Iterable[tuple[int, bytes]]) -> None:
        """Counts many items in and out, each a (bucket, entry hash)."""
        moves: dict[int, int] = {}
        for bucket, entry in added:
            moves[bucket] = moves.get(bucket, 0) + (int.from_bytes(entry, "big") << _COUNT_BITS) + 1
        for bucket, entry in removed:
            moves[bucket] = moves.get(bucket, 0) - (int.from_bytes(entry, "big") << _COUNT_BITS) - 1
        for bucket, by in moves.items():
            self._move(bucket, by)

    def count(self) -> int:
        """How many items are counted in."""
        return sum(self._counts(0, BUCKETS))

    def root(self, key: bytes) -> bytes:
        """The hash of everything."""
        return node_hash(key, self._state)

    def children(self, key: bytes, prefix: str, depth: int) -> dict[str, tuple[str, int]]:
        """The nodes `depth` digits below the prefix that hold anything: {place: (hash, count)}.

        Down to the buckets, two digits deep in all; ValueError below them.
        """
        width = len(prefix) + depth
        if depth < 1 or width > 2:
            raise ValueError("The tree has two levels.")
        span = 16 ** (2 - width)
        first = int(prefix, 16) * 16 ** (2 - len(prefix)) if prefix else 0
        found: dict[str, tuple[str, int]] = {}
        for start in range(first, first + span * 16**depth, span):
            count = sum(self._counts(start, start + span))
            if count:
                found[f"{start // span:0{width}x}"] = (self._node(key, start, span), count)
        return found

    def _move(self, bucket: int, by: int) -> None:
        start = bucket * BUCKET_BYTES
        place = slice(start, start + BUCKET_BYTES)
        moved = (int.from_bytes(self._state[place], "big") + by) % _MODULUS
        self._state[place] = moved.to_bytes(BUCKET_BYTES, "big")

    def _counts(self, first: int, end: int) -> list[int]:
        ends = range((first + 1) * BUCKET_BYTES, (end + 1) * BUCKET_BYTES, BUCKET_BYTES)
        return [int.from_bytes(self._state[stop - COUNT_BYTES : stop], "big") for stop in ends]

    def _node(self, key: bytes, start: int, span: int) -> str:
        buckets = self._state[start * BUCKET_BYTES : (start + span) * BUCKET_BYTES]
        return node_hash(key, buckets)[:WIRE_HASH_BYTES].hex()


def node_hash(key: bytes, state: bytes | bytearray) -> bytes:
    """The hash of some buckets."""
    return blake2b(state, digest_size=HASH_BYTES, key=key, person=_NODE).digest()


def digest_of(entries: Iterable[tuple[int, bytes]]) -> Digest:
    """The digest of (bucket, entry hash) pairs, counted from nothing."""
    digest = Digest()
    digest.change(entries, ())
    return digest


def _named(key: bytes, what: bytes, resource_type: str, logical_id: str) -> "blake2b":
    keyed = blake2b(digest_size=HASH_BYTES, key=key, person=what)
    for part in (resource_type.encode(), logical_id.encode()):
        keyed.update(len(part).to_bytes(4, "big"))
        keyed.update(part)
    return keyed
