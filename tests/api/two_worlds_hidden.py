"""What the second world holds more than the first: things one reader may not see, and all they drag along.

An extra is made so that DESIGN section 5 keeps it from the reader, whatever the product thinks of it.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tests.api.two_worlds import Call
from tests.api.two_worlds_cast import ADDRESS, Person, base_items, needing, provenance, with_orphan
from tests.api.two_worlds_items import (
    CATEGORY,
    SUPPORTING,
    Resource,
    make,
    narrative,
    of_class,
    unseen,
)
from tests.api.two_worlds_kept_back import kept_from
from tests.api.two_worlds_phone import own_reading
from tests.api.two_worlds_pointing import point, pointing
from tests.extracts import identified

ABSENT = (
    "Condition/absent-reason",
    "DocumentReference/absent-letter",
    "Encounter/absent-visit",
    "Location/absent-clinic",
    "Medication/absent-medicine",
    "Observation/absent-evidence",
    "Observation/absent-result",
    "Observation/absent-second",
    "Organization/absent-college",
    "Organization/absent-maker",
    "Organization/absent-trust",
    "Practitioner/absent-nurse",
)
"""What items of both worlds refer to and the first world never holds."""
_PLAIN_SUPPORTING = tuple(f"{kind}/kept-" for kind in SUPPORTING)
_CUT_PLACES = {
    "Condition/asthma": ("evidence.detail", ("Observation", "DocumentReference")),
    "DocumentReference/letter": ("context.related", ("Observation", "Condition")),
    "DiagnosticReport/report": ("result", ("Observation",)),
    "List/problems": ("entry.item", ("Condition", "Observation")),
    "Observation/panel": ("derivedFrom", ("DocumentReference", "Observation")),
    "Procedure/holder": ("reasonReference", ("Condition", "Observation")),
}
"""Items that are cut for every reader, and where they name what a reader may not see."""


class Extra(NamedTuple):
    """What happens: `both` are sent in both worlds, `hidden` in the second alone, as is `alone` done.

    `is_told` says that the extract itself is no secret: it comes in both worlds, if need be empty.
    """

    kind: str
    both: Sequence[Resource] = ()
    hidden: Sequence[Resource] = ()
    alone: tuple[Call, ...] = ()
    is_told: bool = False

    def __str__(self) -> str:
        names = [f"{item['resourceType']}/{item['id']}" for item in self.hidden]
        return f"{self.kind} ({', '.join(names + [str(call) for call in self.alone])})"


def together(extras: Sequence[Extra]) -> Extra:
    """Several extras as one extract; an item that two of them send is sent as the first has it."""
    items: dict[tuple[str, str], tuple[Resource, bool]] = {}
    for extra in extras:
        for item, is_hidden in [(one, False) for one in extra.both] + [(one, True) for one in extra.hidden]:
            items.setdefault((item["resourceType"], item["id"]), (item, is_hidden))
    return Extra(
        kind="; ".join(str(extra) for extra in extras),
        both=[item for item, is_hidden in items.values() if not is_hidden],
        hidden=[item for item, is_hidden in items.values() if is_hidden],
        alone=tuple(call for extra in extras for call in extra.alone),
        is_told=any(extra.is_told for extra in extras),
    )


class Hiding:
    """Makes extras about one record for one reader, and remembers what it made before."""

    def __init__(self, person: Person, reader: str, rng: Random) -> None:
        self._person = person
        self._rng = rng
        self._shape = person.shapes.get(reader)
        self._count = 0
        self._base = {f"{item['resourceType']}/{item['id']}": item for item in base_items()}
        self._open = list(self._base)
        # What only the second world holds and keeps from this reader, by the name its source gave.
        self.kept_back = ["Condition/hidden-one", "Practitioner/hidden-gp"] if self._shape else []
        self._unseen: list[str] = []
        kinds = {
            "owner": self._for_the_owner(),
            "outsiders": [self._new_open, self._new, self._grant, self._link, self._noise],
        }
        self._kinds = kinds.get(reader) or self._for_a_reader()
        self._due: list[Callable[[], Extra]] = []

    def next(self, count: int) -> list[Extra]:
        """Extras of the next few kinds; each kind comes up before any comes again."""
        extras: list[Extra] = []
        while len(extras) < count:
            if not self._due:
                self._due = list(self._kinds)
                self._rng.shuffle(self._due)
            self._count += 1
            extras.append(self._due.pop()())
        return extras

    def _for_a_reader(self) -> list[Callable[[], Extra]]:
        kinds = [self._new, self._new, self._change, self._target, self._target, self._beside, self._cut_part]
        kinds += [self._provenance, self._noise, self._grant, self._withdrawn, self._falling]
        kinds += [self._own_reading, self._questioned]
        assert self._shape is not None
        return (
            kinds
            if self._shape.slice and "contact" in self._shape.slice.categories
            else [*kinds, self._contact]
        )

    def _for_the_owner(self) -> list[Callable[[], Extra]]:
        return [self._unseen_new, self._unseen_alone, self._unseen_change, self._unseen_needed]

    # What a slice keeps back.

    def _new(self) -> Extra:
        return Extra("new hidden items", hidden=[self._hidden_item() for _ in range(self._rng.randint(1, 3))])

    def _new_open(self) -> Extra:
        return Extra("new items of somebody else's record", hidden=[self._open_item()])

    def _change(self) -> Extra:
        name = self._rng.choice(self.kept_back)
        return Extra("hidden item changes", hidden=[self._hidden_item(name)])

    def _target(self) -> Extra:
        return Extra(
            "a target that was absent comes, hidden", hidden=[self._hidden_item(self._rng.choice(ABSENT))]
        )

    def _beside(self) -> Extra:
        both = [self._open_item() for _ in range(self._rng.randint(1, 2))]
        hidden = [self._hidden_item(), self._hidden_item(self._rng.choice(ABSENT))]
        return Extra("hidden items beside open ones", both, hidden)

    def _cut_part(self) -> Extra:
        """Open items whose references to what is hidden change, and with them their narrative."""
        changed = [self._cut_elsewhere(name) for name in _CUT_PLACES]
        return Extra("hidden part of an open item changes", hidden=changed)

    def _cut_elsewhere(self, name: str) -> Resource:
        place, types = _CUT_PLACES[name]
        targets = [each for each in (*ABSENT, *self.kept_back) if each.partition("/")[0] in types]
        changed = dict(self._base[name])
        for target in self._rng.sample(targets, self._rng.randint(1, min(3, len(targets)))):
            changed = point(changed, place, target, f"HIDDEN-{self._count} {target}")
        if self._rng.random() < 0.5:
            changed["text"] = narrative(f"HIDDEN-{self._count}")
        return with_orphan(changed, f"HIDDEN-{self._count}") if "contained" in changed else changed

    def _contact(self) -> Extra:
        telecom = [{"system": "phone", "value": f"0113 496 0{self._rng.randint(100, 999)}"}]
        address = ADDRESS | {"line": [f"HIDDEN-{self._count} Street"]}
        practice = self._base["Organization/practice"] | {"telecom": telecom, "address": [address]}
        surgery = self._base["Location/surgery"] | {"address": address}
        hidden = [practice, surgery, self._base["Practitioner/gp"] | {"telecom": telecom}]
        return Extra("contact details change", hidden=hidden)

    def _provenance(self) -> Extra:
        item = self._hidden_item()
        targets = [f"{item['resourceType']}/{item['id']}"]
        if self._rng.random() < 0.7:
            targets.append(
                self._rng.choice(["Observation/result-1", "Condition/diabetes", "Encounter/clinic"])
            )
        told = provenance(f"hidden-{self._count}", targets)
        return Extra("provenance of a hidden item", hidden=[item, told])

    def _withdrawn(self) -> Extra:
        name = self._rng.choice(self.kept_back)
        if name in self._base:
            return self._change()
        return Extra(
            "source hides a hidden item from the person too",
            hidden=[unseen(self._hidden_item(name), self._rng)],
        )

    def _falling(self) -> Extra:
        """What an open item needs comes, and could be seen, but cannot stand itself."""
        steps = [
            needing(
                make(kind, "absent-step", f"HIDDEN-{self._count}", "2026-09-01"), f"{kind}/absent-other-step"
            )
            for kind in ("Condition", "Observation")
        ]
        return Extra("what an open item needs comes and falls", hidden=steps)

    def _own_reading(self) -> Extra:
        return Extra(
            "a reading of one's own", alone=(own_reading(self._person, self._rng, f"HIDDEN-{self._count}"),)
        )

    def _questioned(self) -> Extra:
        """The person questions an item that the reader cannot see."""
        asked = {
            "kind": "wrong",
            "target": "{hidden}",
            "should_say": f"HIDDEN-{self._count}",
            "mid": f"q{self._count}",
        }
        path = f"/records/{self._person.record_id}/corrections"
        return Extra("a hidden item is questioned", alone=(Call("POST", path, json=asked),))

    def _noise(self) -> Extra:
        broken = make("Condition", f"broken-{self._count}", "HIDDEN broken") | {"recordedDate": "not a date"}
        unknown = {"resourceType": "Coverage", "id": f"cover-{self._count}", "status": "active"}
        return Extra("what we do not hold", hidden=[broken, unknown])

    def _grant(self) -> Extra:
        asked = {"to": {"open": True}, "slice": {"current": True}, "purpose": "TREAT", "seconds": 3600}
        path = f"/records/{self._person.record_id}"
        ending = Call("POST", f"{path}/grants/{{grant}}/end", json={})
        return Extra("a grant to somebody else", alone=(Call("POST", f"{path}/grants", json=asked), ending))

    def _link(self) -> Extra:
        path = f"/records/{self._person.record_id}/links"
        return Extra(
            "a link with another organisation", alone=(Call("POST", path, json={"organisation": "RR801"}),)
        )

    def _hidden_item(self, name: str | None = None) -> Resource:
        """An item the reader may not see: a new one, or the next version of one they could not see before."""
        rng = self._rng
        resource_type, _, source_id = (name or "").partition("/")
        if name is None:
            resource_type = rng.choice([*CATEGORY, *CATEGORY, *SUPPORTING])
            source_id = f"kept-{self._count}-{rng.randrange(10**6)}"
        date = rng.choice(["2026-09-01", "2025-06"])
        item = _named(make(resource_type, source_id, f"HIDDEN-{self._count} {resource_type}", date))
        known = [*self._open, *self.kept_back, *ABSENT]
        if self._shape is None:
            item = of_class(pointing(item, rng, known, 2), rng, "hiv")
        elif name not in ("Condition/hidden-one", "Practitioner/hidden-gp"):
            item = kept_from(self._shape, item, known, rng)
        full_name = f"{resource_type}/{source_id}"
        if full_name not in self.kept_back:
            self.kept_back.append(full_name)
        return item

    def _open_item(self) -> Resource:
        """An item of both worlds, seen or not; it may point at anything, there or not."""
        rng = self._rng
        resource_type = rng.choice([*CATEGORY])
        source_id = f"open-{self._count}-{rng.randrange(10**6)}"
        item = make(
            resource_type,
            source_id,
            f"Open {self._count}",
            rng.choice(["2026-09-02", "2025-06", "2015-01-01"]),
        )
        if rng.random() < 0.4:
            item["text"] = narrative(f"Open {self._count} in words")
        item = pointing(item, rng, self._named_openly(), rng.randint(0, 4))
        self._open.append(f"{resource_type}/{source_id}")
        return item

    def _named_openly(self) -> list[str]:
        """What an open item may name, and it stays as hidden as it was.

        What needs an unseen medicine is unseen as well; a plain supporting item is seen by what names it.
        """
        unseen_names = [name for name in self._unseen if not name.startswith("Medication/")]
        kept_back = [name for name in self.kept_back if not name.startswith(_PLAIN_SUPPORTING)]
        return [*self._open, *kept_back, *ABSENT, *ABSENT, *unseen_names, *unseen_names]

    # What its source hides from the person.

    def _unseen_item(self, name: str | None = None) -> Resource:
        rng = self._rng
        resource_type, _, source_id = (name or "").partition("/")
        if name is None:
            resource_type = rng.choice([*CATEGORY, *SUPPORTING])
            source_id = f"unseen-{self._count}-{rng.randrange(10**6)}"
            self._unseen.append(f"{resource_type}/{source_id}")
        item = _named(make(resource_type, source_id, f"HIDDEN-{self._count} {rng.randrange(100)}"))
        return unseen(pointing(item, rng, [*self._open, *self._unseen], rng.randint(0, 3)), rng)

    def _unseen_new(self) -> Extra:
        both = [self._open_item() for _ in range(self._rng.randint(1, 2))]
        return Extra("unseen items beside open ones", both, [self._unseen_item()], is_told=True)

    def _unseen_alone(self) -> Extra:
        return Extra("unseen items alone", hidden=[self._unseen_item(), self._unseen_item()], is_told=True)

    def _unseen_change(self) -> Extra:
        if not self._unseen:
            return self._unseen_alone()
        name = self._rng.choice(self._unseen)
        return Extra("unseen item changes", [self._open_item()], [self._unseen_item(name)], is_told=True)

    def _unseen_needed(self) -> Extra:
        """What cannot stand without an unseen item is hidden with it."""
        medicine = unseen(make("Medication", f"unseen-{self._count}", "HIDDEN medicine"), self._rng)
        name = f"Medication/unseen-{self._count}"
        request = make("MedicationRequest", f"needs-{self._count}", "")
        request = point(request, "medicationReference", name, "HIDDEN medicine")
        told = provenance(f"of-unseen-{self._count}", [name])
        return Extra("what needs an unseen item", hidden=[medicine, request, told], is_told=True)


def _named(item: Resource) -> Resource:
    """The item, every second new one with an identifier: such a one is served under another id."""
    source_id = str(item["id"])
    is_new = source_id.startswith(("kept-", "unseen-"))
    return identified(item, source_id) if is_new and source_id[-1] in "02468" else item
