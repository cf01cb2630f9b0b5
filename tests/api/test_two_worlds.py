"""Two worlds (THREATS d2): what a caller may not see changes nothing of any answer they get."""

import json
import os
from pathlib import Path

import pytest

from tests.api.two_worlds_hidden import Extra
from tests.api.two_worlds_play import DENSE, QUICK, Pace, play_given, play_pairs, seeds_from


async def _nothing_shows(pairs: int, pace: Pace) -> None:
    outcome = await play_pairs(seeds_from(), pairs, pace)
    print(outcome.line())
    assert not outcome.differences, "\n".join(str(each) for each in outcome.differences)
    assert outcome.pairs == pairs


async def test_a_few_hidden_things_show_nowhere() -> None:
    await _nothing_shows(20, DENSE)


@pytest.mark.slow
async def test_two_hundred_hidden_things_show_nowhere() -> None:
    await _nothing_shows(200, DENSE)


@pytest.mark.prove
@pytest.mark.timeout(7200)
async def test_five_thousand_hidden_things_show_nowhere() -> None:
    await _nothing_shows(5_000, QUICK)


async def test_pairs_from_outside_show_nowhere() -> None:
    """HELD_PAIRS names a folder of `{"reader": "doctor", "both": [resources], "hidden": [resources]}`."""
    folder = os.environ.get("HELD_PAIRS")
    if folder is None:
        pytest.skip("HELD_PAIRS names no folder of further pairs")
    given = [_pair_in(path) for path in sorted(Path(folder).glob("*.json"))]
    outcome = await play_given(given)
    print(outcome.line())
    assert not outcome.differences, "\n".join(str(each) for each in outcome.differences)


def _pair_in(path: Path) -> tuple[str, Extra]:
    said = json.loads(path.read_text())
    reader = said["reader"]
    is_told = reader == "owner"
    return reader, Extra(path.stem, both=said.get("both", ()), hidden=said["hidden"], is_told=is_told)
