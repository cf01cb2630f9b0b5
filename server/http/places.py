"""Counts the requests under way, so that nobody takes more places than theirs (THREATS section 4)."""

from collections import Counter
from collections.abc import MutableMapping
from typing import Any

from server.errors import Busy

PER_PROCESS_MAX = 200
PER_TOKEN_MAX = 4
PER_INTEGRATOR_MAX = 8

_VISIT = "visit"


class Places:
    """How many places are taken, in all and by each caller. A caller who holds none is not kept."""

    def __init__(self) -> None:
        self._taken: Counter[str | bytes] = Counter()

    def take(self, whose: str | bytes, most: int) -> None:
        """Takes a place. Busy when they are all taken."""
        if self._taken[whose] >= most:
            raise Busy
        self._taken[whose] += 1

    def give_back(self, whose: str | bytes) -> None:
        """Gives a place back."""
        self._taken[whose] -= 1
        if not self._taken[whose]:
            del self._taken[whose]

    def __len__(self) -> int:
        """How many callers hold places."""
        return sum(1 for count in self._taken.values() if count)


class Visit:
    """The places that one request holds until it has been answered."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._held: list[str | bytes] = []

    def enter(self, whose: str | bytes, most: int) -> None:
        """Takes one more place. Busy when there is none."""
        self._places.take(whose, most)
        self._held.append(whose)

    def leave(self) -> None:
        """Gives every place back."""
        while self._held:
            self._places.give_back(self._held.pop())


def begin_visit(scope: MutableMapping[str, Any], places: Places) -> Visit:
    """The visit of this request, where `visit_of` finds it again."""
    visit = Visit(places)
    scope.setdefault("state", {})[_VISIT] = visit
    return visit


def visit_of(scope: MutableMapping[str, Any]) -> Visit | None:
    """The visit of this request; None in an application without the front door around it."""
    return scope.get("state", {}).get(_VISIT)
