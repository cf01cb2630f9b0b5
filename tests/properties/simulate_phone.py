"""A simulated phone: the real engine on a storage that can stop at a commit, be copied and be put back."""

import random
from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec.structs import replace

from server.commands.held_client import ProofKey
from server.identity.tokens import Jwk, thumbprint
from sync.cursor import Cursor
from sync.kept import identity_of, put_row, read_concern, read_entry, row_of, rows
from sync.messages import DONE, Registration
from sync.phone import Phone
from sync.ports import Answer
from sync.replica import recount, root
from tests.properties.simulate_acts import PersonAtPhone
from tests.properties.simulate_device import FrailMemory, PhoneStopped, SimulatedClock, SimulatedIds
from tests.properties.simulate_ledger import Act, Broken, ItemName
from tests.properties.simulate_world import World


class SimulatedPhone:
    """One phone of the person, and the process that runs on it."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.is_ended = False
        self.is_busy = False
        self.is_fresh = True
        self.device_id = ""
        self.reached: Cursor | None = None
        self.trouble: str | None = None
        self.storage = FrailMemory()
        self.is_damaged = False
        self._is_behind = False
        self._world = world
        self.dice = random.Random(f"{world.seed} {name}")
        self._clock = SimulatedClock(self.dice.choice(world.skews))
        self.ids = SimulatedIds(self._clock, self.dice)
        self._backup: FrailMemory | None = None
        self._person = PersonAtPhone(world, self)
        self._new_key()
        self.start()

    def start(self) -> None:
        """A new process on what is kept."""
        about = Registration(key=self.key.jwk, name=self.name, platform="simulated", app_version="1")
        self.engine = Phone(
            str(self._world.record_id),
            self.storage,
            self,
            clock=self._clock,
            ids=self.ids,
            about=about,
        )

    async def call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """The transport: through the world's air."""
        return await self._world.carry(self, method, path, headers, body)

    async def sync(self) -> None:
        """One sync, as far as it gets."""
        if self.is_busy:
            return
        self.is_busy = True
        self._world.note(f"{self.name} syncs")
        try:
            report = await self.engine.sync()
            self.trouble = report.trouble
            self._world.note(f"{self.name} synced: {report.trouble or 'up to date'}")
            if report.trouble is None:
                self._is_behind = False
        except PhoneStopped:
            self.stopped()
        finally:
            self.is_busy = False

    def act(self) -> None:
        """The person does something on this phone."""
        self.is_fresh = self.dice.random() < 0.5
        self._person.act()

    def edit(self) -> None:
        """The person changes a value of theirs."""
        self._person.edit_value()

    def doom(self) -> None:
        """The process stops at one of its next commits."""
        self._world.note(f"{self.name} is about to stop")
        self.storage.doom(self.dice.randint(1, 4), self.dice.choice(("before", "after")))

    def calm(self) -> None:
        """Nothing stops it any more, and the person signs in when asked."""
        self.storage.doom(0, "before")
        self.is_fresh = True

    def damage(self) -> None:
        """A row is spoiled, and the digest counts it as it is now: the next pull must find it."""
        self.storage.doom(0, "before")
        with self.storage.transaction() as tx:
            found = [row for row in rows(tx) if not row.gone]
            if self.is_busy or not found or identity_of(tx) is None:
                return
            row = self.dice.choice(found)
            self._world.note(f"a row of {self.name} is spoiled: {row.type}/{row.id}")
            spoiled = (replace(row, version=row.version + 1), replace(row, body=row.body + b" "))
            put_row(tx, self.dice.choice(spoiled))
            recount(tx)
        self.is_damaged = self._is_behind = True

    def copy(self) -> None:
        """The phone is backed up."""
        if not self.is_busy:
            self._world.note(f"{self.name} is backed up")
            self._backup = self.storage.copy()

    def restore(self) -> None:
        """The phone is as it was at its last backup, on this device or on a new one with its own key."""
        if self._backup is None or self.is_busy:
            return
        self._world.note(f"{self.name} is restored")
        waiting, own = self.waiting(), {act.mid for act in self._own_acts()}
        self.storage = self._backup.copy()
        unknown = own - set(self.waiting()) - self.attention().keys()
        self._world.ledger.forgiven |= unknown.intersection(waiting)
        self._world.ledger.unlisted |= unknown
        self.reached = None
        self._is_behind = True
        if self.dice.random() < 0.5:
            self._new_key()
        self.start()

    async def end(self) -> None:
        """The person takes the phone out of use, from elsewhere. What waits on it is lost."""
        if self.is_busy or not self.device_id:
            return
        self._world.note(f"{self.name} is ended")
        await self._world.end_device(UUID(self.device_id))
        self._world.ledger.forgive(self.name)
        self.is_ended = True

    def rows(self) -> dict[ItemName, tuple[int, bytes]]:
        """What the replica holds."""
        with self.storage.transaction() as tx:
            return {(row.type, row.id): (row.version, row.body) for row in rows(tx) if not row.gone}

    def root(self) -> bytes | None:
        """The digest the phone counted."""
        with self.storage.transaction() as tx:
            counted = root(tx)
        return None if counted is None else bytes.fromhex(counted)

    def waiting(self) -> tuple[str, ...]:
        """What the server has not confirmed."""
        return tuple(_mids_in(self.storage))

    def attention(self) -> dict[str, bytes]:
        """What was refused, as it is kept for the person to see."""
        with self.storage.transaction() as tx:
            kept = [value for _, value in tx.scan("attention")]
        return {read_concern(value).mutation.mid: value for value in kept}

    def dump(self) -> bytes:
        """Everything the phone keeps."""
        return self.storage.dump()

    def marks(self) -> tuple[object, ...]:
        """What changes while there is anything left to say."""
        return self.rows(), self.waiting(), self.is_ended and self.storage.dump()

    def server_was_restored(self) -> None:
        """What the server forgot may be missing here too, until it has said what it knows."""
        self._is_behind = True

    def check_between_steps(self) -> None:
        """What must hold at any moment: extracts are shown whole, and what the person did is somewhere."""
        for part in () if self._is_behind else self._world.practice.torn(self.rows()):
            raise Broken("I3", f"{self.name} shows a part of an extract, {part}")
        waiting, attention, ledger = set(self.waiting()), self.attention(), self._world.ledger
        for act in self._own_acts():
            if act.mid in waiting or act.mid in attention or act.mid in ledger.forgiven:
                continue
            if act.mid not in ledger.results and act.mid not in ledger.may_be_undone:
                raise Broken("I18", f"{self.name} has forgotten the {ledger.named(act.mid)}")
            if not self._is_behind:
                self._check_effect_is_here(act)

    def _check_effect_is_here(self, act: Act) -> None:
        """What was confirmed and waits no more is in the rows: it is never out of the person's sight."""
        result = self._world.ledger.results.get(act.mid)
        if result is None or result.outcome not in DONE or result.version is None:
            return
        with self.storage.transaction() as tx:
            row = row_of(tx, *act.name)
        if row is None and any(deleted.name == act.name for deleted, _ in self._world.ledger.done("delete")):
            # A first load leaves out what is gone.
            return
        if row is None or row.version < result.version:
            what = self._world.ledger.named(act.mid)
            raise Broken("I13", f"{self.name} let go of the {what} before its rows held it")

    def _own_acts(self) -> list[Act]:
        return [act for act in self._world.ledger.acts.values() if act.phone == self.name]

    def stopped(self) -> None:
        """The process ended; another begins on what was kept."""
        self._world.note(f"{self.name} stopped")
        self.storage.doom(0, "before")
        self.start()

    def _new_key(self) -> None:
        self.device_id = ""
        self.key = ProofKey()
        self.jkt = thumbprint(msgspec.convert(self.key.jwk, Jwk))


def _mids_in(storage: FrailMemory) -> list[str]:
    with storage.transaction() as tx:
        return [read_entry(value).mid for _, value in tx.scan("outbox")]
