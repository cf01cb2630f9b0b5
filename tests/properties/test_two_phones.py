"""Two phones, one record, and everything that can go wrong between them: I9, I10, I13, I18, I19, I23.

Scripts of acts, exchanges, lost answers, ended processes, copies put back and a restored server. In the end
every act has had one effect at most, none has vanished, and all three hold the same.
"""

import asyncio
import contextlib
import copy
import random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.messages import DONE, Result
from sync.phone import Draft, NotPossible
from sync.values import read_json, write_json
from tests.unit.sync.phones import Crashed, CrashingStorage, Hand, new_phone, observation, same
from tests.unit.sync.reference_server import Server

STEPS = st.lists(
    st.sampled_from(
        ["create", "patch", "patch", "patch", "replace", "delete", "note", "end", "sync", "sync", "weak sync",
         "crash", "others", "take back", "copy", "put back", "clock", "rebirth", "reload"]
    ),
    min_size=4,
    max_size=26,
)  # fmt: skip
SEEDS = st.integers(0, 2**32)
ROUNDS = 80


@dataclass
class World:
    """A server, two phones, and what must not be forgotten."""

    chance: random.Random
    server: Server = field(default_factory=lambda: Server(page_rows=3, segment_seqs=5))
    hands: list[Hand] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)
    lost_with_copy: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    outcomes: dict[str, Result] = field(default_factory=dict)
    copies: dict[int, tuple[Any, set[str]]] = field(default_factory=dict)

    def run(self, steps: list[str]) -> None:
        self.hands = [new_phone(self.server, "phone-1"), new_phone(self.server, "phone-2")]
        for step in steps:
            which = self.chance.randrange(2)
            getattr(self, f"_{step.replace(' ', '_')}")(which)
            self._outcomes_are_unchanged()

    def settle(self) -> None:
        """Everything is sent and fetched, and nothing is in the way any more."""
        for hand in (*self.hands, *self.hands):
            hand.wire.fault = lambda n: None
            hand.storage.crash_at = None
            report = asyncio.run(hand.phone.sync())
            assert report.trouble is None, report
            assert report.status.waiting == 0, hand.phone.outbox()

    def _create(self, which: int) -> None:
        self._write(
            which, Draft(op="create", type="Observation", body=observation(str(self.chance.random())))
        )

    def _patch(self, which: int) -> None:
        value = {"valueQuantity": {"value": self.chance.randint(50, 99), "unit": "kg"}}
        self._write_on_one(which, "patch", value)

    def _note(self, which: int) -> None:
        shown = self._one(which)
        if shown is not None:
            notes = [*read_json(shown.body).get("note", []), {"text": f"note {self.chance.random()}"}]
            self._write(which, Draft(op="patch", type="Observation", id=shown.id, patch={"note": notes}))

    def _replace(self, which: int) -> None:
        shown = self._one(which)
        if shown is not None:
            body = read_json(shown.body) | {"bodySite": {"text": f"{self.chance.random()}"}}
            self._write(which, Draft(op="replace", type="Observation", id=shown.id, body=body))

    def _delete(self, which: int) -> None:
        self._write_on_one(which, "delete", None)

    def _end(self, which: int) -> None:
        self._write(which, Draft(op="command", type="Consent", id="grant", args={"command": "end"}))

    def _sync(self, which: int) -> None:
        hand = self.hands[which]
        hand.wire.fault = lambda n: None
        report = asyncio.run(hand.phone.sync())
        assert report.trouble is None, report
        assert report.status.is_proved

    def _weak_sync(self, which: int) -> None:
        hand = self.hands[which]
        hand.wire.fault = lambda n: self.chance.choice([None, None, "lost", "cut", "half"])
        asyncio.run(hand.phone.sync())
        hand.wire.fault = lambda n: None

    def _crash(self, which: int) -> None:
        hand = self.hands[which]
        at = hand.storage.commits + self.chance.randint(1, 12)
        hand.storage.crash_at = (at, self.chance.choice(["before", "after"]))
        with contextlib.suppress(Crashed):
            asyncio.run(hand.phone.sync())
        hand.storage.crash_at = None
        self.hands[which] = hand.restarted()

    def _others(self, which: int) -> None:
        items = [item for item in self.server.live() if item[0] == "Observation"]
        if items and self.chance.random() < 0.5:
            item = self.chance.choice(items)
            body = read_json(self.server.live()[item][1]) | {"method": {"text": f"{self.chance.random()}"}}
            self.server.put(*item, write_json(body), by="self")
        else:
            for number in range(4):
                body = b'{"resourceType":"Condition"}'
                self.server.put("Condition", str(number), body, batch=f"b{self.server.head - number}")
        self.server.log_entry(f"somebody wrote at {self.server.head}")

    def _take_back(self, which: int) -> None:
        if ("Condition", "1") in self.server.live():
            self.server.gone("Condition", "1")

    def _copy(self, which: int) -> None:
        hand = self.hands[which]
        kept = {entry.mid for entry in hand.phone.outbox()}
        self.copies[which] = (
            hand.storage.copy()._kept,
            kept | {one.mutation.mid for one in hand.phone.concerns()},
        )

    def _put_back(self, which: int) -> None:
        """The copy knows nothing of what was done since: what was never sent is gone with the phone."""
        if which in self.copies:
            here = {entry.mid for entry in self.hands[which].phone.outbox()}
            here |= {one.mutation.mid for one in self.hands[which].phone.concerns()}
            self.lost_with_copy |= here - self.copies[which][1]
            storage = CrashingStorage()
            storage._kept = copy.deepcopy(self.copies[which][0])
            self.hands[which] = self.hands[which].restarted(storage)

    def _clock(self, which: int) -> None:
        self.hands[which].clock.at += timedelta(days=self.chance.randint(-400, 400))

    def _rebirth(self, which: int) -> None:
        """The key is gone: the phone registers anew and is another device to the server."""
        hand = self.hands[which]
        hand.wire.device = f"phone-{self.chance.randint(10, 99)}-{which}"
        self.server.devices.setdefault(hand.wire.device, "unknown")
        del self.server.devices[hand.wire.device]

    def _reload(self, which: int) -> None:
        self.server.floor = self.server.head

    def _one(self, which: int) -> Any:
        shown = self.hands[which].phone.shown("Observation")
        return self.chance.choice(shown) if shown else None

    def _write_on_one(self, which: int, op: Any, patch: Any) -> None:
        shown = self._one(which)
        if shown is not None:
            self._write(which, Draft(op=op, type="Observation", id=shown.id, patch=patch))

    def _write(self, which: int, draft: Draft) -> None:
        try:
            mutation = self.hands[which].phone.write(draft)
        except NotPossible:
            return
        assert mutation.mid not in self.written
        self.written[mutation.mid] = mutation

    def _outcomes_are_unchanged(self) -> None:
        for mid, (_, _, result) in self.server.outcomes.items():
            assert self.outcomes.setdefault(mid, result) is result


@settings(max_examples=ROUNDS)
@given(STEPS, SEEDS)
def test_whatever_goes_wrong_between_two_phones_nothing_is_lost_or_doubled(steps: list[str], seed: int):
    world = World(random.Random(seed))
    world.run(steps)
    world.settle()
    for hand in world.hands:
        assert same(hand, world.server)
        assert hand.phone.status().is_proved
        assert not [shown for shown in hand.phone.shown() if shown.waiting]
    assert len(world.server.effects) == len(set(world.server.effects))
    in_need = {one.mutation.mid: one for hand in world.hands for one in hand.phone.concerns()}
    for mid, mutation in world.written.items():
        stored = world.server.outcomes.get(mid)
        if mid in in_need:
            assert mutation.op == in_need[mid].mutation.op
        elif mid not in world.lost_with_copy:
            assert stored is not None, "an act vanished"
            assert stored[2].outcome in DONE, "a refusal was shown to nobody"


@settings(max_examples=ROUNDS // 2)
@given(STEPS, SEEDS)
def test_a_restored_server_leads_both_phones_to_the_same_record_with_nothing_lost(
    steps: list[str], seed: int
):
    """I18: the copy of the server is older than what it answered since."""
    world = World(random.Random(seed))
    at = len(steps) // 2
    world.run(steps[:at])
    backup = {name: copy.copy(value) for name, value in vars(world.server).items()}
    for step in steps[at:]:
        getattr(world, f"_{step.replace(' ', '_')}")(world.chance.randrange(2))
    waiting = {entry.mid for hand in world.hands for entry in hand.phone.outbox()}
    head, log = world.server.head, world.server.log
    vars(world.server).update(backup | {"epoch": world.server.epoch + 1, "log": log})
    world.outcomes = {mid: result for mid, (_, _, result) in world.server.outcomes.items()}
    assert world.server.head <= head
    for step in steps[at:]:
        if step in ("others", "sync", "crash"):
            getattr(world, f"_{step.replace(' ', '_')}")(world.chance.randrange(2))
    world.settle()
    for hand in world.hands:
        assert same(hand, world.server)
    in_need = {one.mutation.mid for hand in world.hands for one in hand.phone.concerns()}
    assert waiting - world.lost_with_copy <= set(world.server.outcomes) | in_need
    assert len(world.server.effects) == len(set(world.server.effects))
