"""The rules of grants: what may be asked for, which change may follow which, when a grant is live. Pure."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from fhir_profiles.slices import NAMED_ITEMS_MAX, Slice, is_within, meet, slice_problem
from server.sharing.grant import Grant, Recipient, Redeemer, Redemption, State

LIVE_GRANTS_MAX = 50
LIVE_OFFERS_MAX = 5
ACCESS_SECONDS_DEFAULT = 24 * 3600
ACCESS_SECONDS_MAX = 365 * 24 * 3600
GUEST_SECONDS_MAX = 30 * 24 * 3600
OPEN_OFFER_SECONDS_MAX = 600
ADDRESSED_OFFER_SECONDS_MAX = 21 * 24 * 3600
# A citizen with a professional before them answers within minutes; a forgotten question must not stay open.
CONFIRM_SECONDS_MAX = 600
# How long a lost answer can be asked for again by the same person and key (THREATS section 4).
ANSWER_AGAIN_SECONDS = 60

# No code here for research or public health: Held has no secondary use (STANDARDS section 7). None for
# breaking glass either: an emergency is not a grant.
PURPOSES = frozenset({"TREAT", "ETREAT", "COC", "PATRQT", "FAMRQT", "PWATRNY"})

_OFFERED: frozenset[State] = frozenset({"offered", "pending"})
_OVER: frozenset[State] = frozenset({"ended", "expired", "rejected"})


class Refused(msgspec.Struct, frozen=True):
    """Why a rule says no, in words for the citizen."""

    reason: str
    pointer: str | None = None


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a citizen asks for in a new grant, before it is judged."""

    to: Recipient
    slice: Slice
    purpose: str
    seconds: int
    offer_seconds: int
    is_unattended: bool = False
    reason: str | None = None


class Narrowing(msgspec.Struct, frozen=True, kw_only=True):
    """What a citizen asks to leave out of a grant, or when it should end sooner, or both.

    `base_version` is the version of the grant they were looking at.
    """

    base_version: int
    slice: Slice | None = None
    ends_at: datetime | None = None


def judge_terms(terms: Terms) -> Refused | None:
    """None when a grant on these terms may be made, else why not."""
    if terms.to.kind == "guest":
        return Refused("We cannot share with a guest yet. Choose an open code.", "/to")
    if problem := slice_problem(terms.slice):
        return Refused(problem, "/slice")
    if terms.is_unattended:
        return Refused("We cannot share without your yes at the time yet.", "/unattended")
    if terms.purpose not in PURPOSES:
        return Refused(f"The purpose must be one of {', '.join(sorted(PURPOSES))}.", "/purpose")
    if not 1 <= terms.seconds <= ACCESS_SECONDS_MAX:
        return Refused("Access must last at least one second and at most one year.", "/seconds")
    longest = offer_seconds_max(terms.to)
    if not 1 <= terms.offer_seconds <= longest:
        return Refused(f"This kind of code can be used for at most {longest} seconds.", "/offer_seconds")
    return None


def judge_room(grants: list[Grant], now: datetime) -> Refused | None:
    """None when the record has room for one more offer, else why not."""
    states = [state_at(grant, now) for grant in grants]
    if sum(state in _OFFERED for state in states) >= LIVE_OFFERS_MAX:
        return Refused(f"You can have {LIVE_OFFERS_MAX} codes waiting to be used. End one first.")
    return judge_crowd(grants, now)


def judge_crowd(grants: list[Grant], now: datetime) -> Refused | None:
    """None when one more grant may come into force, else why not."""
    if sum(state_at(grant, now) == "active" for grant in grants) >= LIVE_GRANTS_MAX:
        return Refused(f"You can share with {LIVE_GRANTS_MAX} people at a time. End one first.")
    return None


def offer_seconds_max(to: Recipient) -> int:
    """How long an offer to this recipient may wait: whoever holds an open code can use it, so minutes."""
    return OPEN_OFFER_SECONDS_MAX if to.kind == "open" else ADDRESSED_OFFER_SECONDS_MAX


def state_at(grant: Grant, now: datetime) -> State:
    """What the grant is at this moment."""
    if grant.state in _OFFERED and now >= _last_use(grant):
        return "expired"
    if grant.state == "active" and not _is_before_end(grant, now):
        return "expired"
    return grant.state


def is_live(grant: Grant, version: int, now: datetime) -> bool:
    """True while a token made for this version of the grant opens anything."""
    return grant.state == "active" and grant.version == version and _is_before_end(grant, now)


def is_over(grant: Grant, now: datetime) -> bool:
    """True once nothing can make the grant live again."""
    return state_at(grant, now) in _OVER


def over_since(grant: Grant, now: datetime) -> datetime | None:
    """Since when the grant has been over, or None while it is not."""
    if not is_over(grant, now):
        return None
    if grant.ended_at is not None:
        return grant.ended_at
    return grant.ends_at if grant.state == "active" else _last_use(grant)


def is_for(to: Recipient, redeemer: Redeemer) -> bool:
    """True when an offer to this recipient may be used by this professional."""
    match to.kind:
        case "open":
            return True
        case "professional":
            return to.subject is not None and to.subject == redeemer.subject
        case "role":
            wanted = (job_role(to.role_code or ""), to.organisation)
            return all(wanted) and wanted == (job_role(redeemer.role_code), redeemer.organisation)
        case "guest":
            return False


def offered(terms: Terms, grant_id: UUID, now: datetime, *, wording: int, offer_key: bytes) -> Grant:
    """A new grant on terms that were judged, waiting for its code to be used."""
    return Grant(
        grant_id=grant_id,
        version=1,
        state="offered",
        to=terms.to,
        slice=terms.slice,
        purpose=terms.purpose,
        seconds=terms.seconds,
        created_at=now,
        use_by=now + timedelta(seconds=terms.offer_seconds),
        wording=wording,
        offer_key=offer_key,
        reason=terms.reason,
    )


def job_role(role_code: str) -> str:
    """The job role of a CIS2 role code: `R0260` of `S0010:G0020:R0260`."""
    return role_code.rpartition(":")[2]


def claim(grant: Grant, redemption: Redemption, now: datetime) -> Grant | Refused:
    """The grant waiting for the citizen's yes to this professional."""
    if state_at(grant, now) != "offered":
        return Refused("This offer can no longer be used.")
    if not is_for(grant.to, redemption.redeemer):
        return Refused("This offer is for someone else.")
    return msgspec.structs.replace(
        grant,
        version=grant.version + 1,
        state="pending",
        redemption_id=redemption.redemption_id,
        redeemer=redemption.redeemer,
        use_by=now + timedelta(seconds=CONFIRM_SECONDS_MAX),
    )


def allow(grant: Grant, redemption_id: UUID, now: datetime) -> Grant | Refused:
    """The grant in force, its length counted from this moment, but never past an end chosen before."""
    if refused := _not_waiting(grant, redemption_id, now):
        return refused
    ends_at = _earlier(grant.ends_at, now + timedelta(seconds=grant.seconds))
    return msgspec.structs.replace(
        grant, version=grant.version + 1, state="active", redeemed_at=now, ends_at=ends_at
    )


def reject(grant: Grant, redemption_id: UUID, now: datetime) -> Grant | Refused:
    """The grant closed for good: the citizen said no to this person."""
    if refused := _not_waiting(grant, redemption_id, now):
        return refused
    return msgspec.structs.replace(grant, version=grant.version + 1, state="rejected", ended_at=now)


def end(grant: Grant, reason: str | None, now: datetime) -> Grant | Refused:
    """The grant ended by the citizen. Refused when it is over already: nothing ends twice."""
    if is_over(grant, now):
        return Refused("This access is already over.")
    return msgspec.structs.replace(
        grant, version=grant.version + 1, state="ended", ended_at=now, end_reason=reason
    )


def narrow(grant: Grant, asked: Narrowing, now: datetime) -> Grant | Refused:
    """The grant with just what was asked. Refused when that would show more, or show it for longer.

    The grant itself when nothing changes. The caller has made sure that it is not over.
    """
    if refused := _unclear(asked):
        return refused
    if asked.slice is not None and not is_within(asked.slice, grant.slice):
        return Refused("This would show something that is not shown now. Share anew instead.", "/slice")
    if asked.ends_at is not None and asked.ends_at <= now:
        return Refused("This time has passed. End the access instead.", "/ends_at")
    if asked.ends_at is not None and grant.ends_at is not None and asked.ends_at > grant.ends_at:
        return Refused("This would make access longer. Extend it instead.", "/ends_at")
    return _narrowed(grant, asked.slice or grant.slice, asked.ends_at or grant.ends_at)


def narrow_what_stands(grant: Grant, asked: Narrowing, now: datetime) -> Grant | Refused:
    """The grant within both what stands and what was asked of an earlier version (ADR 0024).

    The grant itself when nothing changes. Refused only for what makes no sense of itself.
    """
    if refused := _unclear(asked):
        return refused
    shared, ends_at = grant.slice, grant.ends_at
    if asked.slice is not None:
        shared = meet(grant.slice, asked.slice)
    if len(shared.hide) + len(shared.add) > NAMED_ITEMS_MAX:
        return Refused(f"At most {NAMED_ITEMS_MAX} items can be named. Look at what is shared now.", "/slice")
    if asked.ends_at is not None:
        # What was seen until this moment was seen while access lasted.
        ends_at = _earlier(ends_at, max(asked.ends_at, now))
    return _narrowed(grant, shared, ends_at)


def extend(grant: Grant, ends_at: datetime, now: datetime) -> Grant | Refused:
    """The grant until later than now planned, counted from when it was used. The caller checks it is live."""
    if state_at(grant, now) != "active" or grant.redeemed_at is None or grant.ends_at is None:
        return Refused("Only access that somebody has now can be made longer.")
    if ends_at <= grant.ends_at:
        return Refused("This would not make access longer.", "/ends_at")
    seconds = GUEST_SECONDS_MAX if grant.to.kind == "guest" else ACCESS_SECONDS_MAX
    if ends_at > grant.redeemed_at + timedelta(seconds=seconds):
        days = seconds // 86_400
        return Refused(f"Access can last at most {days} days from when it was first used.", "/ends_at")
    return msgspec.structs.replace(grant, version=grant.version + 1, ends_at=ends_at)


def holds(grant: Grant, subject: str, jkt: str) -> bool:
    """True for the professional who used the offer, with the key it was used with."""
    return grant.redeemer is not None and (grant.redeemer.subject, grant.redeemer.jkt) == (subject, jkt)


def may_collect(redemption: Redemption, now: datetime) -> bool:
    """True when a redemption may still answer with a token: the first time, and again for a lost answer."""
    if redemption.collected_at is None:
        return True
    return now < redemption.collected_at + timedelta(seconds=ANSWER_AGAIN_SECONDS)


def _not_waiting(grant: Grant, redemption_id: UUID, now: datetime) -> Refused | None:
    if state_at(grant, now) != "pending" or grant.redemption_id != redemption_id:
        return Refused("Nobody is waiting for your answer here any more.")
    return None


def _unclear(asked: Narrowing) -> Refused | None:
    if asked.slice is None and asked.ends_at is None:
        return Refused("Say what should be shown from now on, or when access should end.")
    problem = slice_problem(asked.slice) if asked.slice is not None else None
    return Refused(problem, "/slice") if problem else None


def _narrowed(grant: Grant, shared: Slice, ends_at: datetime | None) -> Grant:
    if (shared, ends_at) == (grant.slice, grant.ends_at):
        return grant
    return msgspec.structs.replace(grant, version=grant.version + 1, slice=shared, ends_at=ends_at)


def _earlier(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else min(one, other)


def _last_use(grant: Grant) -> datetime:
    """Until when an offer can be used: an end chosen before it was used comes first."""
    return _earlier(grant.ends_at, grant.use_by)


def _is_before_end(grant: Grant, now: datetime) -> bool:
    return grant.ends_at is not None and now < grant.ends_at
