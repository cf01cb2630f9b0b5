"""Samples taken in interleaved rounds, what they come to, and the table that says so."""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import msgspec

ROUNDS = 9
# With a wider spread than this, a median that misses says more of the machine than of us.
SPREAD_MAX = 0.25

Verdict = Literal["pass", "FAIL", "unsteady", "-"]
Contender = Callable[[], Awaitable[float]]


class Threshold(msgspec.Struct, frozen=True):
    """What a line must reach. `source` says where the figure comes from."""

    value: float
    source: str
    at_most: bool = False

    def holds(self, figure: float) -> bool:
        """Whether the figure is good enough."""
        return figure <= self.value if self.at_most else figure >= self.value

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bench. `ratio` is floor over ours, or the figure itself where there is no floor.

    `spread` is the interquartile range of the rounds' ratios over their median.
    """

    measure: str
    method: str
    unit: str
    ratio: float
    ours: float
    floor: float | None = None
    spread: float = 0.0
    rounds: int = 1
    threshold: Threshold | None = None
    details: Mapping[str, float] = {}

    @property
    def verdict(self) -> Verdict:
        """`unsteady` when the median misses but the rounds disagree too much to blame us for it."""
        if self.threshold is None:
            return "-"
        if self.threshold.holds(self.ratio):
            return "pass"
        return "unsteady" if self.spread >= SPREAD_MAX else "FAIL"


async def interleaved(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Each contender's samples, all of them taken once in every round; the first round only warms up."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, sample in contenders.items():
            taken = await sample()
            if number:
                samples[name].append(taken)
    return samples


def spread_of(values: Sequence[float]) -> float:
    """The interquartile range over the median."""
    first, middle, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / middle


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """The ratio of each round."""
    return [one / other for one, other in zip(over, under, strict=True)]


def compared(samples: Mapping[str, list[float]], floor: str, ours: str) -> dict[str, float]:
    """The members of a Line that two contenders' samples give."""
    each = ratios(samples[floor], samples[ours])
    return {
        "floor": statistics.median(samples[floor]),
        "ours": statistics.median(samples[ours]),
        "ratio": statistics.median(each),
        "spread": spread_of(each),
        "rounds": len(each),
    }


class Cpu:
    """The CPU time this process spends inside the block."""

    def __enter__(self) -> "Cpu":
        self._began = time.process_time()
        self.seconds = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.process_time() - self._began


_WIDTHS = (52, 13, 13, 8, 9, 6, 9)
_HEADINGS = ("measure", "floor", "ours", "ratio", "must", "IQR", "verdict")


def table_head() -> str:
    """The headings and the rule under them."""
    return _row(_HEADINGS) + "\n" + "-" * (sum(_WIDTHS) + len(_WIDTHS) - 1)


def table_lines(line: Line) -> str:
    """A line of the table, and its method under it."""
    floor = "-" if line.floor is None else f"{line.floor:,.1f} {line.unit}"
    has_ratio = line.floor is not None
    cells = (
        line.measure,
        floor,
        f"{line.ours:,.1f} {line.unit}",
        f"{line.ratio:.2f}" if has_ratio else "-",
        str(line.threshold or "-"),
        f"{line.spread:.0%}" if line.rounds > 1 else "-",
        line.verdict,
    )
    notes = [line.method, *([f"must: {line.threshold.source}"] if line.threshold else [])]
    notes += [f"{name}: {value:,.3g}" for name, value in line.details.items()]
    return _row(cells) + "".join(f"\n    {note}" for note in notes)


def as_json(line: Line) -> dict[str, object]:
    """The line with its verdict."""
    return msgspec.to_builtins(line) | {"verdict": line.verdict}


def _row(cells: Sequence[str]) -> str:
    first, *others = zip(cells, _WIDTHS, strict=True)
    return " ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)])
