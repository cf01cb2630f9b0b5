"""One push inside its transaction: mutations decided, effects written, results stored (SYNC 3.3)."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from uuid import UUID

import msgspec

from server.devices_sync import commands, edits, store
from server.devices_sync.commands import Prepared
from server.devices_sync.edits import Decision, Facts
from server.devices_sync.faults import FAULTS, refused_for
from server.devices_sync.mutations import Sent
from server.errors import HeldError
from server.records import own_items
from server.records.own_items import ItemName, ItemState, NewVersion
from server.storage.session import ReadSession, WriteSession
from sync.messages import DONE, NO_JSON, Mutation, Result

Premise = tuple[int, int | None, bytes]
TXN_UNDONE = "txn"


class Planned(msgspec.Struct, frozen=True):
    """A decision made before the lock, and how the item stood when it was made."""

    on: Premise
    decision: Decision


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What was made ready for a push before its record was locked."""

    sent: Sequence[Sent]
    patient_id: str
    decisions: Mapping[UUID, Planned]
    prepared: Mapping[UUID, Prepared | Result]


class _Undone(Exception):
    """A part of a `txn` did not apply, so that none of it does."""


class PushRun:
    """The push in one session. `results` answer each mutation; `new` are those to be stored."""

    def __init__(self, session: WriteSession, plan: Plan, device_id: UUID) -> None:
        self._session = session
        self._plan = plan
        self._device_id = device_id
        self._seq = session.lock_record().seq
        self._states: dict[ItemName, ItemState] = {}
        self._pending: list[NewVersion] = []
        self._kept: dict[UUID, Result] = {}
        self._new: dict[UUID, tuple[int, Result]] = {}
        self.results: dict[UUID, Result] = {}
        self.ran: set[UUID] = set()

    def run(self) -> None:
        """Decides every mutation in order, writes the effects and stores the results."""
        self._kept = stored_results(self._session, self._plan.sent)
        self._states = own_items.standing(self._session, names_in(self._plan.sent))
        for group in _groups(self._plan.sent):
            if len(group) == 1:
                self._answer(group[0])
            else:
                self._answer_together(group)
        self._flush()
        rows = [(mid, seq, result) for mid, (seq, result) in self._new.items()]
        store.keep_outcomes(self._session, self._device_id, rows)

    def _answer(self, sent: Sent) -> Result:
        """The result of one mutation, with its effect written or about to be."""
        known = self.results.get(sent.mid) or self._kept.get(sent.mid)
        if known is not None:
            result = msgspec.structs.replace(known, repeat=True)
            self.results.setdefault(sent.mid, result)
            return result
        result = self._first_answer(sent)
        self.results[sent.mid] = result
        return result

    def _first_answer(self, sent: Sent) -> Result:
        mutation = sent.mutation
        if mutation is None:
            assert sent.refusal is not None
            return self._store(sent.mid, sent.refusal)
        waits = self._waits_for(mutation)
        if waits is not None:
            return waits if waits.outcome == "retry" else self._store(sent.mid, waits)
        if mutation.op == "command":
            return self._carry_out(sent.mid, mutation)
        decision = self._decide(sent.mid, mutation)
        if decision.item is not None:
            self._write(decision.item)
            return self._store(sent.mid, decision.result, seq=self._seq)
        return self._store(sent.mid, decision.result)

    def _waits_for(self, mutation: Mutation) -> Result | None:
        """Why the mutation named in `after` keeps this one from being looked at; None when it does not."""
        if mutation.after is None:
            return None
        before = self._result_of(mutation.after)
        if before is not None and before.outcome in DONE:
            return None
        if before is None or before.outcome == "retry":
            detail = "Send what this comes after first."
            return Result(mid=mutation.mid, outcome="retry", code="after", detail=detail)
        detail = "What this comes after was not done."
        return Result(mid=mutation.mid, outcome="blocked", code="after", detail=detail)

    def _result_of(self, text: str) -> Result | None:
        try:
            mid = UUID(text)
        except ValueError:
            return None
        return self.results.get(mid) or self._kept.get(mid)

    def _decide(self, mid: UUID, mutation: Mutation) -> Decision:
        state = self._state_of(edits.name_of(mutation))
        planned = self._plan.decisions.get(mid)
        if planned is not None and planned.on == state.fingerprint:
            return planned.decision
        self._flush()
        self._states |= own_items.with_bodies(self._session, [state])
        return decide_in(self._session, mutation, self._states[state.name], self._plan.patient_id)

    def _state_of(self, name: ItemName) -> ItemState:
        if name not in self._states:
            self._states |= own_items.standing(self._session, [name])
        return self._states[name]

    def _carry_out(self, mid: UUID, mutation: Mutation) -> Result:
        prepared = self._plan.prepared.get(mid)
        if prepared is None:
            return Result(mid=mutation.mid, outcome="retry", code="busy", detail="Send this again.")
        if isinstance(prepared, Result):
            return self._refuse(mid, prepared)
        self._flush()
        try:
            with self._session.savepoint():
                told = prepared.tell(prepared.command.run(self._session))
        except HeldError as error:
            return self._refuse(mid, commands.refused(mutation, error))
        except FAULTS as error:
            return self._refuse(mid, refused_for(mutation.mid, error))
        self.ran.add(mid)
        self._seq, before = self._session.lock_record().seq, self._seq
        name = edits.name_of(mutation)
        # What was read before may not be so any more; each item is read again when one comes to it.
        self._states = own_items.standing(self._session, [name])
        done = Result(mid=mutation.mid, outcome="applied", version=self._states[name].version or None)
        kept = msgspec.structs.replace(done, answer=_raw(told.kept))
        self._store(mid, kept, seq=self._seq if self._seq > before else self._seq + 1)
        return msgspec.structs.replace(done, answer=_raw(told.answer))

    def _refuse(self, mid: UUID, result: Result) -> Result:
        return result if result.outcome == "retry" else self._store(mid, result)

    def _write(self, item: NewVersion) -> None:
        if any(pending.name == item.name for pending in self._pending):
            self._flush()
        self._pending.append(item)
        self._states[item.name] = item.as_state
        self._seq += 1

    def _flush(self) -> None:
        if self._pending:
            own_items.put(self._session, self._pending)
            self._pending = []

    def _store(self, mid: UUID, result: Result, *, seq: int | None = None) -> Result:
        """Keeps the result for good; without a row of its own it is acknowledged with the next row."""
        self._new[mid] = (self._seq + 1 if seq is None else seq, result)
        return result

    def _answer_together(self, group: Sequence[Sent]) -> None:
        """All of a `txn`, or none of it."""
        self._flush()
        before = (self._seq, dict(self._states), dict(self._new), dict(self.results), set(self.ran))
        failed: Result | None = None
        with suppress(_Undone), self._session.savepoint():
            for sent in group:
                result = self._answer(sent)
                if result.outcome not in DONE:
                    failed = result
                    raise _Undone
            self._flush()
        if failed is None:
            return
        self._pending = []
        self._seq, self._states, self._new, self.results, self.ran = before
        for sent in group:
            # What this push answered before the group stands: its effect does too.
            if sent.mid not in self.results:
                self.results[sent.mid] = self._not_done(sent.mid, failed)

    def _not_done(self, mid: UUID, failed: Result) -> Result:
        """The result of one part of a `txn` of which another part, or this one, was not done."""
        kept = self._kept.get(mid)
        if kept is not None:
            return msgspec.structs.replace(kept, repeat=True)
        if failed.mid == str(mid):
            return failed if failed.outcome == "retry" else self._store(mid, failed)
        if failed.outcome == "retry":
            return msgspec.structs.replace(failed, mid=str(mid))
        detail = "Another part of this was not done."
        return self._store(mid, Result(mid=str(mid), outcome="blocked", code=TXN_UNDONE, detail=detail))


def stored_results(session: ReadSession, sent: Sequence[Sent]) -> dict[UUID, Result]:
    """What was stored of these mutations, and of those they come after."""
    wanted = [one.mid for one in sent]
    for one in sent:
        if one.mutation is not None and one.mutation.after is not None:
            with suppress(ValueError):
                wanted.append(UUID(one.mutation.after))
    return {mid: kept.result for mid, kept in store.outcomes(session, wanted).items()}


def names_in(sent: Sequence[Sent]) -> list[ItemName]:
    """The items that the mutations of resources are about."""
    mutations = [one.mutation for one in sent if one.mutation is not None]
    return [edits.name_of(one) for one in mutations if one.op != "command"]


def decide_in(session: ReadSession, mutation: Mutation, state: ItemState, patient_id: str) -> Decision:
    """The decision on a mutation, with whatever it needs read in this session."""
    earlier = edits.needs_base(mutation, state)
    base_body = state.body or None
    if earlier is not None:
        base_body = own_items.body_at(session, state.name, earlier)
    return edits.decide(
        mutation, Facts(patient_id=patient_id, state=state, base_body=base_body, now=session.now)
    )


def _groups(sent: Sequence[Sent]) -> list[list[Sent]]:
    """The mutations in order, those of one `txn` together at the place of the first."""
    groups: dict[bytes | int, list[Sent]] = {}
    for index, one in enumerate(sent):
        groups.setdefault(one.txn if one.txn is not None else index, []).append(one)
    return list(groups.values())


def _raw(answer: bytes) -> msgspec.Raw:
    return msgspec.Raw(answer) if answer else NO_JSON
