"""Phones for tests: the real engine on memory storage, with a way to the reference server that can be cut."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sync.identifiers import uuid4, uuid7
from sync.memory import MemoryStorage, MemoryTransaction
from sync.messages import Registration
from sync.phone import Phone
from sync.ports import Answer, NoAnswer
from tests.unit.sync.reference_server import RECORD, Server

START = datetime(2026, 11, 22, 14, 2, tzinfo=UTC)
Fault = Callable[[int], str | None]
"""What becomes of the n-th call: None, "lost" (before it happened), "cut" (after), "half" (a part comes)."""


class Crashed(Exception):
    """The process ended here."""


class CrashingStorage(MemoryStorage):
    """Ends the process before or after the n-th commit."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.crash_at: tuple[int, str] | None = None

    def commit(self, written: MemoryTransaction) -> None:
        self.commits += 1
        if self.crash_at == (self.commits, "before"):
            raise Crashed
        super().commit(written)
        if self.crash_at == (self.commits, "after"):
            raise Crashed


@dataclass
class Wire:
    """The way from one phone to the server."""

    server: Server
    device: str
    fault: Fault = lambda n: None
    calls: int = 0
    lives: int = 0
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    """Answers to give instead of the server's, by the end of the path."""
    sent: list[tuple[str, Mapping[str, str], bytes | None]] = field(default_factory=list)

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self.calls += 1
        fate = self.fault(self.calls)
        if fate == "lost":
            raise NoAnswer
        self.sent.append((f"{method} {path}", headers, body))
        for ending, answers in self.answers.items():
            if path.partition("?")[0].endswith(ending) and answers:
                return answers.pop(0)
        answer = self.server.answer(self.device, method, path, headers, body)
        if fate == "cut":
            raise NoAnswer
        if fate == "half" and answer.body:
            return Answer(
                status=answer.status, headers=answer.headers, body=answer.body[: len(answer.body) // 2]
            )
        return answer


@dataclass
class FakeClock:
    """A clock that goes when told, and may be wrong."""

    at: datetime = START
    pauses: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        return self.at

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.at += timedelta(seconds=seconds)


@dataclass
class SeededIds:
    """Ids that repeat with the seed."""

    chance: random.Random
    clock: FakeClock

    def mutation_id(self) -> str:
        return uuid7(int(self.clock.at.timestamp() * 1000), self.chance.randbytes(16))

    def resource_id(self) -> str:
        return uuid4(self.chance.randbytes(16))


@dataclass
class Hand:
    """Everything around one phone."""

    phone: Phone
    storage: CrashingStorage
    wire: Wire
    clock: FakeClock

    def restarted(self, storage: CrashingStorage | None = None) -> "Hand":
        """The same phone after its process ended, on the same storage or on a restored one."""
        return phone_on(self.wire, storage or self.storage, self.clock)


def new_phone(server: Server, device: str = "phone-1") -> Hand:
    """A phone that knows nothing yet."""
    return phone_on(Wire(server, device), CrashingStorage(), FakeClock())


def phone_on(wire: Wire, storage: CrashingStorage, clock: FakeClock) -> Hand:
    wire.lives += 1
    ids = SeededIds(random.Random(f"{wire.device} {wire.lives}"), clock)
    about = Registration(key={"kty": "EC"}, name="Phone")
    return Hand(Phone(RECORD, storage, wire, clock=clock, ids=ids, about=about), storage, wire, clock)


def same(hand: Hand, server: Server) -> bool:
    """True when the phone's rows are the server's, byte for byte, and so are the digests."""
    rows = {(row.type, row.id): (row.version, row.body) for row in hand.phone.rows()}
    return rows == server.live() and hand.phone.root() == server.root()


def observation(value: str = "80.0", **members: object) -> dict[str, object]:
    """A reading as a phone writes it."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Weight"},
        "valueQuantity": {"value": float(value), "unit": "kg"},
    } | members
