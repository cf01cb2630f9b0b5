"""What the simulated person did, what the server said became of it, and what may rightly be missing."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from sync.messages import DONE, NO_JSON, Result

ItemName = tuple[str, str]
Kind = Literal[
    "create",
    "value",
    "note",
    "delete",
    "contact",
    "illegal",
    "hindered",
    "grant",
    "extend",
    "narrow",
    "end",
    "question",
    "message",
    "withdraw",
]


class Violation(NamedTuple):
    """An invariant of SYNC section 3.11 that did not hold."""

    invariant: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.message}"


class Broken(Exception):
    """A violation that is seen while it happens."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.violation = Violation(invariant, message)


class Act(NamedTuple):
    """One thing the person did on one phone. `marker` stands in the value they wrote and nowhere else."""

    mid: str
    phone: str
    kind: Kind
    name: ItemName
    marker: bytes = b""
    categories: tuple[str, ...] = ()


class Ledger:
    """Every act of a seed, and the first result the server gave for each.

    `forgiven` acts were lost with their phone, `may_be_undone` with the server; `unlisted` ones were done and
    answered after the backup that their phone was restored from.
    """

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}
        self.results: dict[str, Result] = {}
        self.forgiven: set[str] = set()
        self.may_be_undone: set[str] = set()
        self.unlisted: set[str] = set()
        self.bases: dict[str, set[int]] = {}

    def did(self, act: Act) -> None:
        """Enters an act."""
        if act.mid in self.acts:
            raise Broken("I19", f"two acts have the id {act.mid}")
        self.acts[act.mid] = act

    def told(self, result: Result) -> None:
        """Enters what the server says of a mutation; a result never changes (I10), and `retry` is none."""
        if result.outcome == "retry":
            return
        if result.repeat and b'"offer"' in bytes(result.answer or b""):
            raise Broken("I10", f"the code of {self.named(result.mid)} was kept and is told again")
        said = msgspec.structs.replace(result, repeat=False)
        before = self.results.setdefault(result.mid, said)
        # A grant's code is answered once: the stored result goes without it.
        if _without_answer(before) != _without_answer(said):
            raise Broken("I10", f"the outcome of {self.named(result.mid)} was {before} and is {said}")

    def forgive(self, phone: str) -> None:
        """A phone is gone with what waited on it: the person took it out of use."""
        self.forgiven |= {act.mid for act in self.acts.values() if act.phone == phone}

    def undo_since(self, results: dict[str, Result]) -> None:
        """The server was restored to when it had given these results alone."""
        self.may_be_undone |= set(self.results) - set(results)
        self.results = dict(results)

    def named(self, mid: str) -> str:
        """An act as a person can find it in the output."""
        act = self.acts.get(mid)
        return f"{act.kind} of {'/'.join(act.name)} by {act.phone}" if act else mid

    def told_in_words(self) -> Iterator[str]:
        """What became of each act, in the order they were done, without what differs from run to run."""
        for act in self.acts.values():
            result = self.results.get(act.mid)
            said = f"{result.outcome} {result.code} {result.version}" if result else "nothing"
            yield f"{act.phone}: {act.kind} {act.marker.decode()}: {said}"

    def done(self, *kinds: Kind) -> Iterator[tuple[Act, Result]]:
        """The acts of these kinds whose effect stands, with what was said of them."""
        for mid, result in self.results.items():
            act = self.acts.get(mid)
            if act is not None and act.kind in kinds and result.outcome in DONE:
                yield act, result

    def own_items(self) -> set[ItemName]:
        """The names of everything the person recorded."""
        return {act.name for act in self.acts.values() if act.kind in ("create", "hindered")}


def _without_answer(result: Result) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(result, answer=NO_JSON))
