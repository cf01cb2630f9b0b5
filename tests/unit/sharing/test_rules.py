"""The rules of grants, with the table of who may not."""

from datetime import datetime, timedelta

import msgspec
import pytest

from fhir_profiles.slices import Slice
from server.sharing import rules
from server.sharing.grant import Grant, Recipient, RecipientKind, Redeemer
from server.sharing.rules import Narrowing, Refused
from tests.unit.sharing.making import (
    GRANT_ID,
    NOW,
    OPEN,
    PATEL,
    REDEMPTION_ID,
    active,
    ended,
    moved,
    offered,
    pending,
    redemption,
    terms,
)

MILLISECOND = timedelta(milliseconds=1)
ANOTHER = msgspec.structs.replace(PATEL, subject="cis2:other", role_code="R1290", organisation="FA123")
NOBODY_KNOWN = msgspec.structs.replace(PATEL, role_code="", organisation="")
NAMED = Recipient(kind="professional", subject="cis2:patel")
ROLE = Recipient(kind="role", role_code="R0260", organisation="B86001")
WEEK = 7 * 86_400


@pytest.mark.parametrize(
    ("to", "who", "may"),
    [
        (OPEN, PATEL, True),
        (OPEN, ANOTHER, True),
        (NAMED, PATEL, True),
        (NAMED, ANOTHER, False),
        (ROLE, PATEL, True),
        (ROLE, msgspec.structs.replace(PATEL, role_code="S0010:G0020:R0260"), True),
        (ROLE, msgspec.structs.replace(PATEL, role_code="S0010:R0260:R1290"), False),
        (ROLE, ANOTHER, False),
        (ROLE, msgspec.structs.replace(PATEL, role_code="R1290"), False),
        (ROLE, msgspec.structs.replace(PATEL, organisation="B86002"), False),
        (ROLE, NOBODY_KNOWN, False),
        (Recipient(kind="role", role_code="", organisation=""), NOBODY_KNOWN, False),
        (Recipient(kind="role"), PATEL, False),
        (Recipient(kind="professional"), PATEL, False),
        (Recipient(kind="guest", name="Jo"), PATEL, False),
    ],
)  # fmt: skip
def test_an_offer_is_claimed_only_by_whom_it_is_for(to: Recipient, who: Redeemer, may: bool) -> None:
    grant = msgspec.structs.replace(offered(), to=to)
    assert isinstance(rules.claim(grant, redemption(who), NOW), Grant) is may


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"to": Recipient(kind="guest", name="Jo")}, "/to"),
        ({"slice": Slice(categories=("everything",))}, "/slice"),
        ({"slice": Slice(sensitive=("secrets",))}, "/slice"),
        ({"is_unattended": True}, "/unattended"),
        ({"purpose": "HRESCH"}, "/purpose"),
        ({"purpose": "BTG"}, "/purpose"),
        ({"purpose": ""}, "/purpose"),
        ({"seconds": 0}, "/seconds"),
        ({"seconds": -1}, "/seconds"),
        ({"seconds": rules.ACCESS_SECONDS_MAX + 1}, "/seconds"),
        ({"offer_seconds": 0}, "/offer_seconds"),
        ({"offer_seconds": 601}, "/offer_seconds"),
        ({"to": NAMED, "offer_seconds": 21 * 86_400 + 1}, "/offer_seconds"),
    ],
)
def test_terms_that_may_not_be_had(changed: dict[str, object], pointer: str) -> None:
    refused = rules.judge_terms(terms(**changed))
    assert refused is not None
    assert refused.pointer == pointer


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"seconds": 1},
        {"seconds": rules.ACCESS_SECONDS_MAX - 1},
        {"seconds": rules.ACCESS_SECONDS_MAX},
        {"offer_seconds": 599},
        {"offer_seconds": 600},
        {"to": NAMED, "offer_seconds": WEEK},
        {"to": ROLE, "offer_seconds": 21 * 86_400},
    ],
)
def test_terms_that_may_be_had(changed: dict[str, object]) -> None:
    assert rules.judge_terms(terms(**changed)) is None


@pytest.mark.parametrize(("count", "has_room"), [(4, True), (5, False), (6, False)])
def test_a_record_has_room_for_five_offers(count: int, has_room: bool) -> None:
    grants = [offered() if number % 2 else pending() for number in range(count)]
    assert (rules.judge_room(grants, NOW) is None) is has_room


@pytest.mark.parametrize(("count", "has_room"), [(49, True), (50, False), (51, False)])
def test_a_record_has_room_for_fifty_live_grants(count: int, has_room: bool) -> None:
    grants = [active() for _ in range(count)]
    assert (rules.judge_room(grants, NOW) is None) is has_room
    assert (rules.judge_crowd(grants, NOW) is None) is has_room


def test_what_is_over_takes_no_room() -> None:
    over = [ended() for _ in range(60)] + [offered() for _ in range(60)] + [active() for _ in range(60)]
    assert rules.judge_room(over, NOW + timedelta(days=2)) is None


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (timedelta(0), "offered"),
        (timedelta(seconds=600) - MILLISECOND, "offered"),
        (timedelta(seconds=600), "expired"),
    ],
)
def test_an_offer_can_be_used_until_just_before_its_last_moment(after: timedelta, state: str) -> None:
    assert rules.state_at(offered(), NOW + after) == state
    claimed = rules.claim(offered(), redemption(), NOW + after)
    assert isinstance(claimed, Grant) is (state == "offered")


@pytest.mark.parametrize(
    ("after", "is_live"),
    [(-MILLISECOND, True), (timedelta(0), False), (MILLISECOND, False)],
)
def test_access_ends_at_exactly_its_end(after: timedelta, is_live: bool) -> None:
    grant = active()
    assert grant.ends_at == NOW + timedelta(days=1)
    now = NOW + timedelta(days=1) + after
    assert rules.is_live(grant, grant.version, now) is is_live
    assert (rules.state_at(grant, now) == "active") is is_live


def test_a_token_of_another_version_opens_nothing() -> None:
    grant = active()
    assert [rules.is_live(grant, version, NOW) for version in (0, 2, 3, 4)] == [False, False, True, False]


@pytest.mark.parametrize("grant", [offered(), pending(), ended()])
def test_only_an_active_grant_is_live(grant: Grant) -> None:
    assert not any(rules.is_live(grant, version, NOW) for version in range(8))


def test_the_citizens_yes_is_for_the_one_who_waits() -> None:
    assert isinstance(rules.allow(pending(), GRANT_ID, NOW), Refused)
    assert isinstance(rules.reject(pending(), GRANT_ID, NOW), Refused)
    for other in (offered(), active(), ended()):
        assert isinstance(rules.allow(other, REDEMPTION_ID, NOW), Refused)
        assert isinstance(rules.reject(other, REDEMPTION_ID, NOW), Refused)


def test_a_forgotten_question_cannot_be_answered_later() -> None:
    last = NOW + timedelta(seconds=rules.CONFIRM_SECONDS_MAX)
    assert isinstance(rules.allow(pending(), REDEMPTION_ID, last - MILLISECOND), Grant)
    assert isinstance(rules.allow(pending(), REDEMPTION_ID, last), Refused)


def test_nothing_ends_twice() -> None:
    rejected = moved(rules.reject(pending(), REDEMPTION_ID, NOW))
    for over in (ended(), rejected):
        assert isinstance(rules.end(over, None, NOW + timedelta(hours=2)), Refused)
    assert isinstance(rules.end(active(), None, NOW + timedelta(days=1)), Refused)


@pytest.mark.parametrize(
    ("grant", "now", "since"),
    [
        (active(), NOW, None),
        (offered(), NOW, None),
        (ended(), NOW + timedelta(days=3), NOW + timedelta(hours=1)),
        (active(), NOW + timedelta(days=3), NOW + timedelta(days=1)),
        (offered(), NOW + timedelta(days=3), NOW + timedelta(seconds=600)),
    ],
)
def test_a_grant_is_over_since_the_moment_it_stopped(
    grant: Grant, now: datetime, since: datetime | None
) -> None:
    assert rules.over_since(grant, now) == since


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (("cis2:patel", "patel-key"), True),
        (("cis2:patel", "another-key"), False),
        (("cis2:other", "patel-key"), False),
    ],
)
def test_a_grant_is_held_by_one_person_with_one_key(who: tuple[str, str], may: bool) -> None:
    assert rules.holds(active(), *who) is may
    assert rules.holds(offered(), *who) is False


@pytest.mark.parametrize(
    ("after", "may"),
    [(timedelta(seconds=60) - MILLISECOND, True), (timedelta(seconds=60), False)],
)
def test_a_lost_answer_can_be_asked_for_again_for_a_minute(after: timedelta, may: bool) -> None:
    collected = msgspec.structs.replace(redemption(), collected_at=NOW)
    assert rules.may_collect(collected, NOW + after) is may
    assert rules.may_collect(redemption(), NOW + timedelta(days=300))


HOUR = timedelta(hours=1)
WIDE = Slice(categories=("medicines", "results"))
LESS = Slice(categories=("medicines",))


def less(shared: Slice | None = LESS, ends_at: datetime | None = None) -> Narrowing:
    return Narrowing(base_version=1, slice=shared, ends_at=ends_at)


def test_narrowing_is_the_next_version_and_nothing_else_of_the_grant_moves() -> None:
    for grant in (offered(slice=WIDE), pending(slice=WIDE), active(slice=WIDE)):
        for narrow in (rules.narrow, rules.narrow_what_stands):
            narrowed = moved(narrow(grant, less(), NOW))
            assert narrowed == msgspec.structs.replace(grant, version=grant.version + 1, slice=LESS)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        (less(None), None),
        (less(Slice(categories=("gossip",))), "/slice"),
        (less(Slice(from_="2024-02", to="2024-01")), "/slice"),
    ],
)
def test_what_makes_no_sense_is_refused_whatever_it_was_asked_of(
    asked: Narrowing, pointer: str | None
) -> None:
    for narrow in (rules.narrow, rules.narrow_what_stands):
        refused = narrow(active(slice=WIDE), asked, NOW)
        assert isinstance(refused, Refused)
        assert refused.pointer == pointer


def test_a_narrowing_that_shows_more_is_refused_or_met() -> None:
    grant, more = active(slice=LESS), less(WIDE)
    refused = rules.narrow(grant, more, NOW)
    assert isinstance(refused, Refused)
    assert refused.pointer == "/slice"
    assert rules.narrow_what_stands(grant, more, NOW) is grant


def test_of_two_ends_the_earlier_stands() -> None:
    grant = active()
    assert grant.ends_at is not None
    sooner, later = grant.ends_at - HOUR, grant.ends_at + HOUR
    assert isinstance(rules.narrow(grant, less(None, later), NOW), Refused)
    assert rules.narrow_what_stands(grant, less(None, later), NOW) is grant
    narrowed = moved(rules.narrow_what_stands(grant, less(None, sooner), NOW))
    assert narrowed.ends_at == sooner
    assert rules.narrow_what_stands(narrowed, less(None, grant.ends_at), NOW) is narrowed


def test_an_end_in_the_past_is_now() -> None:
    grant = active()
    for past in (NOW, NOW + HOUR):
        assert isinstance(rules.narrow(grant, less(None, past), NOW + HOUR), Refused)
        ended_now = moved(rules.narrow_what_stands(grant, less(None, past), NOW + HOUR))
        assert ended_now.ends_at == NOW + HOUR
        assert rules.over_since(ended_now, NOW + HOUR) == NOW + HOUR
        assert not rules.is_live(ended_now, ended_now.version, NOW + HOUR)


def test_an_end_chosen_for_an_offer_binds_its_use_and_its_length() -> None:
    capped = moved(rules.narrow(offered(), less(None, NOW + HOUR), NOW))
    waiting = moved(rules.claim(capped, redemption(), NOW))
    in_force = moved(rules.allow(waiting, REDEMPTION_ID, NOW))
    assert in_force.ends_at == NOW + HOUR
    soon = moved(rules.narrow(offered(), less(None, NOW + MILLISECOND), NOW))
    assert rules.state_at(soon, NOW) == "offered"
    assert rules.over_since(soon, NOW + MILLISECOND) == NOW + MILLISECOND
    assert isinstance(rules.claim(soon, redemption(), NOW + MILLISECOND), Refused)
    late = moved(rules.narrow(offered(), less(None, NOW + timedelta(days=9)), NOW))
    waiting = moved(rules.claim(late, redemption(), NOW))
    assert moved(rules.allow(waiting, REDEMPTION_ID, NOW)).ends_at == NOW + timedelta(days=1)


@pytest.mark.parametrize(("kind", "days"), [("open", 365), ("role", 365), ("guest", 30)])
def test_access_can_be_made_longer_up_to_its_most(kind: RecipientKind, days: int) -> None:
    grant = msgspec.structs.replace(active(), to=Recipient(kind=kind))
    longest = NOW + timedelta(days=days)
    extended = moved(rules.extend(grant, longest, NOW + HOUR))
    assert extended == msgspec.structs.replace(grant, version=4, ends_at=longest)
    for wrong in (longest + MILLISECOND, NOW + timedelta(days=1), NOW):
        refused = rules.extend(grant, wrong, NOW + HOUR)
        assert isinstance(refused, Refused)
        assert refused.pointer == "/ends_at"


def test_only_what_is_in_force_is_made_longer() -> None:
    later = NOW + timedelta(days=7)
    for grant in (offered(), pending(), ended(), moved(rules.reject(pending(), REDEMPTION_ID, NOW))):
        assert isinstance(rules.extend(grant, later, NOW), Refused)
    assert isinstance(rules.extend(active(), later, NOW + timedelta(days=1)), Refused)
