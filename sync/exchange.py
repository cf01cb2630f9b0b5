"""One exchange with the server: register, push, load or pull, prove, repair. Every step is one transaction.

Whatever the exchange is cut off by, the next one goes on from what the last transaction kept.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from sync import outbox, replica
from sync.calls import Calls, Refused
from sync.kept import (
    Entry,
    Identity,
    Load,
    Proof,
    identity_of,
    keep,
    keep_text,
    load_of,
    pin_of,
    text_of,
)
from sync.log_keeping import LogAlarm, check_log, is_older
from sync.messages import Limits, Page, Pushed, Registration, Result
from sync.packing import next_groups, packed
from sync.ports import SHELVES, Clock, NoAnswer, Storage
from sync.repair import repair

ROUNDS_MAX = 10_000
RESETS_MAX = 3
CHECKPOINT_AGE_MAX = timedelta(hours=12)
REPAIRS_MAX = 3
TOO_LARGE = frozenset({400, 413})
"""Answers to a push that may be about one of its mutations: it is cut in halves until we know which."""


class Ended(Exception):
    """This phone was ended by its owner: everything on it is erased."""


class Trouble(Exception):
    """The exchange cannot go on. `code` is a stable word for why."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class Tally(msgspec.Struct):
    """What one exchange did."""

    results: list[Result] = []
    received: int = 0
    repaired: int = 0


class Exchange:
    """Brings one phone up to date."""

    def __init__(self, storage: Storage, calls: Calls, clock: Clock, about: Registration) -> None:
        self._storage = storage
        self._calls = calls
        self._clock = clock
        self._about = about
        self._note: str | None = None
        # Whether the last answer proved that both sides hold the same, and nothing was sent since.
        self._is_same = False
        self.tally = Tally()

    async def run(self) -> None:
        """Pushes and pulls until both sides hold the same, and proves it; Ended, Trouble or NoAnswer."""
        with self._storage.transaction() as tx:
            is_ended = text_of(tx, "ended") is not None
            _no_longer_current(tx)
        if is_ended:
            await self._confirm_wiped()
        for _ in range(RESETS_MAX):
            try:
                await self._bring_up_to_date()
            except Refused as refused:
                await self._bear(refused)
            else:
                return
        raise Trouble("reset", "The server keeps asking this phone to begin anew.")

    async def look_at_log(self) -> None:
        """Checks the access log up to its newest entry; Trouble, Ended or NoAnswer."""
        try:
            self._note = await self._calls.checkpoint()
        except Refused as refused:
            if refused.code == "wipe":
                await self._wipe()
            raise Trouble(refused.code or str(refused.status), str(refused)) from refused
        await self._check_log()

    async def _bring_up_to_date(self) -> None:
        await self._register()
        held_up = await self._push_or_hold_up()
        await self._load()
        for _ in range(REPAIRS_MAX):
            await self._pull()
            # An act that waited for another to be answered may go now.
            while held_up is None and await self._push():
                await self._pull()
            if self._is_same:
                break
            await self._repair()
        else:
            raise Trouble("differs", "The record on this phone still differs from the server's.")
        await self._prove()
        if held_up is not None:
            raise held_up

    async def _push_or_hold_up(self) -> Refused | None:
        """Pushes. A server that is too busy for it may still answer a pull, so that refusal waits."""
        try:
            while await self._push():
                pass
        except Refused as refused:
            if refused.status not in (429, 503):
                raise
            return refused
        return None

    async def _register(self) -> None:
        with self._storage.transaction() as tx:
            if identity_of(tx) is not None:
                return
        registered = await self._calls.register(self._about)
        with self._storage.transaction() as tx:
            keep(tx, "identity", Identity(
                device_id=registered.device_id, digest_key=registered.digest_key, limits=registered.limits
            ))  # fmt: skip
            keep_text(tx, "server-epoch", registered.epoch)
            # Cursors are bound to the device they were given to.
            replica.forget_place(tx)

    async def _load(self) -> None:
        """The first load, in parts of which each is kept."""
        with self._storage.transaction() as tx:
            load, is_placed = load_of(tx), replica.pulled_cursor(tx) is not None
        if is_placed:
            return
        if load is None:
            snapshot = await self._calls.snapshot()
            with self._storage.transaction() as tx:
                load = replica.begin_load(tx, snapshot)
        while load.done < len(load.hashes):
            load = await self._load_segment(load)
        with self._storage.transaction() as tx:
            self.tally.received += replica.finish_load(tx, load, self._now())

    async def _load_segment(self, load: Load) -> Load:
        try:
            changes = await self._calls.segment(load.hashes[load.done])
        except Refused as refused:
            if refused.status in (404, 410):
                # The parts are offered no more: the load begins anew under today's cursor.
                raise Refused(410, msgspec.structs.replace(refused.problem, code="reset")) from refused
            raise
        with self._storage.transaction() as tx:
            return replica.add_segment(tx, load, changes)

    def _limits(self) -> Limits:
        with self._storage.transaction() as tx:
            identity = identity_of(tx)
        return identity.limits if identity is not None else Limits()

    async def _push(self) -> bool:
        """Sends what can be sent now; false when there was nothing, or nothing moved on."""
        limits = self._limits()
        with self._storage.transaction() as tx:
            groups = next_groups(outbox.sendable(tx), limits)
        while groups:
            try:
                return await self._push_chunk([entry for group in groups for entry in group])
            except Refused as refused:
                if refused.status not in TOO_LARGE:
                    raise
                if len(groups) == 1:
                    self._refuse(groups[0], refused)
                    return True
                groups = groups[: len(groups) // 2]
        return False

    async def _push_chunk(self, chunk: Sequence[Entry]) -> bool:
        with self._storage.transaction() as tx:
            identity, since = identity_of(tx), replica.pulled_cursor(tx)
        assert identity is not None
        push = packed([entry.mutation for entry in chunk], identity.device_id, since, self._now())
        self._is_same = False
        pushed = await self._calls.push(push)
        with self._storage.transaction() as tx:
            taken = outbox.take_results(tx, pushed.results, self._now())
            received = None if since is None else replica.apply_page(tx, since, pushed)
            self._is_same = received is not None and _proves(pushed, replica.root(tx))
        self.tally.received += received or 0
        self._note = pushed.checkpoint or self._note
        self.tally.results += [result for result in pushed.results if result.outcome != "retry"]
        return taken > 0

    def _refuse(self, group: Sequence[Entry], refused: Refused) -> None:
        code = refused.code or "limits"
        detail = refused.problem.detail or "It is too large to be sent."
        results = [Result(mid=one.mid, outcome="rejected", code=code, detail=detail) for one in group]
        with self._storage.transaction() as tx:
            for result in results:
                outbox.refuse(tx, result, self._now())
        self.tally.results += results

    async def _pull(self) -> None:
        """Pulls to the end, unless the answer to a push went there already."""
        if self._is_same:
            return
        for _ in range(ROUNDS_MAX):
            since, headers = self._asking()
            page = await self._calls.changes(since, headers)
            if page is None:
                with self._storage.transaction() as tx:
                    replica.confirm_place(tx)
                self._is_same = True
                return
            self._note = page.checkpoint or self._note
            with self._storage.transaction() as tx:
                self.tally.received += replica.apply_page(tx, since, page) or 0
                self._is_same = _proves(page, replica.root(tx))
            if not page.more:
                return
        raise Trouble("endless", "The server sends changes without an end.")

    def _asking(self) -> tuple[str | None, dict[str, str]]:
        """The cursor and what is sent along, so that a phone with nothing new costs an empty answer."""
        with self._storage.transaction() as tx:
            since, root, pin = replica.pulled_cursor(tx), replica.root(tx), pin_of(tx)
        if since is None or root is None or pin is None:
            return since, {}
        headers = {"sync-log": str(pin.size), "sync-digest": f"{since}:{root}"}
        # An empty answer brings no checkpoint, and one that is never renewed proves nothing after a while.
        if not is_older(pin, self._clock.now() - CHECKPOINT_AGE_MAX):
            headers["if-none-match"] = f'"{since}"'
        return since, headers

    async def _repair(self) -> None:
        repaired = await repair(self._storage, self._calls, self._limits().fetch_items)
        if repaired is None:
            with self._storage.transaction() as tx:
                replica.forget_place(tx)
            await self._load()
        self.tally.repaired += repaired or 0

    async def _prove(self) -> None:
        """The rows are the server's. With the log verified too, that is noted."""
        await self._check_log()
        with self._storage.transaction() as tx:
            keep(tx, "proof", Proof(at=self._now()))

    async def _check_log(self) -> None:
        try:
            await check_log(self._storage, self._calls, self._note)
        except LogAlarm as alarm:
            with self._storage.transaction() as tx:
                keep_text(tx, "alarm", str(alarm))
            raise Trouble("log", str(alarm)) from alarm

    async def _bear(self, refused: Refused) -> None:
        """What a refusal of the whole phone means. Returns when the exchange may begin anew."""
        match refused.code:
            case "reset":
                with self._storage.transaction() as tx:
                    replica.forget_place(tx)
            case "device-unknown":
                with self._storage.transaction() as tx:
                    keep_text(tx, "identity", None)
            case "wipe":
                await self._wipe()
            case "upgrade":
                raise Trouble("upgrade", "This phone's app is too old for the server.")
            case _:
                raise Trouble(refused.code or str(refused.status), str(refused)) from refused

    async def _wipe(self) -> None:
        """Erases everything first, and then says so."""
        with self._storage.transaction() as tx:
            for shelf in SHELVES:
                tx.clear(shelf)
            keep_text(tx, "ended", "erased")
        await self._confirm_wiped()

    async def _confirm_wiped(self) -> None:
        with self._storage.transaction() as tx:
            is_confirmed = text_of(tx, "ended") == "confirmed"
        if not is_confirmed:
            try:
                await self._calls.confirm_wiped()
            except (Refused, NoAnswer):
                raise Ended from None
            with self._storage.transaction() as tx:
                keep_text(tx, "ended", "confirmed")
        raise Ended

    def _now(self) -> str:
        return in_words(self._clock.now())


def in_words(at: datetime) -> str:
    """A time as it is kept and sent."""
    return at.isoformat(timespec="milliseconds")


def _proves(page: Page | Pushed, root: str | None) -> bool:
    """True when the answer reaches the end and says the same of the whole record as we do."""
    return not page.more and not page.repair and page.digest is not None and page.digest == root


def _no_longer_current(tx: Any) -> None:
    proof = tx.get("value", "proof")
    if proof is not None:
        kept = msgspec.json.decode(proof, type=Proof)
        keep(tx, "proof", msgspec.structs.replace(kept, is_current=False))
