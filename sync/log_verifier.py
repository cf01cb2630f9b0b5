"""Checks an access log: replays its hash chain from what was pinned and names the first entry that is wrong.

leaf(n) = SHA-256(0x00 || sealed bytes), root(n) = SHA-256(0x01 || root(n-1) || leaf(n)), root(0) = SHA-256 of
the log's random id. Numbers start at 1. The chain covers the sealed bytes, so it verifies after erasure too.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Literal, NamedTuple

import msgspec


class FaultKind(Enum):
    """What was done to a log, as far as the evidence tells."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    OLDER_COPY = "older copy"
    FORKED = "forked"
    HEAD = "head"


class Pin(msgspec.Struct, frozen=True):
    """A point of one log that is known to be good: everything up to `size` was checked."""

    log_id: bytes
    size: int
    root: bytes


class Mark(NamedTuple):
    """One entry as far as the chain is concerned.

    `leaf` is computed from the sealed bytes at hand; `stated_leaf` and `stated_root` are what was stored or
    sent beside them, None when nothing was. `opens_as` is the number under which the sealed bytes can be
    opened, None when they cannot or when nobody tried (then `was_tried` is false).
    """

    n: int
    leaf: bytes
    stated_leaf: bytes | None = None
    stated_root: bytes | None = None
    opens_as: int | None = None
    was_tried: bool = False


class Claim(msgspec.Struct, frozen=True):
    """Somebody's word that the log had this root at this size.

    The `head` is the log's own and must match its last entry; a `note` is a signed checkpoint kept beside the
    log; a `checkpoint` is one kept elsewhere.
    """

    size: int
    root: bytes
    source: Literal["head", "note", "checkpoint"]


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The first wrong entry. Where the evidence allows several, it is one of `n` to `n_last`."""

    kind: FaultKind
    n: int
    n_last: int
    size: int
    claim: Claim | None = None

    @property
    def sentence(self) -> str:
        """The fault in one plain sentence."""
        return _SENTENCES[self.kind](self)


def first_root(log_id: bytes) -> bytes:
    """The root of a log without entries."""
    return hashlib.sha256(log_id).digest()


def leaf_of(sealed: bytes) -> bytes:
    """The hash of one entry's sealed bytes."""
    return hashlib.sha256(b"\x00" + sealed).digest()


def next_root(root: bytes, leaf: bytes) -> bytes:
    """The root after one more entry."""
    return hashlib.sha256(b"\x01" + root + leaf).digest()


def start_of(log_id: bytes) -> Pin:
    """The pin of a log of which nothing was seen yet."""
    return Pin(log_id, 0, first_root(log_id))


def opens_as(n: int, can_open: Callable[[int], bool]) -> int | None:
    """The number an entry's sealed bytes open under: its own, or a neighbour's when entries were moved."""
    return next((number for number in (n, n + 1, n - 1) if can_open(number)), None)


def judge_claim(pin: Pin, claim: Claim) -> Fault | None:
    """What a newer checkpoint alone tells against a pin. A longer log must still pass `verify`."""
    if claim.size < pin.size:
        pinned = Claim(pin.size, pin.root, "checkpoint")
        return _fault(FaultKind.OLDER_COPY, claim.size + 1, size=claim.size, claim=pinned)
    if claim.size == pin.size and claim.root != pin.root:
        return Fault(kind=FaultKind.FORKED, n=min(1, pin.size), n_last=pin.size, size=claim.size, claim=claim)
    return None


def verify(pin: Pin, marks: Iterable[Mark], claims: Sequence[Claim] = ()) -> Pin | Fault:
    """The new pin when every entry after `pin` fits and every claim is met; else the first fault.

    `marks` are the entries after the pin, in order, and all of them up to the largest claim.
    """
    entries = list(marks)
    roots, fault = _replay(pin, entries, claims)
    are_opened = bool(entries) and all(mark.was_tried for mark in entries)
    unmet = _judge_claims(pin, roots, claims, are_opened=are_opened)
    first = _earlier(fault, unmet)
    return first or Pin(pin.log_id, pin.size + len(entries), roots[-1])


def _earlier(broken: Fault | None, unmet: Fault | None) -> Fault | None:
    """A broken entry says more than an unmet claim, unless the claim proves an earlier one wrong."""
    if broken is None or unmet is None:
        return broken or unmet
    return unmet if unmet.kind is FaultKind.FORKED and unmet.n_last < broken.n else broken


def _head_of(claims: Sequence[Claim]) -> Claim | None:
    return next((claim for claim in claims if claim.source == "head"), None)


def _replay(pin: Pin, entries: Sequence[Mark], claims: Sequence[Claim]) -> tuple[list[bytes], Fault | None]:
    """The roots from the pin on, and the first fault at which they end."""
    roots = [pin.root]
    for index, mark in enumerate(entries):
        root = next_root(roots[-1], mark.leaf)
        fits = (
            mark.n == pin.size + index + 1
            and mark.stated_leaf in (None, mark.leaf)
            and mark.stated_root in (None, root)
        )
        if not fits or (mark.was_tried and mark.opens_as != mark.n):
            return roots, _Evidence(pin, entries, roots, claims).fault_at(index)
        roots.append(root)
    return roots, None


def _judge_claims(
    pin: Pin, roots: Sequence[bytes], claims: Sequence[Claim], *, are_opened: bool
) -> Fault | None:
    """The first claim that the replayed entries do not meet."""
    last, head = pin.size + len(roots) - 1, _head_of(claims)
    for claim in sorted(claims, key=lambda claim: (claim.size, claim.source == "head")):
        agreed = _agreed(pin, roots, claims, before=min(claim.size, last + 1))
        if claim.size > last:
            # Entries that open in their places are those written there, so that the first one missing is the
            # next. Otherwise one may have been taken from among them and the rest made to fit.
            return _missing(claim, claims, first=last + 1 if are_opened else agreed + 1, last=last)
        if claim.size >= pin.size and roots[claim.size - pin.size] != claim.root:
            kind = FaultKind.HEAD if claim.source == "head" else FaultKind.FORKED
            return Fault(kind=kind, n=agreed + 1, n_last=claim.size, size=last, claim=claim)
    if head is not None and last > head.size:
        return _fault(FaultKind.INSERTED, head.size + 1, size=last)
    return None


def _agreed(pin: Pin, roots: Sequence[bytes], claims: Sequence[Claim], *, before: int) -> int:
    """Up to where, short of `before`, a signed checkpoint vouches for the entries: a root covers them all."""
    met = [
        claim.size
        for claim in claims
        if claim.source != "head"
        and pin.size <= claim.size < min(before, pin.size + len(roots))
        and roots[claim.size - pin.size] == claim.root
    ]
    return max(met, default=min(pin.size, before - 1))


def _missing(claim: Claim, claims: Sequence[Claim], *, first: int, last: int) -> Fault:
    """Entries are gone from the end. When the log's own head does not know of them, it is an older copy."""
    is_known_here = any(own.size > last for own in claims if own.source != "checkpoint")
    kind = FaultKind.TRUNCATED if is_known_here else FaultKind.OLDER_COPY
    return Fault(kind=kind, n=first, n_last=last + 1, size=last, claim=claim)


class _Evidence(NamedTuple):
    """What is at hand when the replay stops: `roots[i]` is the good root before `entries[i]`."""

    pin: Pin
    entries: Sequence[Mark]
    roots: Sequence[bytes]
    claims: Sequence[Claim]

    def fault_at(self, index: int) -> Fault:
        """Names what was done at this entry, by the cheapest evidence first."""
        mark, n = self.entries[index], self._number(index)
        if mark.n != n:
            return self._misnumbered(index)
        if mark.stated_leaf not in (None, mark.leaf):
            return self._named(FaultKind.REORDERED if self._was_exchanged(index) else self._by_count(), n)
        if mark.stated_root not in (None, next_root(self.roots[index], mark.leaf)):
            return self._misfit(index)
        return self._unreadable(index)

    def _number(self, index: int) -> int:
        return self.pin.size + index + 1

    def _named(self, kind: FaultKind, n: int, n_last: int | None = None) -> Fault:
        size = self.pin.size + len(self.entries)
        return Fault(kind=kind, n=n, n_last=n if n_last is None else n_last, size=size)

    def _misnumbered(self, index: int) -> Fault:
        n = self._number(index)
        if self.entries[index].n < n:
            return self._named(FaultKind.INSERTED, n)
        comes_later = any(mark.n == n for mark in self.entries[index + 1 :])
        return self._named(FaultKind.REORDERED if comes_later else FaultKind.DELETED, n)

    def _was_exchanged(self, index: int) -> bool:
        """True when these sealed bytes belong to another entry that holds foreign bytes too."""
        leaf = self.entries[index].leaf
        return any(other.stated_leaf == leaf and other.leaf != leaf for other in self.entries[index + 1 :])

    def _misfit(self, index: int) -> Fault:
        """The entry does not follow from the one before it."""
        n, root, mark = self._number(index), self.roots[index], self.entries[index]
        later = self.entries[index + 1 :]
        inserted_from = self._chains_from_earlier(index)
        if inserted_from is not None:
            return self._named(FaultKind.INSERTED, self._number(inserted_from))
        if any(next_root(root, other.leaf) == mark.stated_root for other in later):
            return self._named(FaultKind.REORDERED, n)
        if any(next_root(root, other.leaf) == other.stated_root for other in later):
            return self._named(FaultKind.REORDERED if self._was_moved_here(index) else FaultKind.INSERTED, n)
        if mark.was_tried and mark.opens_as != n:
            return self._unreadable(index)
        return self._named(self._by_count(), self._first_suspect(index), n)

    def _by_count(self) -> FaultKind:
        """What the number of entries tells where their hashes tell no more."""
        head = _head_of(self.claims)
        missing = 0 if head is None else head.size - self.pin.size - len(self.entries)
        if missing == 0:
            return FaultKind.EDITED
        return FaultKind.DELETED if missing > 0 else FaultKind.INSERTED

    def _first_suspect(self, index: int) -> int:
        """The chain breaks here: the first entry that may be wrong, if those after it were made to fit."""
        n, mark = self._number(index), self.entries[index]
        if self._is_followed_from(index, next_root(self.roots[index], mark.leaf)):
            return n
        if mark.was_tried:
            return n - 1 if index and self._is_followed_from(index, mark.stated_root) else n
        return _agreed(self.pin, self.roots, self.claims, before=n) + 1

    def _is_followed_from(self, index: int, root: bytes | None) -> bool:
        """True when what comes after this entry was made with this root, so that the root is as written."""
        if root is None:
            return False
        if index + 1 < len(self.entries):
            following = self.entries[index + 1]
            return next_root(root, following.leaf) == following.stated_root
        head = _head_of(self.claims)
        return head is not None and head.root == root

    def _chains_from_earlier(self, index: int) -> int | None:
        """Where the entry belongs when those between there and here were put in."""
        mark = self.entries[index]
        for earlier in range(index - 1, -1, -1):
            if next_root(self.roots[earlier], mark.leaf) == mark.stated_root:
                is_copy = self.entries[earlier].leaf == mark.leaf
                return index if is_copy else earlier
        return None

    def _was_moved_here(self, index: int) -> bool:
        """True when the entry was written as part of this log, and stands nowhere else in it."""
        mark, later = self.entries[index], self.entries[index + 1 :]
        if any(other.leaf == mark.leaf for other in later):
            return False
        roots = (other.stated_root for other in later if other.stated_root is not None)
        return any(next_root(root, mark.leaf) == mark.stated_root for root in roots)

    def _unreadable(self, index: int) -> Fault:
        """The chain was made to fit, but the entry was not sealed for this place."""
        n, mark = self._number(index), self.entries[index]
        comes_later = any(later.opens_as == n for later in self.entries[index + 1 :])
        if comes_later:
            return self._named(FaultKind.INSERTED if mark.opens_as is None else FaultKind.REORDERED, n)
        return self._named(FaultKind.DELETED if mark.opens_as == n + 1 else self._by_count(), n)


def _fault(kind: FaultKind, n: int, *, size: int, claim: Claim | None = None) -> Fault:
    return Fault(kind=kind, n=n, n_last=n, size=size, claim=claim)


def _said(fault: Fault) -> str:
    assert fault.claim is not None
    words = {"head": "its own head says", "note": "its last signed checkpoint says"}
    return f"{words.get(fault.claim.source, 'the checkpoint says')} {fault.claim.size}"


def _entry(fault: Fault) -> str:
    return (
        f"Entry {fault.n}" if fault.n == fault.n_last else f"One of the entries {fault.n} to {fault.n_last}"
    )


_SENTENCES: dict[FaultKind, Callable[[Fault], str]] = {
    FaultKind.EDITED: lambda fault: f"{_entry(fault)} was changed after it was written.",
    FaultKind.DELETED: lambda fault: f"{_entry(fault)} was removed.",
    FaultKind.INSERTED: lambda fault: f"{_entry(fault)} was put in afterwards.",
    FaultKind.REORDERED: lambda fault: f"{_entry(fault)} is not the one that was written in this place.",
    FaultKind.TRUNCATED: lambda fault: f"The log ends at {fault.size}, {_said(fault)}.",
    FaultKind.OLDER_COPY: lambda fault: f"The log is an older copy: it ends at {fault.size}, {_said(fault)}.",
    FaultKind.FORKED: lambda fault: f"{_entry(fault)} was rewritten after a checkpoint was signed.",
    FaultKind.HEAD: lambda fault: f"{_entry(fault)} or the log's head was changed: they do not fit.",
}
