"""THREATS test h: tampered logs are all found, honest ones raise no alarm, a faulty verifier is caught."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sync.log_verifier import Claim, Fault, Mark, Pin, judge_claim, start_of, verify
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
)

SEED = 20_261_122
START = start_of(LOG_ID)
Verifier = Callable[[Pin, Sequence[Mark], Sequence[Claim]], Pin | Fault]


def edit(log: Log, at: int, chance: random.Random) -> None:
    row = log.rows[at]
    byte = chance.randrange(len(row.sealed))
    changed = bytes([row.sealed[byte] ^ chance.randint(1, 255)])
    log.rows[at] = replace(row, sealed=row.sealed[:byte] + changed + row.sealed[byte + 1 :])


def delete(log: Log, at: int, chance: random.Random) -> None:
    del log.rows[at]
    if chance.random() < 0.5:
        renumber(log)


def insert(log: Log, at: int, chance: random.Random) -> None:
    copy = chance.choice(log.rows)
    log.rows.insert(at, copy if chance.random() < 0.5 else Row(0, chance.randbytes(60), b"l" * 32, b"r" * 32))
    renumber(log)


def exchange(log: Log, at: int, chance: random.Random) -> None:
    other = chance.choice([position for position in range(len(log.rows)) if position != at])
    log.rows[at], log.rows[other] = log.rows[other], log.rows[at]
    renumber(log)


def cut(log: Log, at: int, chance: random.Random) -> None:
    del log.rows[at:]


def roll_back(log: Log, at: int, chance: random.Random) -> None:
    del log.rows[at:]
    move_head(log)


def fork(log: Log, at: int, chance: random.Random) -> None:
    """What only the holder of the key can do."""
    roll_back(log, at, chance)
    for number in range(chance.randint(0, 30)):
        log.append(b"another history %d" % number)


ATTACKS = (edit, delete, insert, exchange, cut, roll_back, fork)
FORGERIES: Sequence[Callable[[Log, int], None]] = (
    lambda log, at: None,
    recompute_leaf,
    recompute_row,
    recompute_from,
)


def tampered(chance: random.Random, true: Log) -> Log:
    log, attack = true.copy(), chance.choice(ATTACKS)
    at = chance.randrange(len(log.rows))
    attack(log, at, chance)
    if attack not in (cut, roll_back, fork):
        chance.choice(FORGERIES)(log, min(at, len(log.rows) - 1))
        if chance.random() < 0.5:
            move_head(log)
    return log


def missed_and_false(verifier: Verifier, rounds: int, seed: int) -> tuple[int, int]:
    """How many tampered logs went unnoticed, and how many honest ones raised an alarm."""
    chance, missed, false = random.Random(seed), 0, 0
    for number in range(rounds):
        true = honest_log(chance.randint(2, 40), salt=b"%d " % number)
        kept = [true.checkpoint(chance.randint(0, true.size)), true.checkpoint()]
        log = tampered(chance, true)
        found = verifier(START, log.marks(with_key=True), [log.head(), *kept])
        missed += not isinstance(found, Fault)
        pinned = chance.randint(0, true.size)
        pin = Pin(LOG_ID, pinned, true.checkpoint(pinned).root)
        marks = true.marks(with_key=chance.random() < 0.5, after=pinned)
        false += isinstance(verifier(pin, marks, [true.head(), *kept]), Fault)
        false += judge_claim(pin, true.checkpoint()) is not None
    return missed, false


def skips_an_end(pin: Pin, marks: Sequence[Mark], claims: Sequence[Claim]) -> Pin | Fault:
    return verify(pin, marks, [claim for claim in claims if claim.size <= pin.size + len(marks)])


def ignores_an_old_head(pin: Pin, marks: Sequence[Mark], claims: Sequence[Claim]) -> Pin | Fault:
    return verify(pin, marks, [claim for claim in claims if claim.source == "head"])


def believes_stated_hashes(pin: Pin, marks: Sequence[Mark], claims: Sequence[Claim]) -> Pin | Fault:
    believed = [mark._replace(leaf=mark.stated_leaf or mark.leaf, opens_as=mark.n) for mark in marks]
    return verify(pin, believed, claims)


def alarms_at_every_checkpoint(pin: Pin, marks: Sequence[Mark], claims: Sequence[Claim]) -> Pin | Fault:
    return verify(pin, marks, [replace_size(claim) for claim in claims])


def replace_size(claim: Claim) -> Claim:
    return Claim(claim.size + 1, claim.root, claim.source)


FAULTY: tuple[Verifier, ...] = (
    skips_an_end,
    ignores_an_old_head,
    believes_stated_hashes,
    alarms_at_every_checkpoint,
)


@pytest.mark.parametrize(
    "rounds", [500, pytest.param(10_000, marks=[pytest.mark.prove, pytest.mark.slow])], ids=["some", "all"]
)
def test_all_tampering_is_found_and_no_honest_log_raises_an_alarm(rounds: int):
    missed, false = missed_and_false(verify, rounds, SEED)
    caught = sum(missed_and_false(faulty, rounds, SEED) != (0, 0) for faulty in FAULTY)
    figures = {
        "test": "h",
        "tampered": rounds,
        "missed": missed,
        "honest": rounds,
        "false_alarms": false,
        "seed": SEED,
        "planted_faults_caught": f"{caught}/{len(FAULTY)}",
    }
    print(json.dumps(figures))
    assert (missed, false, caught) == (0, 0, len(FAULTY))
