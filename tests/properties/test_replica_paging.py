"""I3, I4, I5, I6: paging any way, stopping anywhere and applying twice all end in the same replica."""

import asyncio
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync import replica
from sync.memory import MemoryStorage
from sync.messages import Page
from sync.ports import SHELVES
from tests.unit.sync.phones import Crashed, CrashingStorage, Hand, new_phone, same
from tests.unit.sync.reference_server import Server

Event = tuple[str, int, int]
"""(what, which item, which text): "put", "gone", or "batch" of that many items."""
EVENTS = st.lists(
    st.tuples(st.sampled_from(["put", "put", "gone", "batch"]), st.integers(0, 6), st.integers(0, 3)),
    max_size=14,
)


def happen(server: Server, events: list[Event]) -> None:
    for what, which, text in events:
        body = b'{"resourceType":"Condition","note":[{"text":"%d"}]}' % text
        if what == "put":
            server.put("Condition", str(which), body)
        elif what == "batch":
            for number in range(which + 1):
                server.put("Condition", str(number), body, batch=f"extract {server.head - number}")
        elif ("Condition", str(which)) in server.live():
            server.gone("Condition", str(which))


class ByChance(Server):
    """Cuts each page at another place, and lets others write between two pages."""

    def __init__(self, chance: random.Random, later: list[Event]) -> None:
        super().__init__(segment_seqs=4)
        self.chance = chance
        self.later = later

    def _page(self, device: str, seq: int, *, repair: bool = False) -> Page:
        self.page_rows = self.chance.randint(1, 5)
        page = super()._page(device, seq, repair=repair)
        if self.later and self.chance.random() < 0.3:
            happen(self, [self.later.pop()])
        return page


def shelves(storage: MemoryStorage) -> dict[str, Any]:
    with storage.transaction() as tx:
        return {shelf: list(tx.scan(shelf)) for shelf in SHELVES}


def run(hand: Hand) -> None:
    report = asyncio.run(hand.phone.sync())
    assert report.trouble is None, report


def batches_are_whole(hand: Hand, server: Server) -> bool:
    """No row is shown of a batch of which another row that still stands is missing."""
    shown = {(row.type, row.id): row.version for row in hand.phone.rows()}
    rows = [(item, row.change) for item, row in server.rows.items() if row.change.batch is not None]
    for batch in {change.batch for _, change in rows}:
        here = {shown.get(item, 0) >= change.version for item, change in rows if change.batch == batch}
        if len(here) > 1:
            return False
    return True


@given(EVENTS, EVENTS, st.randoms(use_true_random=False))
def test_paging_any_way_ends_in_the_same_replica(
    before: list[Event], later: list[Event], chance: random.Random
):
    server = ByChance(chance, [])
    happen(server, before)
    first, second = new_phone(server, "phone-1"), new_phone(server, "phone-2")
    run(first)
    assert same(first, server)
    server.later = list(later)
    run(first)
    happen(server, server.later)
    server.later = []
    run(first)
    run(second)
    assert same(first, server)
    assert same(second, server)
    assert first.phone.status().is_proved


@given(EVENTS, st.randoms(use_true_random=False))
def test_a_page_applied_twice_changes_nothing(events: list[Event], chance: random.Random):
    server = ByChance(chance, [])
    hand = new_phone(server)
    run(hand)
    happen(server, events)
    page = server._page("phone-1", server.seq_of("phone-1", hand.phone.cursor() or "") or 0)
    since = hand.phone.cursor()
    with hand.storage.transaction() as tx:
        assert replica.apply_page(tx, since, page) is not None
    once = shelves(hand.storage)
    with hand.storage.transaction() as tx:
        again = replica.apply_page(tx, since, page)
        assert again is None or page.cursor == since
    assert shelves(hand.storage) == once


@given(
    EVENTS,
    EVENTS,
    st.randoms(use_true_random=False),
    st.integers(1, 30),
    st.sampled_from(["before", "after"]),
)
def test_a_process_that_ends_at_any_step_goes_on_to_the_same_replica(
    before: list[Event], later: list[Event], chance: random.Random, at: int, when: str
):
    server = ByChance(chance, [])
    happen(server, before)
    hand = new_phone(server)
    hand.storage.crash_at = (at, when)
    for _ in range(2):
        try:
            run(hand)
        except Crashed:
            hand.storage.crash_at = None
            hand = hand.restarted()
            assert batches_are_whole(hand, server) or not hand.phone.rows()
        happen(server, later)
    hand.storage.crash_at = None
    run(hand)
    assert same(hand, server)


@given(EVENTS, EVENTS, st.randoms(use_true_random=False))
def test_answers_lost_or_cut_in_half_change_nothing_in_the_end(
    before: list[Event], later: list[Event], chance: random.Random
):
    server = ByChance(chance, [])
    happen(server, before)
    hand = new_phone(server)
    hand.wire.fault = lambda n: chance.choice([None, None, "lost", "cut", "half"])
    for _ in range(6):
        asyncio.run(hand.phone.sync())
        happen(server, later[:2])
    hand.wire.fault = lambda n: None
    run(hand)
    assert same(hand, server)


@given(EVENTS, EVENTS, st.randoms(use_true_random=False))
def test_the_rows_of_a_batch_appear_together(before: list[Event], later: list[Event], chance: random.Random):
    server = ByChance(chance, [])
    happen(server, before)
    hand = new_phone(server)
    run(hand)
    happen(server, later)
    while hand.phone.root() != server.root():
        stop = chance.randint(1, 3)
        hand.wire.fault = lambda n, last=hand.wire.calls + stop: "lost" if n >= last else None
        asyncio.run(hand.phone.sync())
        assert batches_are_whole(hand, server)
        hand = hand.restarted()


@given(EVENTS, EVENTS)
def test_a_restored_phone_catches_up_from_where_the_copy_was(before: list[Event], later: list[Event]):
    server = Server(segment_seqs=4, page_rows=3)
    happen(server, before)
    hand = new_phone(server)
    run(hand)
    copy = CrashingStorage()
    copy._kept = hand.storage.copy()._kept
    happen(server, later)
    run(hand)
    restored = hand.restarted(copy)
    run(restored)
    assert same(restored, server)
