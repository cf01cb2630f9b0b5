"""One simulated world: a record, its server, a practice, the person's phones, and the air between them."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec

from server.devices_sync.cursors import open_cursor
from server.identity.principal import Person, Principal
from server.sharing.authorise import authorise_owner
from server.storage.session import ReadSession
from sync.cursor import Cursor
from sync.messages import Push, Pushed, Registered, Result
from sync.ports import Answer, NoAnswer
from tests.properties.simulate_checks import unexplained
from tests.properties.simulate_ledger import Broken, Ledger
from tests.properties.simulate_server import Keys, Request, SimulatedServer
from tests.properties.simulate_source import Practice, share
from tests.properties.simulate_storage import Backup, FrailStorage, ServerStopped, jump
from tests.properties.simulate_truth import read_truth

Fate = Literal["fine", "dropped", "lost", "cut", "twice", "late", "stopped before", "stopped after"]

_TROUBLES: tuple[Fate, ...] = ("dropped", "lost", "cut", "twice", "late", "stopped before", "stopped after")
COMMITS_AHEAD_MAX = 2
STOPPED_WHILE_ENDING = 0.4
LATE_MAX = 3
YEAR = timedelta(days=365)
SKEWS = (-YEAR, timedelta(0), YEAR, YEAR)
PAGE_ROWS = (1, 2, 3, 5, 500)


class Caller(Protocol):
    """The phone a request comes from."""

    name: str
    jkt: str
    is_fresh: bool
    is_ended: bool
    device_id: str
    is_damaged: bool
    reached: Cursor | None


class _Kept(NamedTuple):
    """A backup of the server, with what was known when it was made."""

    backup: Backup
    practice: Practice
    results: dict[str, Result]
    grants: dict[str, tuple[str, ...]]


class World:
    """Everything of one seed."""

    def __init__(
        self, storage: FrailStorage, keys: Keys, seed: int, *, skews: Sequence[timedelta] = SKEWS
    ) -> None:
        self.storage = storage
        self.skews = skews
        self.seed = seed
        self.dice = random.Random(seed)
        self.ledger = Ledger()
        self.grants: dict[str, tuple[str, ...]] = {}
        self._values = 0
        self.steps = 0
        self.was_restored = False
        self.trouble = 0.0
        self.trace: list[str] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self._keys = keys
        self._subject = f"login:simulated-{seed}"
        self._late: list[tuple[Caller, Request]] = []
        self._kept: _Kept | None = None

    async def begin(self) -> "World":
        """The person has signed in for the first time, and a practice has sent something."""
        person = Person(
            subject=self._subject,
            kind="citizen",
            name="Amina Yusuf",
            nhs_number=f"9{self.seed:09d}",
            birth_date="1980-02-03",
        )
        server = SimulatedServer(self.storage, self._keys, UUID(int=0))
        self.record_id = await server.records.open_record_for(person)
        self.patient_id = (await server.records.profile(self.record_id)).patient_id
        self.start_server()
        self.practice = Practice(self.storage, self.record_id, self.patient_id, self.dice)
        await self.practice.publish(self.dice.randint(1, 5))
        return self

    def start_server(self) -> None:
        """A new process of the server."""
        self.server = SimulatedServer(
            self.storage, self._keys, self.record_id, page_rows=self.dice.choice(PAGE_ROWS)
        )

    def note(self, text: str) -> None:
        """Remembers a step, so that a violation can be understood."""
        self.steps += 1
        self.trace.append(text)

    async def carry(
        self, caller: Caller, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """What comes back through the air; NoAnswer when nothing does."""
        if self.meanwhile is not None and self.dice.random() < self.trouble:
            await self.meanwhile()
        fate = self._fate()
        self.note(f"  {caller.name} {method} {path.rpartition('/')[2][:24]}: {fate}")
        request = Request(self._principal(caller), method, path, dict(headers), body or b"")
        is_old = await self._watch_cursor(caller, request)
        if fate == "dropped":
            raise NoAnswer
        if fate == "late":
            self._late = [*self._late, (caller, request)][-LATE_MAX:]
            raise NoAnswer
        if fate == "twice":
            await self.serve(caller, request)
        if fate in ("stopped before", "stopped after"):
            when: Literal["before", "after"] = "before" if fate == "stopped before" else "after"
            self.storage.doom(self.dice.randint(1, COMMITS_AHEAD_MAX), when)
        answer = await self.serve(caller, request)
        if is_old and answer.status < 400:
            raise Broken("I18", f"{caller.name} was not told to begin anew after the server was restored")
        if fate in ("lost", "cut"):
            # The transport tells a cut answer by its length: to the phone it is none.
            raise NoAnswer
        return answer

    async def serve(self, caller: Caller, request: Request) -> Answer:
        """The server's answer, looked at by the checks that need no quiet."""
        try:
            answer = await self.server.answer(request)
        except ServerStopped:
            self.note("  the server stopped")
            await self._watch_what_was_kept()
            self.start_server()
            raise NoAnswer from None
        finally:
            self.storage.spare()
        self._watch_answer(caller, request, answer)
        return answer

    async def deliver_late(self) -> None:
        """A request that was given up long ago arrives now."""
        if self._late:
            caller, request = self._late.pop(self.dice.randrange(len(self._late)))
            self.note(f"{caller.name}'s {request.method} {request.path.rpartition('/')[2][:24]} arrives late")
            try:
                await self.serve(caller, request)
            except NoAnswer:
                return

    async def share(self) -> None:
        """One more grant is in force."""
        grant_id, categories = await share(self.storage, self.record_id, self.dice)
        self.grants[str(grant_id)] = categories

    def categories_of(self, grant_id: str) -> tuple[str, ...]:
        """What a grant gave when it was made."""
        return self.grants.get(grant_id, ())

    def new_value(self) -> tuple[float, bytes]:
        """A number nobody wrote yet, and as it is written."""
        self._values += 1
        value = 100_000.5 + self._values
        return value, str(value).encode()

    async def end_device(self, device_id: UUID) -> None:
        """The person ends a phone's access, from a browser."""
        principal = self._principal_of("browser", is_fresh=True)
        authority = await authorise_owner(self.storage, principal, self.record_id)
        if self.dice.random() < STOPPED_WHILE_ENDING:
            self.storage.doom(1, "after")
        try:
            await self.server.sync.end_device(authority, device_id)
        except ServerStopped:
            self.note("  the server stopped before the directory knew")
            self.start_server()
        finally:
            self.storage.spare()

    def jump(self) -> None:
        """The server's clock is set on or back by some hours."""
        hours = self.dice.uniform(-6, 6)
        self.note(f"the server's clock jumps {hours:+.1f} h")
        jump(self.storage, timedelta(hours=hours))

    async def keep(self) -> None:
        """The server is backed up."""
        self.note("the server is backed up")
        self._kept = _Kept(
            await Backup.of(self.storage, self.record_id),
            self.practice.copy(),
            dict(self.ledger.results),
            dict(self.grants),
        )

    async def restore(self) -> bool:
        """The server is as it was at its last backup, in a new epoch. False when there is no backup."""
        if self._kept is None:
            return False
        self.note("the server is restored")
        self.was_restored = True
        await self._kept.backup.restore(self.storage, self.record_id)
        self.practice.forget_after(self._kept.practice)
        self.ledger.undo_since(self._kept.results)
        self.grants = dict(self._kept.grants)
        self._late = []
        self.start_server()
        return True

    def _fate(self) -> Fate:
        return self.dice.choice(_TROUBLES) if self.dice.random() < self.trouble else "fine"

    def _principal(self, caller: Caller) -> Principal:
        return self._principal_of(caller.jkt, is_fresh=caller.is_fresh)

    def _principal_of(self, jkt: str, *, is_fresh: bool) -> Principal:
        now = datetime.now(UTC) + self.storage.clock_offset
        ago = timedelta(seconds=10) if is_fresh else timedelta(hours=1)
        return Principal(
            kind="citizen",
            subject=self._subject,
            client_id="held-phone",
            jkt=jkt,
            token_id=f"token-{self.steps}",
            signed_in_at=now - ago,
            record_id=self.record_id,
        )

    async def _watch_cursor(self, caller: Caller, request: Request) -> bool:
        """I5: what a phone asks for never goes back, but for a reset, when it asks from the beginning.

        True when the cursor is of another epoch, so that the answer must be a reset.
        """
        if "/changes" not in request.path or not caller.device_id:
            return False
        _, _, since = request.path.partition("since=")
        device_id, text = UUID(caller.device_id), since.partition("&")[0]

        def open_since(session: ReadSession) -> tuple[Cursor | None, int]:
            state = session.hot.record_state()
            assert state is not None
            return open_cursor(session.sealer, device_id, text) if text else None, state[1]

        cursor, epoch = await self.storage.read(self.record_id, open_since)
        before, caller.reached = caller.reached, cursor
        if cursor and before and cursor.epoch == before.epoch and cursor.seq < before.seq:
            raise Broken("I5", f"{caller.name} asks from {cursor.seq} after it had {before.seq}")
        return cursor is not None and cursor.epoch != epoch

    async def _watch_what_was_kept(self) -> None:
        """I9: wherever the server stops, effects and outcomes are both there or neither is."""
        self.storage.spare()
        truth = await read_truth(self.storage, self.record_id, self.ledger.acts)
        for violation in unexplained(truth, self.ledger):
            raise Broken(*violation)

    def _watch_answer(self, caller: Caller, request: Request, answer: Answer) -> None:
        if "/digest?" in request.path and not caller.is_damaged:
            raise Broken("I6", f"{caller.name} found its rows to differ, and nothing had damaged them")
        for marker in self.practice.withheld_markers():
            if marker.encode() in answer.body:
                raise Broken("I16", f"{request.method} {request.path} answers with {marker}, withheld")
        if caller.is_ended and answer.status < 400 and not request.path.endswith("/wiped"):
            raise Broken("I24", f"{request.method} {request.path} answers an ended phone {answer.status}")
        if request.path.endswith("/mutations") and answer.status == 200:
            self._note_bases(request.body)
            for result in msgspec.json.decode(answer.body, type=Pushed).results:
                self.ledger.told(result)
        if request.path.endswith("/devices") and answer.status < 300:
            caller.device_id = msgspec.json.decode(answer.body, type=Registered).device_id

    def _note_bases(self, body: bytes) -> None:
        """Which version each mutation said it was made on."""
        push = msgspec.json.decode(body, type=Push)
        for raw in push.mutations:
            mutation = push.defaults | msgspec.json.decode(raw)
            if "base" in mutation:
                self.ledger.bases.setdefault(mutation["mid"], set()).add(mutation["base"]["version"])
