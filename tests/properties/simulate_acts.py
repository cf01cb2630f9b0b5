"""What the simulated person does on a phone: records, edits, shares, asks, and tries what is not theirs."""

import random
from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec
from msgspec.structs import replace

from sync.kept import Entry, as_raw
from sync.messages import Base, Mutation
from sync.outbox import append
from sync.overlay import Shown
from sync.phone import Draft, NotPossible, Phone
from tests.properties.simulate_device import FrailMemory, PhoneStopped, SimulatedIds
from tests.properties.simulate_ledger import Act, Kind
from tests.properties.simulate_world import World

SAME_ITEM = 0.8


class PhoneInHand(Protocol):
    """What the person needs of a phone."""

    name: str
    engine: Phone
    storage: FrailMemory
    ids: SimulatedIds
    dice: random.Random

    def waiting(self) -> tuple[str, ...]: ...
    def stopped(self) -> None: ...


class PersonAtPhone:
    """The person with one of their phones in hand."""

    def __init__(self, world: World, phone: PhoneInHand) -> None:
        self._world = world
        self._phone = phone

    def act(self) -> None:
        """Does something, with or without a way to the server."""
        acts: dict[Callable[[], None], float] = {
            self._record: 5,
            self.edit_value: 9,
            self._edit_note: 2,
            self._delete: 1,
            self._end_grant: 1.2,
            self._narrow_grant: 1,
            self._extend_grant: 2,
            self._write_where_they_may_not: 0.7,
            self._edit_contact: 1,
            self._record_after_what_is_refused: 0.5,
            self._record_together_with_what_is_refused: 0.5,
            self._make_grant: 0.5,
            self._question: 1,
            self._add_message: 0.7,
            self._withdraw: 0.4,
        }
        self._phone.dice.choices(list(acts), list(acts.values()))[0]()

    def _record(self) -> None:
        value, marker = self._world.new_value()
        self._do("create", _observation(value), marker)

    def edit_value(self) -> None:
        """Another value for something the person recorded."""
        for item in self._some_own():
            value, marker = self._world.new_value()
            self._do("value", _patch(item, {"valueQuantity": {"value": value}}), marker)

    def _edit_note(self) -> None:
        for item in self._some_own():
            _, marker = self._world.new_value()
            notes = msgspec.json.decode(item.body).get("note", [])
            self._do("note", _patch(item, {"note": [*notes, {"text": marker.decode()}]}), marker)

    def _delete(self) -> None:
        for item in self._some_own():
            self._do("delete", Draft(op="delete", type=item.type, id=item.id))

    def _edit_contact(self) -> None:
        for item in self._phone.engine.shown("Patient"):
            _, marker = self._world.new_value()
            telecom = msgspec.json.decode(item.body).get("telecom", [])
            patch = {"telecom": [*telecom, {"system": "phone", "value": marker.decode()}]}
            self._do("contact", _patch(item, patch), marker)

    def _write_where_they_may_not(self, txn: str | None = None) -> str | None:
        """As an old or faulty app might: ours would not keep it. The server refuses it."""
        for item in self._one_of(self._theirs()):
            value, marker = self._world.new_value()
            mutation = Mutation(
                mid=self._phone.ids.mutation_id(),
                op="patch",
                type=item.type,
                id=item.id,
                base=Base(version=item.version),
                patch=as_raw({"valueQuantity": {"value": value}}),
                txn=txn,
            )
            return self._enter("illegal", partial(self._append, mutation), marker)
        return None

    def _append(self, mutation: Mutation) -> None:
        with self._phone.storage.transaction() as tx:
            append(tx, Entry(mutation=mutation))

    def _record_after_what_is_refused(self) -> None:
        refused = self._write_where_they_may_not()
        if refused is not None:
            value, marker = self._world.new_value()
            self._do("hindered", replace(_observation(value), after=refused), marker)

    def _record_together_with_what_is_refused(self) -> None:
        value, marker = self._world.new_value()
        txn = f"txn {marker.decode()}"
        if self._write_where_they_may_not(txn) is not None:
            self._do("hindered", replace(_observation(value), txn=txn), marker)

    def _make_grant(self) -> None:
        args = {"command": "grant", "to": {"open": True}, "slice": {"current": True}, "seconds": 86_400}
        self._do("grant", Draft(op="command", type="Consent", args=args))

    def _question(self) -> None:
        for item in self._one_of(self._theirs()):
            _, marker = self._world.new_value()
            target = f"{item.type}/{item.id}/_history/{item.version}"
            args = {"command": "question", "kind": "wrong", "target": target, "should_say": marker.decode()}
            self._do("question", Draft(op="command", type="Task", args=args), marker)

    def _add_message(self) -> None:
        for item in self._one_of(self._phone.engine.shown("Task")):
            _, marker = self._world.new_value()
            args = {"command": "message", "text": marker.decode()}
            self._do("message", Draft(op="command", type="Task", id=item.id, args=args), marker)

    def _withdraw(self) -> None:
        for item in self._one_of(self._phone.engine.shown("Task")):
            args = {"command": "withdraw"}
            self._do("withdraw", Draft(op="command", type="Task", id=item.id, args=args))

    def _theirs(self) -> list[Shown]:
        return [item for item in self._phone.engine.shown("Observation") if item.by not in ("self", "")]

    def _end_grant(self) -> None:
        for item in self._one_of(self._phone.engine.shown("Consent")):
            self._command(item, "end", {})

    def _narrow_grant(self) -> None:
        for item in self._one_of(self._phone.engine.shown("Consent")):
            categories = self._world.categories_of(item.id)[: self._phone.dice.randint(1, 2)]
            if categories:
                more = {"base_version": _grant_version(item), "slice": {"categories": categories}}
                self._command(item, "narrow", more, categories)

    def _extend_grant(self) -> None:
        for item in self._one_of(self._phone.engine.shown("Consent")):
            ends_at = f"2027-03-{self._phone.dice.randint(1, 28):02d}T00:00:00Z"
            self._command(item, "extend", {"base_version": _grant_version(item), "ends_at": ends_at})

    def _command(
        self, item: Shown, command: Kind, more: dict[str, object], categories: tuple[str, ...] = ()
    ) -> None:
        draft = Draft(op="command", type="Consent", id=item.id, args={"command": command, **more})
        self._do(command, draft, categories=categories)

    def _some_own(self) -> list[Shown]:
        """Often the same item on every phone, so that they clash."""
        own = [item for item in self._phone.engine.shown("Observation") if item.by == "self"]
        return self._one_of(own[:1] if self._phone.dice.random() < SAME_ITEM else own)

    def _one_of(self, items: list[Shown]) -> list[Shown]:
        return [self._phone.dice.choice(items)] if items else []

    def _do(
        self, kind: Kind, draft: Draft, marker: bytes = b"", categories: tuple[str, ...] = ()
    ) -> str | None:
        """The act's id, once it is kept."""
        return self._enter(kind, lambda: self._phone.engine.write(draft), marker, categories)

    def _enter(
        self, kind: Kind, write: Callable[[], object], marker: bytes, categories: tuple[str, ...] = ()
    ) -> str | None:
        known = set(self._phone.waiting())
        try:
            write()
        except NotPossible:
            return None
        except PhoneStopped:
            self._phone.stopped()
        for entry in self._phone.engine.outbox():
            if entry.mid not in known:
                name = (entry.mutation.type, entry.mutation.id)
                act = Act(entry.mid, self._phone.name, kind, name, marker=marker, categories=categories)
                self._world.ledger.did(act)
                self._world.note(f"{self._phone.name} does: {kind} of {'/'.join(name)} {marker.decode()}")
                return entry.mid
        return None


def _observation(value: float) -> Draft:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Weight"},
        "effectiveDateTime": "2026-09-01",
        "valueQuantity": {"value": value, "unit": "kg"},
    }
    return Draft(op="create", type="Observation", body=body)


def _patch(item: Shown, patch: dict[str, object]) -> Draft:
    return Draft(op="patch", type=item.type, id=item.id, patch=patch)


def _grant_version(item: Shown) -> int:
    extensions = msgspec.json.decode(item.body).get("extension", [])
    return next(one["valueInteger"] for one in extensions if one["url"].endswith("grant-version"))
