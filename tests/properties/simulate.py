"""The deterministic simulator: the real phone engine, sync service and storage, and all that goes wrong.

`python -m tests.properties.simulate --seeds 1-300` plays each seed: phones that write offline, lost, late,
repeated and cut answers, stops at commits on both sides, restored phones and servers, wrong clocks.
It prints one line of JSON; `--trace` prints what happened in a seed that broke an invariant of SYNC 3.11.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

from tests.properties.simulate_script import Outcome, run_seed
from tests.properties.simulate_server import Keys
from tests.properties.simulate_storage import frail_storage


class Run(NamedTuple):
    """What came of some seeds."""

    seeds: int
    steps: int
    seconds: float
    broken: tuple[Outcome, ...]

    def as_json(self) -> dict[str, object]:
        """The line that is printed."""
        return {
            "seeds": self.seeds,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "violations": [
                {"seed": outcome.seed, "broken": [str(one) for one in outcome.violations]}
                for outcome in self.broken
            ],
        }

    def told(self) -> str:
        """The first broken seed, for a test's message."""
        if not self.broken:
            return "nothing is broken"
        first = self.broken[0]
        lines = [f"seed {first.seed} breaks", *map(str, first.violations), *first.trace[-60:]]
        return "\n".join(lines)


async def run_seeds(seeds: Iterable[int], *, stop_early: bool = True) -> Run:
    """Plays the seeds one after another; stops at the first that breaks anything, unless told to go on."""
    began, played, steps, broken = time.perf_counter(), 0, 0, list[Outcome]()
    keys = Keys.make()
    async with frail_storage() as storage:
        for seed in seeds:
            outcome = await _played(storage, keys, seed)
            played, steps = played + 1, steps + outcome.steps
            if outcome.violations:
                broken.append(outcome)
                if stop_early:
                    break
    return Run(played, steps, time.perf_counter() - began, tuple(broken))


async def _played(storage: object, keys: Keys, seed: int) -> Outcome:
    try:
        return await run_seed(storage, keys, seed)
    except Exception as error:
        error.add_note(f"This was seed {seed}.")
        raise


def main() -> int:
    """1 when anything is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="1-300", help="A-B, or one number")
    parser.add_argument("--all", action="store_true", help="go on after the first broken seed")
    parser.add_argument("--trace", action="store_true", help="print what happened in broken seeds")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    run = asyncio.run(run_seeds(seeds, stop_early=not arguments.all))
    if arguments.trace:
        for outcome in run.broken:
            print("\n".join([f"seed {outcome.seed}", *outcome.trace, *map(str, outcome.violations)]))
    print(json.dumps(run.as_json()))
    return 1 if run.broken else 0


if __name__ == "__main__":
    sys.exit(main())
