"""Which items one reader may see, and what is cut from each (DESIGN section 2, wall 3).

Three steps, each linear in the number of references:
 1. the items the slice names, and the supporting items that could be visible, are gathered;
 2. an item whose needed reference would be cut leaves, and so does what needs it, until nothing changes;
 3. from the items the slice names, supporting items are reached by reference; a Provenance joins when all its
    targets have been reached whole, unless we wrote it. What is not reached is not visible.
Nothing here depends on an item that does not become visible, so a change to one cannot show.
"""

from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Mapping
from datetime import date

import msgspec

from fhir_profiles.heads import Head, HeldReference
from fhir_profiles.labels_by_type import SUPPORTING_TYPES
from fhir_profiles.references import Key
from fhir_profiles.slices import Slice, SliceTest

HEADS_IN_ONE_STEP = 500

# What `Visible.cut` says besides the keys of references: see its docstring.
UNRESOLVED: Key = ("", "")
CONTACT: Key = ("", "contact")
REDUCED: Key = ("", "patient")


class Visible(msgspec.Struct, frozen=True):
    """What one reader may see.

    `cut` holds, for each item that is not shown as it is, the keys whose references are cut from it, and
    UNRESOLVED when it has references that name no item, CONTACT when its contact details are cut, REDUCED
    when it is the Patient. An item that is not in `cut` is shown byte for byte.
    """

    kept: frozenset[Key]
    cut: dict[Key, frozenset[Key]]


def close(heads: Mapping[Key, Head], shared: Slice, today: date) -> Visible:
    """The whole closure at once. `heads` are those of the record's live items."""
    steps = closing(heads, shared, today)
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            return finished.value


def closing(heads: Mapping[Key, Head], shared: Slice, today: date) -> Generator[None, None, Visible]:
    """The closure in steps of 500 heads, so that others get their turn in between."""
    graph = _Graph(heads, SliceTest(shared, today))
    for turn in (graph.gather(), graph.let_fall(), graph.reach()):
        yield from _every(turn, HEADS_IN_ONE_STEP)
    return (yield from graph.result())


def _every(turns: Iterator[None], count: int) -> Iterator[None]:
    for number, _ in enumerate(turns, start=1):
        if number % count == 0:
            yield


class _Graph:
    def __init__(self, heads: Mapping[Key, Head], shared: SliceTest) -> None:
        self._heads = heads
        self._slice = shared
        self._added = shared.added
        self._standing: dict[Key, Head] = {}
        self._provenance: dict[Key, Head] = {}
        # Supporting items that only the items added one by one may refer to: they carry an unticked class.
        self._only_for_added: set[Key] = set()
        self._reached: set[Key] = set()
        self._provenance_reached: set[Key] = set()

    def gather(self) -> Iterator[None]:
        """Step 1."""
        sensitive_supporting: set[Key] = set()
        for key, head in self._heads.items():
            yield
            if head.resource_type in SUPPORTING_TYPES:
                if _name(key) in self._slice.hidden:
                    continue
                if not self._slice.has_every_class_ticked(head) and _name(key) not in self._added:
                    sensitive_supporting.add(key)
                else:
                    self._standing[key] = head
            elif head.resource_type == "Provenance":
                if self._may_tell_where_from(key, head):
                    self._provenance[key] = head
            elif self._slice.names(head):
                self._standing[key] = head
        self._admit_for_added(sensitive_supporting)

    def _may_tell_where_from(self, key: Key, head: Head) -> bool:
        """A Provenance of ours names all an extract brought: a missing one would tell of the rest."""
        is_kept_back = _name(key) in self._slice.hidden or not self._slice.has_every_class_ticked(head)
        return head.source is not None and not is_kept_back

    def _admit_for_added(self, sensitive: set[Key]) -> None:
        """An item the citizen added is shown with the medication it cannot stand without."""
        for key in [key for key in self._standing if self._added and _name(key) in self._added]:
            for reference in self._standing[key].references:
                target = _target(reference)
                if reference.is_needed and target in sensitive:
                    self._only_for_added.add(target)
        for key in self._only_for_added:
            self._standing[key] = self._heads[key]

    def let_fall(self) -> Iterator[None]:
        """Step 2."""
        needed_by: defaultdict[Key, list[Key]] = defaultdict(list)
        falling: deque[Key] = deque()
        for key, head in self._standing.items():
            yield
            for reference in head.references:
                if reference.is_needed:
                    needed_by[_target(reference)].append(key)
            if not self._can_stand(key, head):
                falling.append(key)
        fallen = set(falling)
        while falling:
            yield
            key = falling.popleft()
            del self._standing[key]
            for dependant in needed_by[key]:
                if dependant not in fallen and not self._can_stand(dependant, self._standing[dependant]):
                    fallen.add(dependant)
                    falling.append(dependant)

    def _can_stand(self, key: Key, head: Head) -> bool:
        """Whether of each group of needed references at least one resolves."""
        alive: dict[str, bool] = {}
        for reference in head.references:
            if reference.is_needed:
                target = _target(reference)
                # A Provenance is not among the standing: once reached, it is there.
                is_alive = self._resolves(key, target, self._standing) or target in self._provenance_reached
                alive[reference.path] = alive.get(reference.path, False) or is_alive
        return all(alive.values())

    def _resolves(self, key: Key, target: Key, among: Mapping[Key, Head] | set[Key]) -> bool:
        if target not in among:
            return False
        return target not in self._only_for_added or _name(key) in self._added or key == target

    def reach(self) -> Iterator[None]:
        """Step 3."""
        waiting = _Waiting(self._provenance)
        for key, head in self._standing.items():
            yield
            if head.resource_type not in SUPPORTING_TYPES:
                self._visit(key, waiting)
        while waiting.keys:
            yield
            key = waiting.keys.popleft()
            for follower in (*self._supporting_of(key), *self._provenance_of(key, waiting)):
                self._visit(follower, waiting)

    def _visit(self, key: Key, waiting: "_Waiting") -> None:
        if key not in self._reached:
            self._reached.add(key)
            waiting.keys.append(key)

    def _supporting_of(self, key: Key) -> Iterator[Key]:
        head = self._standing.get(key) or self._provenance[key]
        if head.resource_type == "Patient":
            # The reduced Patient shows none of its references.
            return
        for reference in head.references:
            target = _target(reference)
            if target[0] in SUPPORTING_TYPES and self._resolves(key, target, self._standing):
                yield target

    def _provenance_of(self, key: Key, waiting: "_Waiting") -> Iterator[Key]:
        if waiting.has_provenance_of(key) and self._is_whole(key):
            for provenance in waiting.complete_with(key):
                if self._can_stand(provenance, self._provenance[provenance]):
                    self._provenance_reached.add(provenance)
                    yield provenance

    def _is_whole(self, key: Key) -> bool:
        """Whether an item is shown as it is, references to Provenance aside.

        A Provenance of an item that is not would tell of each new version, when a hidden part changed too.
        """
        head = self._standing.get(key) or self._provenance[key]
        if head.resource_type == "Patient" or self._slice.withholds_contact(head):
            return False
        return all(
            reference.resource_type == "Provenance" or self._resolves(key, _target(reference), self._standing)
            for reference in head.references
        )

    def result(self) -> Generator[None, None, Visible]:
        cut: dict[Key, frozenset[Key]] = {}
        for number, key in enumerate(self._reached, start=1):
            if number % HEADS_IN_ONE_STEP == 0:
                yield
            missing = self._cut_from(key)
            if missing:
                cut[key] = missing
        return Visible(frozenset(self._reached), cut)

    def _cut_from(self, key: Key) -> frozenset[Key]:
        head = self._heads[key]
        if head.resource_type == "Patient":
            return frozenset({REDUCED} if self._slice.shares_contact else {REDUCED, CONTACT})
        targets = {_target(reference) for reference in head.references}
        missing = {target for target in targets if not self._resolves(key, target, self._reached)}
        return frozenset(missing | {CONTACT}) if self._slice.withholds_contact(head) else frozenset(missing)


class _Waiting:
    """The items still to be followed, and for each Provenance the targets still to be reached."""

    def __init__(self, provenance: Mapping[Key, Head]) -> None:
        self.keys: deque[Key] = deque()
        self._missing: dict[Key, set[Key]] = {}
        self._tells_of: defaultdict[Key, list[Key]] = defaultdict(list)
        for key, head in provenance.items():
            targets = {_target(ref) for ref in head.references if ref.path == "Provenance.target"}
            self._missing[key] = targets
            for target in targets:
                self._tells_of[target].append(key)

    def has_provenance_of(self, target: Key) -> bool:
        return target in self._tells_of

    def complete_with(self, target: Key) -> list[Key]:
        """The Provenance that now have all their targets."""
        complete: list[Key] = []
        for key in self._tells_of[target]:
            missing = self._missing[key]
            missing.discard(target)
            if not missing:
                complete.append(key)
        return complete


def _target(reference: HeldReference) -> Key:
    return (reference.resource_type, reference.logical_id)


def _name(key: Key) -> str:
    return f"{key[0]}/{key[1]}"
