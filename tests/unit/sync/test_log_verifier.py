import hashlib
import time
from dataclasses import replace

import pytest

from sync.log_verifier import (
    Claim,
    Fault,
    FaultKind,
    Mark,
    Pin,
    judge_claim,
    leaf_of,
    next_root,
    start_of,
    verify,
)
from tests.unit.sync.logs import LOG_ID, Log, Row, honest_log, recompute_from, renumber

START = start_of(LOG_ID)


def check(log: Log, *more: Claim, with_key: bool = False) -> Pin | Fault:
    return verify(START, log.marks(with_key=with_key), [log.head(), *more])


def fault_of(log: Log, *more: Claim, with_key: bool = False) -> Fault:
    found = check(log, *more, with_key=with_key)
    assert isinstance(found, Fault)
    return found


def test_the_hashes_are_the_published_ones():
    leaf = hashlib.sha256(b"\x00sealed").digest()
    assert leaf_of(b"sealed") == leaf
    assert START.root == hashlib.sha256(LOG_ID).digest()
    assert next_root(START.root, leaf) == hashlib.sha256(b"\x01" + START.root + leaf).digest()


def test_an_empty_log_verifies():
    assert check(Log()) == START


def test_an_honest_log_verifies_to_its_own_head():
    log = honest_log(12)
    assert check(log, log.checkpoint(5), log.checkpoint(0)) == Pin(LOG_ID, 12, log.root)


def test_ten_thousand_entries_verify_within_a_second():
    log = honest_log(10_000)
    marks = log.marks(with_key=False)
    started = time.perf_counter()
    assert verify(START, marks, [log.head()]) == Pin(LOG_ID, 10_000, log.root)
    assert time.perf_counter() - started < 1


def test_a_pinned_log_verifies_from_the_pin_alone():
    log = honest_log(20)
    pin = Pin(LOG_ID, 8, log.rows[7].root)
    assert verify(pin, log.marks(with_key=True, after=8), [log.checkpoint()]) == Pin(LOG_ID, 20, log.root)


def test_entries_without_stated_hashes_are_held_to_the_checkpoint():
    log = honest_log(4)
    bare = [Mark(row.n, leaf_of(row.sealed)) for row in log.rows]
    assert verify(START, bare, [log.checkpoint()]) == Pin(LOG_ID, 4, log.root)
    bare[2] = Mark(3, leaf_of(b"other"))
    found = verify(START, bare, [log.checkpoint(2), log.checkpoint()])
    assert isinstance(found, Fault)
    assert (found.kind, found.n, found.n_last) == (FaultKind.FORKED, 3, 4)


@pytest.mark.parametrize("with_key", [False, True])
def test_an_edited_entry_is_named(with_key: bool):
    log = honest_log(9)
    log.rows[6] = replace(log.rows[6], sealed=b"something else altogether, sealed with no key")
    found = fault_of(log, with_key=with_key)
    assert (found.kind, found.n) == (FaultKind.EDITED, 7)
    assert found.sentence == "Entry 7 was changed after it was written."


@pytest.mark.parametrize("column", ["leaf", "root"])
@pytest.mark.parametrize("with_key", [False, True])
def test_an_edited_hash_is_named(column: str, with_key: bool):
    log = honest_log(9)
    log.rows[6] = replace(log.rows[6], **{column: b"?" * 32})
    found = fault_of(log, with_key=with_key)
    assert (found.kind, found.n, found.n_last) == (FaultKind.EDITED, 7, 7)


@pytest.mark.parametrize("is_renumbered", [False, True])
@pytest.mark.parametrize("with_key", [False, True])
def test_a_deleted_entry_is_named(is_renumbered: bool, with_key: bool):
    log = honest_log(9)
    del log.rows[3]
    if is_renumbered:
        renumber(log)
    found = fault_of(log, with_key=with_key)
    assert found.kind is FaultKind.DELETED
    assert found.n <= 4 <= found.n_last


@pytest.mark.parametrize("with_key", [False, True])
def test_an_inserted_entry_is_named(with_key: bool):
    log = honest_log(9)
    log.rows.insert(3, Row(4, b"new", leaf_of(b"new"), next_root(log.rows[2].root, leaf_of(b"new"))))
    renumber(log)
    found = fault_of(log, with_key=with_key)
    assert (found.kind, found.n) == (FaultKind.INSERTED, 4)


@pytest.mark.parametrize("other", [4, 8])
@pytest.mark.parametrize("with_key", [False, True])
def test_exchanged_entries_are_named(other: int, with_key: bool):
    log = honest_log(9)
    log.rows[3], log.rows[other] = log.rows[other], log.rows[3]
    renumber(log)
    found = fault_of(log, with_key=with_key)
    assert (found.kind, found.n) == (FaultKind.REORDERED, 4)


def test_exchanged_contents_are_named():
    log = honest_log(9)
    third, sixth = log.rows[2], log.rows[5]
    log.rows[2], log.rows[5] = replace(third, sealed=sixth.sealed), replace(sixth, sealed=third.sealed)
    found = fault_of(log)
    assert (found.kind, found.n) == (FaultKind.REORDERED, 3)


def test_entries_sent_out_of_order_are_named():
    log = honest_log(9)
    log.rows[3], log.rows[6] = log.rows[6], log.rows[3]
    found = fault_of(log)
    assert (found.kind, found.n) == (FaultKind.REORDERED, 4)


def test_an_entry_sent_twice_is_named():
    log = honest_log(5)
    log.rows.insert(3, log.rows[2])
    found = fault_of(log)
    assert (found.kind, found.n) == (FaultKind.INSERTED, 4)


def test_entries_cut_off_are_missed_by_the_head():
    log = honest_log(57)
    del log.rows[41:]
    found = fault_of(log, with_key=True)
    assert (found.kind, found.n) == (FaultKind.TRUNCATED, 42)
    assert found.sentence == "The log ends at 41, its own head says 57."


def test_entries_cut_off_with_the_head_are_missed_by_the_checkpoint():
    log, older = honest_log(57), honest_log(41)
    found = fault_of(older, log.checkpoint(), with_key=True)
    assert (found.kind, found.n) == (FaultKind.OLDER_COPY, 42)
    assert found.sentence == "The log is an older copy: it ends at 41, the checkpoint says 57."


def test_entries_beyond_the_head_are_named():
    log, longer = honest_log(5), honest_log(7)
    log.rows = longer.rows
    found = fault_of(log)
    assert (found.kind, found.n) == (FaultKind.INSERTED, 6)


def test_a_history_rewritten_throughout_is_found_between_two_checkpoints():
    log, rewritten = honest_log(9), honest_log(9)
    rewritten.rows[5] = replace(rewritten.rows[5], sealed=b"rewritten")
    recompute_from(rewritten, 5)
    rewritten.root = rewritten.rows[-1].root
    found = fault_of(rewritten, log.checkpoint(4), log.checkpoint(7), log.checkpoint(9))
    assert (found.kind, found.n, found.n_last) == (FaultKind.FORKED, 5, 7)


def test_a_rewritten_history_with_the_key_is_named_exactly():
    log = honest_log(9)
    log.rows[5] = replace(log.rows[5], sealed=b"rewritten")
    recompute_from(log, 5)
    log.root = log.rows[-1].root
    assert fault_of(log, with_key=True).n == 6


def test_a_head_that_does_not_fit_is_found():
    log = honest_log(5)
    log.root = b"?" * 32
    found = fault_of(log, Claim(4, log.rows[-2].root, "note"))
    assert (found.kind, found.n, found.n_last) == (FaultKind.HEAD, 5, 5)
    assert found.sentence == "Entry 5 or the log's head was changed: they do not fit."


def test_a_smaller_or_unlike_checkpoint_alone_is_an_alarm():
    log, other = honest_log(9), honest_log(9, salt=b"other")
    pin = Pin(LOG_ID, 9, log.root)
    older, forked = judge_claim(pin, log.checkpoint(8)), judge_claim(pin, other.checkpoint())
    assert older is not None
    assert (older.kind, older.n) == (FaultKind.OLDER_COPY, 9)
    assert forked is not None
    assert (forked.kind, forked.n, forked.n_last) == (FaultKind.FORKED, 1, 9)
    assert judge_claim(pin, log.checkpoint()) is None
    assert judge_claim(pin, honest_log(10).checkpoint()) is None
