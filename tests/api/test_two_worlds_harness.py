"""The second net catches: what two worlds may differ in, what they may not, and that a leak is found."""

from pathlib import Path
from random import Random

import pytest

from tests.api.two_worlds import Call, parted
from tests.api.two_worlds_cast import begin, everyone
from tests.api.two_worlds_hidden import Extra
from tests.api.two_worlds_items import make
from tests.api.two_worlds_play import Chapter, play_given
from tests.api.two_worlds_transcript import Answer, Comparison

ONE = "00000000-0000-4000-8000-00000000000a"
TWO = "00000000-0000-4000-8000-00000000000b"
THREE = "00000000-0000-4000-8000-00000000000c"


def answer(body: str, **headers: str) -> Answer:
    return Answer(200, tuple(headers.items()), body.encode())


def test_tokens_may_differ_and_nothing_else() -> None:
    said = '{{"id":"{}","hash":"{}","size":7}}'
    one = answer(said.format(ONE, "a+" * 11), date="now", nonce="same")
    assert (
        Comparison().difference(one, answer(said.format(TWO, "bC" * 11), date="then", nonce="same")) is None
    )
    assert Comparison().difference(one, answer(said.format(TWO, "bC" * 11).replace("7", "8"))) is not None


@pytest.mark.parametrize(
    "other",
    [
        answer(f'"{ONE}" of 2026', a="1")._replace(status=404),
        answer(f'"{ONE}" of 2027', a="1"),
        answer(f'"{ONE}" of 2026 ', a="1"),
        answer(f'"{ONE}" of 2026', a="2"),
        answer(f'"{ONE}" of 2026', a="1", b="1"),
    ],
)
def test_any_other_difference_is_told(other: Answer) -> None:
    assert Comparison().difference(answer(f'"{ONE}" of 2026', a="1"), other) is not None


def test_a_token_stands_for_one_thing() -> None:
    comparison = Comparison()
    assert comparison.difference(answer(ONE), answer(TWO)) is None
    assert comparison.difference(answer(ONE), answer(TWO)) is None
    assert comparison.difference(answer(ONE), answer(THREE)) is not None
    assert comparison.difference(answer(THREE), answer(TWO)) is not None


def test_tokens_are_of_one_length_and_fixed_ids_stay() -> None:
    short, long = '"' + "aB" * 11 + '"', '"' + "aB" * 12 + '"'
    assert Comparison().difference(answer(short), answer(long)) is not None
    assert Comparison([ONE]).difference(answer(ONE), answer(TWO)) is not None
    assert Comparison([ONE]).difference(answer(ONE), answer(ONE)) is None


def test_digests_are_no_tokens() -> None:
    assert Comparison().difference(answer('"' + "a1" * 32 + '"'), answer('"' + "a2" * 32 + '"')) is not None


async def test_a_pair_from_outside_is_played() -> None:
    hidden, open_to_all = make("Immunization", "kept", "HIDDEN"), make("Observation", "more", "One more")
    kept_back, shown = Extra("kept back", hidden=[hidden]), Extra("open", hidden=[open_to_all])
    outcome = await play_given([("doctor", kept_back), ("doctor", shown)])
    assert [(each.pair, each.extra) for each in outcome.differences] == [(2, "open")]


async def test_what_a_reader_may_see_in_one_world_alone_is_found(tmp_path: Path) -> None:
    rng = Random(1)
    cast = await begin(tmp_path / "base", rng, 1)
    person = cast.people[0]
    async with parted(tmp_path, everyone(1), tmp_path / "base") as worlds:
        chapter = Chapter(1, worlds, cast, rng)
        comparison = Comparison()
        search = Call("GET", "/fhir/Observation?_count=200")
        before = await worlds.both(person.callers["doctor"], search)
        assert comparison.difference(*before) is None
        assert before[0].status == 200
        await chapter.send(worlds.with_hidden, person, [make("Observation", "more", "One more")], "1")
        told = comparison.difference(*await worlds.both(person.callers["doctor"], search))
        assert told is not None
        assert comparison.difference(*await worlds.both(person.callers["stranger"], search)) is None
