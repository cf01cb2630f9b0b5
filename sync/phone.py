"""A phone: what a person reads, writes and settles offline, and the exchange that brings it up to date."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import msgspec

from sync import outbox, overlay, replica
from sync.calls import Calls
from sync.exchange import Ended, Exchange, Trouble
from sync.kept import (
    Concern,
    Entry,
    LogPin,
    Row,
    as_raw,
    identity_of,
    load_of,
    pin_of,
    proof_of,
    read_concern,
    row_of,
    rows,
    text_of,
)
from sync.merge import merge, with_mine
from sync.messages import NO_JSON, Base, Limits, Mutation, Op, Registration, Result
from sync.overlay import Shown
from sync.ports import Clock, Ids, NoAnswer, SignInNeeded, Storage, Transaction, Transport
from sync.values import JsonObject, is_object, make_patch, read_json

OWN = frozenset({"", "self", "held"})
"""Who an item may come from for the person to change it. The server has the last word."""


class NotPossible(Exception):
    """This cannot be done: the item is not there, or not in that state."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants done, with `patch`, `body` or `args` as the `op` asks. A new item gets a new id.

    Acts that share a `txn` stand or fall together; one with `after` goes only when that one took effect.
    """

    op: Op
    type: str
    id: str | None = None
    body: JsonObject | None = None
    patch: JsonObject | None = None
    args: JsonObject | None = None
    after: str | None = None
    txn: str | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand, as far as this phone knows."""

    items: int = 0
    waiting: int = 0
    attention: int = 0
    is_registered: bool = False
    is_loading: bool = False
    is_ended: bool = False
    is_proved: bool = False
    proved_at: datetime | None = None
    log_alarm: str | None = None

    @property
    def sentence(self) -> str:
        """The state in plain words, which never say more than was proved."""
        if self.is_ended:
            return "this phone was ended, and everything on it is erased"
        parts: list[str] = []
        if self.log_alarm:
            parts.append(f"THE ACCESS LOG IS NOT AS IT WAS: {self.log_alarm}")
        if self.waiting:
            parts.append(f"{_counted(self.waiting, 'change')} waiting")
        if self.attention:
            parts.append(f"{_counted(self.attention, 'change')} in need of your attention")
        at = f"{self.proved_at:%H:%M}" if self.proved_at else ""
        if self.is_proved and not self.waiting and not self.log_alarm:
            parts.insert(0, f"up to date, proved at {at}")
        elif at:
            parts.append(f"last proved at {at}")
        else:
            parts.append("not yet compared with the server")
        return ", ".join(parts)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one `sync` did. `trouble` is a stable word for what stopped it: no-answer, sign-in, log ..."""

    status: Status
    results: tuple[Result, ...] = ()
    received: int = 0
    repaired: int = 0
    trouble: str | None = None
    detail: str | None = None


class Phone:
    """One record on one phone. Each method that changes anything has kept it before it returns."""

    def __init__(
        self,
        record_id: str,
        storage: Storage,
        transport: Transport,
        *,
        clock: Clock,
        ids: Ids,
        about: Registration,
    ) -> None:
        self._storage = storage
        self._calls = Calls(record_id, transport, clock)
        self._clock = clock
        self._ids = ids
        self._about = about
        self._is_busy = False

    async def sync(self) -> Report:
        """Sends what waits, fetches what is new and proves that both sides hold the same.

        Never raises for what the server or the network does: the report says how far it got.
        """
        exchange = Exchange(self._storage, self._calls, self._clock, self._about)
        return await self._reported(exchange, exchange.run)

    async def look_at_log(self) -> Report:
        """Fetches and checks the newest entries of the access log, and nothing else."""
        exchange = Exchange(self._storage, self._calls, self._clock, self._about)
        return await self._reported(exchange, exchange.look_at_log)

    async def _reported(self, exchange: Exchange, work: Callable[[], Awaitable[None]]) -> Report:
        if self._is_busy:
            return Report(status=self.status(), trouble="busy", detail="An exchange is under way already.")
        self._is_busy = True
        trouble: tuple[str, str] | None = None
        try:
            await work()
        except NoAnswer as silence:
            trouble = "no-answer", str(silence) or "The server did not answer."
        except SignInNeeded as asked:
            trouble = "sign-in", str(asked) or "Sign in again, please."
        except Ended:
            trouble = "ended", "This phone was ended: everything on it is erased."
        except Trouble as stopped:
            trouble = stopped.code, str(stopped)
        finally:
            self._is_busy = False
        tally = exchange.tally
        return Report(
            status=self.status(),
            results=tuple(tally.results),
            received=tally.received,
            repaired=tally.repaired,
            trouble=trouble[0] if trouble else None,
            detail=trouble[1] if trouble else None,
        )

    def write(self, draft: Draft) -> Mutation:
        """Keeps an act of the person, to be sent with the next exchange; NotPossible when senseless."""
        with self._storage.transaction() as tx:
            if text_of(tx, "ended") is not None:
                raise NotPossible("This phone was ended.")
            entry = self._entry(tx, draft)
            outbox.append(tx, entry)
        return entry.mutation

    def shown(self, resource_type: str | None = None) -> list[Shown]:
        """Every item as the person sees it, or those of one type."""
        with self._storage.transaction() as tx:
            return list(overlay.shown(tx, resource_type))

    def item(self, resource_type: str, logical_id: str) -> Shown | None:
        """One item as the person sees it."""
        with self._storage.transaction() as tx:
            return overlay.shown_item(tx, resource_type, logical_id)

    def rows(self) -> list[Row]:
        """The items as the server last sent them, without those that are gone."""
        with self._storage.transaction() as tx:
            return [row for row in rows(tx) if not row.gone]

    def outbox(self) -> list[Entry]:
        """What the person did and the rows do not show yet, in order."""
        with self._storage.transaction() as tx:
            return list(outbox.entries(tx).values())

    def concerns(self) -> list[Concern]:
        """What was refused or clashed, until it is discarded or sent again."""
        with self._storage.transaction() as tx:
            return [read_concern(kept) for _, kept in tx.scan("attention")]

    def answers(self) -> list[Result]:
        """What commands answered, such as the code of an offer, until `forget_answer`."""
        with self._storage.transaction() as tx:
            found = tx.scan("value", outbox.ANSWER)
            return [msgspec.json.decode(kept, type=Result) for _, kept in found]

    def forget_answer(self, mid: str) -> None:
        """The person has seen the answer."""
        with self._storage.transaction() as tx:
            tx.delete("value", f"{outbox.ANSWER}{mid}")

    def discard(self, mid: str) -> None:
        """Gives up an act that needs attention; NotPossible when there is none."""
        with self._storage.transaction() as tx:
            _concern(tx, mid)
            tx.delete("attention", mid)

    def send_again(self, mid: str) -> Mutation:
        """Makes a new act of one that needs attention, on top of the item as it now stands.

        Where both had changed the same thing, the person's own is sent. An item that is gone is made anew.
        """
        with self._storage.transaction() as tx:
            concern = _concern(tx, mid)
            entry = self._entry(tx, _again(concern, overlay.shown_item(tx, *_item(concern))))
            outbox.append(tx, entry)
            tx.delete("attention", mid)
        return entry.mutation

    def log_entries(self) -> list[bytes]:
        """The verified entries of the access log, oldest first, as the server sent them."""
        with self._storage.transaction() as tx:
            return [kept for _, kept in tx.scan("log")]

    def pin(self) -> LogPin | None:
        """The newest verified checkpoint of the access log."""
        with self._storage.transaction() as tx:
            return pin_of(tx)

    def cursor(self) -> str | None:
        """Where the next pull begins."""
        with self._storage.transaction() as tx:
            return replica.pulled_cursor(tx)

    def root(self) -> str | None:
        """The digest's root at the cursor; None while a batch is held back."""
        with self._storage.transaction() as tx:
            return replica.root(tx)

    def status(self) -> Status:
        """How things stand."""
        with self._storage.transaction() as tx:
            proof = proof_of(tx)
            return Status(
                items=replica.live_count(tx),
                waiting=sum(1 for _ in tx.scan("outbox")),
                attention=sum(1 for _ in tx.scan("attention")),
                is_registered=identity_of(tx) is not None,
                is_loading=load_of(tx) is not None,
                is_ended=text_of(tx, "ended") is not None,
                is_proved=proof is not None and proof.is_current,
                proved_at=datetime.fromisoformat(proof.at) if proof else None,
                log_alarm=text_of(tx, "alarm"),
            )

    def _entry(self, tx: Transaction, draft: Draft) -> Entry:
        logical_id = draft.id or self._ids.resource_id()
        base, before = None, NO_JSON
        if draft.op in outbox.NEEDS_BASE:
            seen = overlay.shown_item(tx, draft.type, logical_id)
            if seen is None:
                raise NotPossible("There is no such item on this phone.")
            before = msgspec.Raw(seen.body)
            row = row_of(tx, draft.type, logical_id)
            if seen.by not in OWN:
                raise NotPossible("Only who sent this can change it. You can question it.")
            base = Base(version=row.version) if row is not None and not row.gone else None
        mutation = Mutation(
            mid=self._ids.mutation_id(),
            op=draft.op,
            type=draft.type,
            id=logical_id,
            after=draft.after,
            txn=draft.txn,
            base=base,
            body=_sent(draft.body if draft.op in ("create", "replace") else None),
            patch=_sent(draft.patch if draft.op == "patch" else None),
            args=_sent(draft.args if draft.op == "command" else None),
        )
        if draft.txn is not None and outbox.has_in_group(tx, mutation):
            raise NotPossible("A group changes each item once.")
        said = mutation.body or mutation.patch or mutation.args
        if draft.op != "delete" and not said:
            raise NotPossible("This says nothing.")
        identity = identity_of(tx)
        if len(said) > (identity.limits if identity else Limits()).resource_bytes:
            raise NotPossible("This is too large to be sent.")
        return Entry(mutation=mutation, before=before)


def _again(concern: Concern, seen: Shown | None) -> Draft:
    """The same act on the item as it stands now."""
    mutation = concern.mutation
    if mutation.op in ("command", "delete"):
        args = _value(mutation.args)
        return Draft(op=mutation.op, type=mutation.type, id=mutation.id, args=args)
    whole = overlay.intended(Entry(mutation=mutation, before=concern.before))
    if seen is None:
        if whole is None:
            raise NotPossible("The item is gone, and only a part of it is known here.")
        is_first_try = mutation.op == "create"
        return Draft(op="create", type=mutation.type, id=mutation.id if is_first_try else None, body=whole)
    current, before = read_json(seen.body), _value(concern.before)
    if before is None or whole is None:
        wanted = whole or {}
        return Draft(op="replace", type=mutation.type, id=mutation.id, body=wanted)
    wanted = with_mine(merge(before, whole, current))
    return Draft(op="patch", type=mutation.type, id=mutation.id, patch=make_patch(current, wanted))


def _item(concern: Concern) -> tuple[str, str]:
    return concern.mutation.type, concern.mutation.id


def _concern(tx: Transaction, mid: str) -> Concern:
    kept = tx.get("attention", mid)
    if kept is None:
        raise NotPossible("Nothing of that number needs your attention.")
    return read_concern(kept)


def _sent(value: JsonObject | None) -> msgspec.Raw:
    return NO_JSON if value is None else as_raw(value)


def _value(raw: msgspec.Raw) -> JsonObject | None:
    value: Any = read_json(bytes(raw)) if raw else None
    return value if is_object(value) else None


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
