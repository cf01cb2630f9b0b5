"""Plays pairs: something hidden happens in the second world, and a script is played in both and compared.

Many pairs share two worlds, which grow apart in nothing that the reader of a record may see. A chapter is the
life of two worlds; it ends early at the first difference, since all that follows could come from it.
"""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from tests.api.matrix import routes_of
from tests.api.two_worlds import Call, Half, TwoWorlds, parted
from tests.api.two_worlds_cast import Cast, Person, begin, everyone
from tests.api.two_worlds_hidden import Extra, Hiding, together
from tests.api.two_worlds_items import Resource
from tests.api.two_worlds_script import Script
from tests.api.two_worlds_transcript import Answer, Comparison
from tests.extracts import bundle, encoded

READERS = (
    "doctor",
    "doctor",
    "doctor",
    "doctor",
    "doctor",
    "pharmacist",
    "pharmacist",
    "owner",
    "owner",
    "outsiders",
)
"""Who each record of a chapter hides things from. The slices of the readers follow the record's place."""
OUTSIDERS = ("stranger", "another citizen", "integrator of another organisation")
MEMORY = Path("/dev/shm")


class Pace(NamedTuple):
    """How much happens in a pair, and how many pairs two worlds are good for."""

    kinds: int
    calls: int
    pairs: int


DENSE = Pace(kinds=6, calls=22, pairs=100)
QUICK = Pace(kinds=2, calls=12, pairs=250)


class Difference(NamedTuple):
    """What should not have shown: enough to find it again."""

    seed: int
    pair: int
    extra: str
    caller: str
    call: str
    what: str

    def __str__(self) -> str:
        where = f"seed {self.seed}, pair {self.pair}: {self.extra}"
        return f"{where}; the {self.caller} called {self.call}: {self.what}"


class Outcome(NamedTuple):
    """What many pairs came to."""

    seeds: Sequence[int]
    pairs: int
    calls: int
    kinds: Counter[str]
    differences: list[Difference]

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "test": "d2",
                "pairs": self.pairs,
                "calls": self.calls,
                "seeds": [self.seeds[0], self.seeds[-1]],
                "kinds": dict(sorted(self.kinds.items())),
                "differences": len(self.differences),
            }
        )


async def play_pairs(first_seed: int, pairs: int, pace: Pace = DENSE) -> Outcome:
    """Plays so many pairs, in chapters of their own seeds from the first on, up to a difference."""
    outcome = Outcome([], 0, 0, Counter(), [])
    seeds: list[int] = []
    done = calls = 0
    while done < pairs:
        seed = first_seed + len(seeds)
        seeds.append(seed)
        chapter = await play_chapter(seed, min(pace.pairs, pairs - done), pace)
        done += chapter.pairs
        calls += chapter.calls
        outcome.kinds.update(chapter.kinds)
        outcome.differences.extend(chapter.differences)
        if outcome.differences:
            break
    return outcome._replace(seeds=seeds, pairs=done, calls=calls)


async def play_chapter(seed: int, pairs: int, pace: Pace) -> Outcome:
    """Two worlds of this seed, and so many pairs in them or fewer, up to the first difference."""
    rng = Random(seed)
    # Nothing here is to outlive a power cut, so that the worlds need no disk where there is a better place.
    memory = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="held-two-worlds-", dir=memory) as name:
        folder = Path(name)
        cast = await begin(folder / "base", rng, len(READERS))
        async with parted(folder, everyone(len(READERS)), folder / "base") as worlds:
            chapter = Chapter(seed, worlds, cast, rng)
            for pair in range(1, pairs + 1):
                await chapter.play(pair, pace)
                if chapter.differences:
                    break
            return Outcome([seed], pair, chapter.calls, chapter.kinds, chapter.differences)


async def play_given(pairs: Sequence[tuple[str, Extra]]) -> Outcome:
    """Plays pairs from outside, each a reader and what is hidden from them, all in the same two worlds."""
    rng = Random(1)
    with tempfile.TemporaryDirectory(prefix="held-two-worlds-") as name:
        folder = Path(name)
        cast = await begin(folder / "base", rng, len(READERS))
        async with parted(folder, everyone(len(READERS)), folder / "base") as worlds:
            chapter = Chapter(1, worlds, cast, rng)
            for pair, (reader, extra) in enumerate(pairs, start=1):
                await chapter.play_given(pair, reader, extra)
            return Outcome([1], len(pairs), chapter.calls, Counter(), chapter.differences)


class Chapter:
    """The records of two worlds, each with the reader it hides things from."""

    def __init__(self, seed: int, worlds: TwoWorlds, cast: Cast, rng: Random) -> None:
        self._seed = seed
        self._worlds = worlds
        self._practice = cast.practice
        self._rng = rng
        routes = routes_of(worlds.without.held.app.application)
        self._pages = [
            _Page(person, reader, Hiding(person, reader, rng), Script(person, rng, routes))
            for person, reader in zip(cast.people, READERS, strict=False)
        ]
        fixed = [name.partition("/")[2] for person in cast.people for name in person.names.values()]
        self._comparison = Comparison([*fixed, *(person.record_id for person in cast.people)])
        self._due: list[_Page] = []
        # The names that an extract's items are served by, by record and the source's own name.
        self._served: dict[tuple[str, str], str] = {}
        self.kinds: Counter[str] = Counter()
        self.differences: list[Difference] = []
        self.calls = 0

    async def play(self, pair: int, pace: Pace) -> None:
        """One pair, on the record whose turn it is."""
        if not self._due:
            self._due = list(self._pages)
            self._rng.shuffle(self._due)
        page = self._due.pop()
        extras = page.hiding.next(pace.kinds)
        self.kinds.update(each.kind for each in extras)
        await self._play(pair, page, together(extras), pace)

    async def play_given(self, pair: int, reader: str, extra: Extra) -> None:
        """A pair from outside, on the first record that hides things from this reader."""
        page = next(page for page in self._pages if page.reader == reader)
        await self._play(pair, page, extra, DENSE)

    async def _play(self, pair: int, page: "_Page", extra: Extra, pace: Pace) -> None:
        caller = page.caller(self._rng)
        early = page.script.calls(3, caller)
        if not await self._all_alike(pair, page, extra, caller, early):
            return
        page.script.tell(await self._happen(pair, page, extra))
        await self._all_alike(pair, page, extra, caller, page.script.calls(pace.calls, caller))

    async def _all_alike(
        self, pair: int, page: "_Page", extra: Extra, caller: str, calls: Sequence[Call]
    ) -> bool:
        for call in calls:
            one, other = await self._worlds.both(page.person.callers[caller], call)
            self.calls += 1
            what = self._comparison.difference(one, other) or _hidden_words(other)
            if what:
                self.differences.append(Difference(self._seed, pair, extra.kind, caller, str(call), what))
                return False
        return True

    async def _happen(self, pair: int, page: "_Page", extra: Extra) -> list[str]:
        """Lets the extra come to be, and answers the served names of what it brought."""
        worlds = self._worlds
        worlds.clock.step()
        names: list[str] = []
        if extra.both or extra.is_told:
            names += await self.send(worlds.without, page.person, extra.both, f"{self._seed}-{pair}")
        if extra.both or extra.hidden or extra.is_told:
            mixed = self._mixed(extra.both, extra.hidden)
            names += await self.send(worlds.with_hidden, page.person, mixed, f"{self._seed}-{pair}")
        await self._do_alone(page, extra.alone)
        return list(dict.fromkeys(reversed(names)))

    def _mixed(self, both: Sequence[Resource], hidden: Sequence[Resource]) -> list[Resource]:
        """The hidden items somewhere between the others, whose order stays."""
        mixed = list(both)
        for item in hidden:
            mixed.insert(self._rng.randint(0, len(mixed)), item)
        return mixed

    async def send(self, half: Half, person: Person, items: Sequence[Resource], key: str) -> list[str]:
        """Sends an extract to one world and answers the served names of its items."""
        call = Call(
            "POST",
            "/extracts",
            {"Content-Type": "application/fhir+json", "Idempotency-Key": key},
            content=encoded(bundle([person.patient, *items])),
        )
        taken = await half.send(self._practice, call)
        assert taken.status == 202, taken.body
        await half.settled()
        report = json.loads((await half.send(self._practice, Call("GET", _location(taken)))).body)
        assert report["state"] == "done", report
        unwell = [item for item in report["items"] if item["verdict"] == "quarantined"]
        assert all("broken" in item["source_id"] for item in unwell), unwell
        named = [item for item in report["items"] if "id" in item and item["type"] != "Patient"]
        for item in named:
            source_name = f"{item['type']}/{item['source_id']}"
            self._served[person.record_id, source_name] = f"{item['type']}/{item['id']}"
        return [f"{item['type']}/{item['id']}" for item in named]

    async def _do_alone(self, page: "_Page", calls: Sequence[Call]) -> None:
        """What the owner does in the second world alone."""
        given: dict[str, Any] = {}
        for call in calls:
            path = call.path.replace("{grant}", given.get("grant_id", ""))
            asked = call.json
            if "target" in asked:
                asked = asked | {"target": await self._hidden_target(page)}
            owner = page.person.callers["owner"]
            answer = await self._worlds.with_hidden.send(owner, call._replace(path=path, json=asked))
            assert answer.status in (200, 201, 204, 409, 422), answer
            given = json.loads(answer.body) if answer.body else {}

    async def _hidden_target(self, page: "_Page") -> str:
        """An item that the owner sees and the page's reader does not."""
        half, person = self._worlds.with_hidden, page.person
        names = [self._served.get((person.record_id, name), "") for name in page.hiding.kept_back]
        names = self._rng.sample(names, min(5, len(names)))
        for name in [*filter(None, names), person.names["Condition/hidden-one"]]:
            if (await half.send(person.callers["owner"], Call("GET", f"/fhir/{name}"))).status == 200:
                return name
        raise AssertionError(page.reader)


class _Page(NamedTuple):
    person: Person
    reader: str
    hiding: Hiding
    script: Script

    def caller(self, rng: Random) -> str:
        """The reader things are hidden from, or at times somebody who sees even less."""
        if self.reader == "outsiders" or rng.random() < 0.15:
            return rng.choice(OUTSIDERS)
        if self.reader == "owner":
            return rng.choice(["owner", "owner", "owner", "doctor", "pharmacist"])
        return self.reader


def _location(taken: Answer) -> str:
    return dict(taken.headers)["location"]


def _hidden_words(answer: Answer) -> str | None:
    place = answer.body.find(b"HIDDEN-")
    return None if place < 0 else f"shows what is hidden: {answer.body[max(place - 60, 0) : place + 60]!r}"


def seeds_from() -> int:
    """The first seed: HELD_SEED when it is set, so that a chapter can be played again."""
    return int(os.environ.get("HELD_SEED", "1"))
