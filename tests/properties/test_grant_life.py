"""A grant's life, step by step, against a slow second reading of its history.

The second implementation keeps every event and works out from them alone what should hold; it shares no code
with the rules.
"""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.sharing import rules
from server.sharing.grant import Grant
from server.sharing.rules import Narrowing
from tests.unit.sharing.making import NOW, PATEL, REDEMPTION_ID, active, offered, redemption

OTHER_REDEMPTION = UUID("00000000-0000-4000-8000-0000000000ff")
MILLISECONDS = st.sampled_from([0, 1, 999, 1_000, 59_999, 599_999, 600_000, 600_001, 3_600_000, 86_400_000])
Event = tuple[str, int]
"""(what happened, milliseconds after NOW)."""


class History:
    """What should hold, worked out from the events in whole milliseconds."""

    def __init__(self, seconds: int, offer_seconds: int) -> None:
        self.length = seconds * 1_000
        self.offer_length = offer_seconds * 1_000
        self.events: list[Event] = [("offered", 0)]
        self.ends_at: int | None = None

    def at(self, what: str) -> int | None:
        return next((when for name, when in self.events if name == what), None)

    def state(self, now: int) -> str:
        for last in ("ended", "rejected"):
            if self.at(last) is not None:
                return last
        allowed, claimed = self.at("allowed"), self.at("claimed")
        if self.ends_at is not None and now >= self.ends_at:
            return "expired"
        if allowed is not None:
            return "active"
        if claimed is not None:
            return "pending" if now - claimed < 600_000 else "expired"
        return "offered" if now < self.offer_length else "expired"

    def happened(self, what: str, now: int) -> None:
        self.events.append((what, now))
        if what == "allowed":
            self.ends_at = min(now + self.length, self.ends_at or now + self.length)

    def is_open(self, now: int) -> bool:
        return self.state(now) in {"offered", "pending", "active"}

    def version(self) -> int:
        return len(self.events)

    def is_live(self, version: int, now: int) -> bool:
        return self.state(now) == "active" and version == self.version()


class GrantLife(RuleBasedStateMachine):
    """Whatever is tried, in whatever order, rules and history agree, and what is over stays over."""

    @initialize(seconds=st.sampled_from([1, 60, 86_400]), offer_seconds=st.sampled_from([1, 60, 600]))
    def begin(self, seconds: int, offer_seconds: int) -> None:
        self.now = 0
        self.was_over = False
        self.grant = offered(seconds=seconds, offer_seconds=offer_seconds)
        self.history = History(seconds, offer_seconds)

    @property
    def clock(self) -> datetime:
        return NOW + timedelta(milliseconds=self.now)

    @rule(milliseconds=MILLISECONDS)
    def time_passes(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule()
    def someone_uses_the_code(self) -> None:
        may = self.history.state(self.now) == "offered"
        self._step("claimed", rules.claim(self.grant, redemption(at=self.clock), self.clock), may=may)

    @rule(is_right=st.booleans())
    def the_citizen_says_yes(self, is_right: bool) -> None:
        asked = REDEMPTION_ID if is_right else OTHER_REDEMPTION
        may = is_right and self.history.state(self.now) == "pending"
        self._step("allowed", rules.allow(self.grant, asked, self.clock), may=may)

    @rule(is_right=st.booleans())
    def the_citizen_says_no(self, is_right: bool) -> None:
        asked = REDEMPTION_ID if is_right else OTHER_REDEMPTION
        may = is_right and self.history.state(self.now) == "pending"
        self._step("rejected", rules.reject(self.grant, asked, self.clock), may=may)

    @rule()
    def the_citizen_ends_it(self) -> None:
        may = self.history.is_open(self.now)
        self._step("ended", rules.end(self.grant, None, self.clock), may=may)

    @precondition(lambda self: self.history.is_open(self.now))
    @rule(milliseconds=st.one_of(MILLISECONDS, st.integers(-10_000, 86_400_000)))
    def the_citizen_lets_it_end_sooner(self, milliseconds: int) -> None:
        wanted = self.now + milliseconds
        latest = self.history.ends_at
        if wanted == latest:
            return
        may = milliseconds > 0 and (latest is None or wanted < latest)
        asked = Narrowing(base_version=1, ends_at=NOW + timedelta(milliseconds=wanted))
        self._step("narrowed", rules.narrow(self.grant, asked, self.clock), may=may)
        if may:
            self.history.ends_at = wanted

    @precondition(lambda self: self.history.is_open(self.now))
    @rule(milliseconds=st.integers(-10_000, 86_400_000))
    def a_phone_that_was_away_lets_it_end_sooner(self, milliseconds: int) -> None:
        wanted = max(self.now, self.now + milliseconds)
        latest = self.history.ends_at
        asked = Narrowing(base_version=1, ends_at=NOW + timedelta(milliseconds=self.now + milliseconds))
        narrowed = rules.narrow_what_stands(self.grant, asked, self.clock)
        if latest is not None and latest <= wanted:
            assert narrowed is self.grant
            return
        self._step("narrowed", narrowed, may=True)
        self.history.ends_at = wanted

    @rule(milliseconds=st.one_of(MILLISECONDS, st.integers(0, 400 * 86_400_000)))
    def the_citizen_gives_more_time(self, milliseconds: int) -> None:
        wanted, allowed, latest = self.now + milliseconds, self.history.at("allowed"), self.history.ends_at
        may = self.history.state(self.now) == "active"
        may = may and latest is not None and wanted > latest
        may = may and allowed is not None and wanted <= allowed + 365 * 86_400_000
        later = NOW + timedelta(milliseconds=wanted)
        self._step("extended", rules.extend(self.grant, later, self.clock), may=may)
        if may:
            self.history.ends_at = wanted

    def _step(self, what: str, moved: Grant | rules.Refused, *, may: bool) -> None:
        assert isinstance(moved, Grant) is may
        if isinstance(moved, Grant):
            assert moved.version == self.grant.version + 1
            self.grant = moved
            self.history.happened(what, self.now)

    @invariant()
    def rules_and_history_agree(self) -> None:
        if not hasattr(self, "grant"):
            return
        assert rules.state_at(self.grant, self.clock) == self.history.state(self.now)
        for version in range(1, self.grant.version + 2):
            expected = self.history.is_live(version, self.now)
            assert rules.is_live(self.grant, version, self.clock) is expected

    @invariant()
    def what_is_over_stays_over(self) -> None:
        if not hasattr(self, "grant"):
            return
        is_over = rules.is_over(self.grant, self.clock)
        assert is_over or not self.was_over
        assert (rules.over_since(self.grant, self.clock) is not None) is is_over
        self.was_over = is_over


GrantLife.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestGrantLife = GrantLife.TestCase


@given(
    seconds=st.integers(1, rules.ACCESS_SECONDS_MAX),
    version=st.integers(0, 5),
    milliseconds=st.integers(-5, 5),
)
def test_the_last_millisecond_is_the_last(seconds: int, version: int, milliseconds: int) -> None:
    grant = active(seconds=seconds)
    now = NOW + timedelta(milliseconds=seconds * 1_000 + milliseconds)
    assert rules.is_live(grant, version, now) is (version == 3 and milliseconds < 0)


@given(st.sampled_from(["cis2:patel", "cis2:other"]), st.sampled_from(["patel-key", "other-key"]))
def test_only_the_redeemer_with_the_redeeming_key_holds_a_grant(subject: str, jkt: str) -> None:
    is_theirs = (subject, jkt) == (PATEL.subject, PATEL.jkt)
    assert rules.holds(active(), subject, jkt) is is_theirs
    nobody = msgspec.structs.replace(active(), redeemer=None)
    assert not rules.holds(nobody, subject, jkt)
