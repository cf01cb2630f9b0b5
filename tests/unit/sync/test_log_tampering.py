"""THREATS h: whatever is done to a log is found, and an honest log never raises an alarm."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.log_verifier import Fault, FaultKind, Pin, judge_claim, start_of, verify
from tests.unit.sync.logs import (
    LOG_ID,
    Log,
    Row,
    honest_log,
    move_head,
    recompute_from,
    recompute_leaf,
    recompute_row,
    renumber,
    seal,
)

START = start_of(LOG_ID)
EXAMPLES = 200
EXAMPLES_PER_CASE = 30

FORGERIES: dict[str, Callable[[Log, int], None]] = {
    "as it is": lambda log, position: None,
    "with its leaf": recompute_leaf,
    "with its row": recompute_row,
    "with all that follow": recompute_from,
}


@st.composite
def edited(draw: st.DrawFn, log: Log) -> tuple[int, FaultKind]:
    position = draw(st.integers(0, len(log.rows) - 1))
    row = log.rows[position]
    at = draw(st.integers(0, len(row.sealed) - 1))
    changed = bytes([row.sealed[at] ^ draw(st.integers(1, 255))])
    log.rows[position] = replace(row, sealed=row.sealed[:at] + changed + row.sealed[at + 1 :])
    return position, FaultKind.EDITED


@st.composite
def deleted(draw: st.DrawFn, log: Log) -> tuple[int, FaultKind]:
    position = draw(st.integers(0, len(log.rows) - 1))
    del log.rows[position]
    if draw(st.booleans()):
        renumber(log)
    return position, FaultKind.TRUNCATED if position == len(log.rows) else FaultKind.DELETED


@st.composite
def inserted(draw: st.DrawFn, log: Log) -> tuple[int, FaultKind]:
    position = draw(st.integers(0, len(log.rows)))
    copied = draw(st.none() | st.integers(0, len(log.rows) - 1))
    new = Row(0, draw(st.binary(min_size=40, max_size=60)), b"l" * 32, b"r" * 32)
    log.rows.insert(position, new if copied is None else log.rows[copied])
    renumber(log)
    # A copy put in beside its original cannot be told from it: the later of the two is the one too many.
    if copied is not None and position == copied:
        position += 1
    return position, FaultKind.INSERTED


@st.composite
def exchanged(draw: st.DrawFn, log: Log) -> tuple[int, FaultKind]:
    first = draw(st.integers(0, len(log.rows) - 2))
    second = draw(st.integers(first + 1, len(log.rows) - 1))
    one, other = log.rows[first], log.rows[second]
    match draw(st.sampled_from(["bytes", "entries", "rows"])):
        case "bytes":
            log.rows[first] = replace(one, sealed=other.sealed)
            log.rows[second] = replace(other, sealed=one.sealed)
        case "entries":
            log.rows[first] = replace(one, sealed=other.sealed, leaf=other.leaf)
            log.rows[second] = replace(other, sealed=one.sealed, leaf=one.leaf)
        case _:
            log.rows[first], log.rows[second] = other, one
            renumber(log)
    return first, FaultKind.REORDERED


@st.composite
def truncated(draw: st.DrawFn, log: Log) -> tuple[int, FaultKind]:
    size = draw(st.integers(0, len(log.rows) - 1))
    del log.rows[size:]
    return size, FaultKind.TRUNCATED


ATTACKS = {attack.__name__: attack for attack in (edited, deleted, inserted, exchanged, truncated)}


def found_in(log: Log, checkpoints: list[int], true: Log, *, with_key: bool) -> Fault | Pin:
    claims = [log.head(), *(true.checkpoint(size) for size in checkpoints)]
    return verify(START, log.marks(with_key=with_key), claims)


@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
@settings(max_examples=EXAMPLES_PER_CASE, deadline=None)
@given(data=st.data(), size=st.integers(2, 24))
def test_what_was_done_to_the_stored_rows_is_named(
    attack: str, with_key: bool, data: st.DataObject, size: int
):
    log = honest_log(size)
    position, kind = data.draw(ATTACKS[attack](log))
    found = found_in(log, [], log, with_key=with_key)
    assert isinstance(found, Fault)
    assert found.n <= position + 1 <= found.n_last
    if with_key:
        assert found.n == found.n_last
    assert found.kind is kind
    assert found.sentence


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("attack", ["edited", "deleted", "inserted", "exchanged"])
@settings(max_examples=EXAMPLES_PER_CASE, deadline=None)
@given(data=st.data(), size=st.integers(2, 24), is_head_moved=st.booleans())
def test_a_thief_who_makes_the_chain_fit_is_named_by_who_holds_the_key(
    attack: str, forgery: str, data: st.DataObject, size: int, is_head_moved: bool
):
    true, log = honest_log(size), honest_log(size)
    position, _ = data.draw(ATTACKS[attack](log))
    if position < len(log.rows):
        FORGERIES[forgery](log, position)
    if is_head_moved:
        move_head(log)
    found = found_in(log, [size], true, with_key=True)
    assert isinstance(found, Fault)
    assert (found.n, found.n_last) == (position + 1, position + 1)


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("attack", ATTACKS)
@settings(max_examples=EXAMPLES_PER_CASE, deadline=None)
@given(data=st.data(), size=st.integers(2, 24), is_head_moved=st.booleans())
def test_a_thief_who_makes_the_chain_fit_is_found_by_a_checkpoint_alone(
    attack: str, forgery: str, data: st.DataObject, size: int, is_head_moved: bool
):
    true, log = honest_log(size), honest_log(size)
    position, _ = data.draw(ATTACKS[attack](log))
    if position < len(log.rows):
        FORGERIES[forgery](log, position)
    if is_head_moved:
        move_head(log)
    kept = [*sorted(data.draw(st.sets(st.integers(0, size)))), size]
    found = found_in(log, kept, true, with_key=False)
    # An entry put in after all others leaves everything that was signed as it was; only the head or the key
    # tells. Who has neither has learnt nothing false about the entries that were signed.
    if attack == "inserted" and position == size and is_head_moved and forgery in _FITTING:
        assert isinstance(found, Pin)
        return
    assert isinstance(found, Fault)
    # Of two exchanged entries, the hashes alone may show the second only, when the first was made to fit.
    if attack != "exchanged":
        assert found.n <= position + 1 <= found.n_last


_FITTING = ("with its row", "with all that follow")


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), size=st.integers(1, 30), is_head_moved=st.booleans())
def test_an_older_copy_is_found_by_the_pinned_checkpoint(data: st.DataObject, size: int, is_head_moved: bool):
    true = honest_log(size)
    older = honest_log(data.draw(st.integers(0, size - 1)))
    if not is_head_moved:
        older.size, older.root = true.size, true.root
    found = found_in(older, [size], true, with_key=True)
    assert isinstance(found, Fault)
    assert found.kind is (FaultKind.OLDER_COPY if is_head_moved else FaultKind.TRUNCATED)
    assert found.n == found.n_last == len(older.rows) + 1


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), size=st.integers(1, 20), added=st.integers(0, 20))
def test_an_older_copy_that_went_on_differently_is_found_even_when_its_keeper_has_the_key(
    data: st.DataObject, size: int, added: int
):
    true = honest_log(size)
    common = data.draw(st.integers(0, size - 1))
    forked = honest_log(common)
    for number in range(size - common + added):
        forked.append(b"another history %d" % number)
    kept = [*sorted(data.draw(st.sets(st.integers(0, common)))), size]
    found = found_in(forked, kept, true, with_key=True)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.FORKED
    assert found.n <= common + 1 <= found.n_last


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), size=st.integers(0, 40))
def test_an_honest_log_never_raises_an_alarm(data: st.DataObject, size: int):
    log = honest_log(size)
    sizes = data.draw(st.lists(st.integers(0, size)))
    pinned = data.draw(st.integers(0, size))
    pin = Pin(LOG_ID, pinned, log.checkpoint(pinned).root)
    with_key = data.draw(st.booleans())
    claims = [log.head(), *(log.checkpoint(one) for one in sizes)]
    assert verify(pin, log.marks(with_key=with_key, after=pinned), claims) == Pin(LOG_ID, size, log.root)
    newest = log.checkpoint()
    assert judge_claim(pin, newest) is None


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.data(), size=st.integers(0, 30))
def test_a_log_read_page_by_page_ends_at_the_same_pin(data: st.DataObject, size: int):
    log = honest_log(size)
    pin: Pin | Fault = START
    while isinstance(pin, Pin) and pin.size < size:
        until = data.draw(st.integers(pin.size + 1, size))
        page = [mark for mark in log.marks(with_key=True, after=pin.size) if mark.n <= until]
        pin = verify(pin, page)
    assert pin == Pin(LOG_ID, size, log.root)


def test_the_model_of_a_seal_binds_its_place():
    assert seal(1, b"text") != seal(2, b"text")
