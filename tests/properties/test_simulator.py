"""Seeds of the simulator: whatever is lost, repeated, stopped or restored, SYNC 3.11 holds."""

import functools
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.properties.simulate import run_seeds
from tests.properties.simulate_script import run_seed
from tests.properties.simulate_server import Keys
from tests.properties.simulate_storage import frail_storage
from tests.properties.simulate_world import SKEWS, YEAR

FIRST = 20
MORE = range(FIRST + 1, 301)
SEEDS_PER_PROOF = 1_000


@functools.cache
def _keys() -> Keys:
    return Keys.make()


async def _hold(seeds: range) -> None:
    run = await run_seeds(seeds)
    print(json.dumps(run.as_json()))
    assert not run.broken, run.told()
    assert run.seeds == len(seeds)


async def _results(seed: int, skews: Sequence[timedelta] = SKEWS) -> tuple[str, ...]:
    """What became of each act of a seed, played on a database of its own."""
    async with frail_storage() as storage:
        return (await run_seed(storage, _keys(), seed, skews=skews)).results


async def test_the_first_seeds_break_nothing() -> None:
    await _hold(range(1, FIRST + 1))


async def test_a_seed_is_played_the_same_way_each_time() -> None:
    assert await _results(3) == await _results(3)


async def test_wrong_clocks_change_no_outcome() -> None:
    applied = 0
    for seed in range(1, 6):
        right = await _results(seed, skews=(timedelta(0),) * len(SKEWS))
        assert await _results(seed) == right
        assert await _results(seed, skews=(YEAR, -YEAR, -YEAR, YEAR)) == right
        applied += sum("applied" in result for result in right)
    assert applied > 10


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_three_hundred_seeds_break_nothing() -> None:
    await _hold(MORE)


@pytest.mark.prove
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("first", range(1, 5_001, SEEDS_PER_PROOF))
async def test_thousands_of_seeds_break_nothing(first: int) -> None:
    await _hold(range(first, first + SEEDS_PER_PROOF))
