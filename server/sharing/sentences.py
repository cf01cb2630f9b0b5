"""One generator for every sentence about a grant, a redemption, a log line or a receipt. Pure.

A sentence is made from slots alone, so that it can be made again, in another wording or another format. The
first sentence says what may be seen; only the citizen is given the rest, which says what is kept back.
No pronoun is guessed: a person is named, or is "you".
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from server.audit.entry import Kind, LoggedItem, Who
from server.sharing.grant import Grant, Recipient, Redeemer, State
from server.sharing.plain_words import (
    CATEGORY_WORDS,
    LONDON,
    SENSITIVE_WORDS,
    at_words,
    count_words,
    date_words,
    length_words,
    listed,
    plain_name,
    until_words,
)

WORDING_VERSION = 1
"""Kept with each grant: which wording the citizen agreed to. Raise it whenever a sentence changes."""

_LOOKED: dict[Kind, str] = {
    "read": "looked at {}",
    "search": "searched and saw {}",
    "history": "looked at earlier versions of {}",
    "sync": "copied {} to a phone",
    "export": "made a copy of {}",
    "preview-by-carer": "saw beforehand how {} would be shown",
}
CANNOT_UNDO = "What has already been read, written down or copied cannot be taken back."


class WhoSlots(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who a sentence is about. `name` is empty while nobody has used an open code."""

    name: str = ""
    role: str = ""
    organisation: str = ""
    is_open: bool = False

    @property
    def short(self) -> str:
        """`Dr Patel`."""
        return plain_name(self.name) or "Nobody"

    @property
    def full(self) -> str:
        """`Dr Patel (GP, Beeston Practice)`."""
        about = ", ".join(plain_name(part) for part in (self.role, self.organisation) if part)
        return f"{self.short} ({about})" if about else self.short


class WhatSlots(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be seen, and what is kept back."""

    current: bool = False
    categories: tuple[str, ...] = ()
    conditions: int = 0
    from_date: str | None = None
    to_date: str | None = None
    added: int = 0
    included: tuple[str, ...] = ()
    kept_back: tuple[str, ...] = ()
    hidden: int = 0


class GrantSlots(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a grant's sentences are made from."""

    state: State
    who: WhoSlots
    what: WhatSlots
    seconds: int
    was_used: bool = False
    until: datetime | None = None
    said_in: int | None = None


def slots_of(grant: Grant, state: State) -> GrantSlots:
    """The slots of a grant that is in this state now."""
    shown = grant.slice
    return GrantSlots(
        state=state,
        who=who_slots(grant),
        what=WhatSlots(
            current=shown.current,
            categories=tuple(name for name in CATEGORY_WORDS if name in shown.categories),
            conditions=len(shown.conditions),
            from_date=shown.from_,
            to_date=shown.to,
            added=len(shown.add),
            included=tuple(name for name in SENSITIVE_WORDS if name in shown.sensitive),
            kept_back=tuple(name for name in SENSITIVE_WORDS if name not in shown.sensitive),
            hidden=len(shown.hide),
        ),
        seconds=grant.seconds,
        was_used=grant.redeemed_at is not None,
        until=grant.ended_at if state == "ended" else grant.ends_at,
        said_in=(grant.redeemed_at or grant.created_at).astimezone(LONDON).year,
    )


def who_slots(grant: Grant) -> WhoSlots:
    """Who the grant's sentences are about: who used it, or whom it is for."""
    if grant.redeemer is not None:
        return redeemer_slots(grant.redeemer)
    return _recipient_slots(grant.to)


def redeemer_slots(redeemer: Redeemer) -> WhoSlots:
    """The professional, as their sign-in described them."""
    organisation = redeemer.organisation_name or redeemer.organisation
    return WhoSlots(name=redeemer.name, role=redeemer.role, organisation=organisation)


def citizen_sentence(slots: GrantSlots) -> str:
    """What the citizen is told of the grant: what may be seen and what is kept back."""
    if not _says_what(slots):
        return _first_sentence(slots)
    return " ".join((_first_sentence(slots), *_latest_sentences(slots), *_kept_back_sentences(slots)))


def recipient_sentence(slots: GrantSlots) -> str:
    """What the recipient is told of the grant: the first sentence only."""
    return _first_sentence(slots)


def offered_line(slots: GrantSlots) -> str:
    """The log line for a new grant."""
    return f"You made a code for sharing. {citizen_sentence(slots)}"


def confirmed_line(slots: GrantSlots) -> str:
    """The log line for saying yes to a professional."""
    return f"You said yes to {slots.who.full}. {citizen_sentence(slots)}"


def narrowed_line(slots: GrantSlots) -> str:
    """The log line for showing less, or for less long."""
    if slots.who.is_open:
        return f"You reduced what a code opens. {citizen_sentence(slots)}"
    return f"You reduced access for {slots.who.full}. {citizen_sentence(slots)}"


def extended_line(slots: GrantSlots) -> str:
    """The log line for making access longer."""
    return f"You gave {slots.who.full} more time. {citizen_sentence(slots)}"


def rejected_line(who: WhoSlots) -> str:
    """The log line for saying no to a professional."""
    return f"You said no to {who.full}. {who.short} saw nothing."


def ended_line(slots: GrantSlots) -> str:
    """The log line for ending a grant or an offer."""
    if slots.was_used:
        return f"You ended access for {slots.who.full}."
    return "You ended a code before it was used."


def too_late_line(who: WhoSlots) -> str:
    """The log line for a look that was refused because access was over."""
    return f"{who.full} tried to look after access was over. {who.short} saw nothing."


def looked_line(who: Who, kind: Kind, items: Sequence[LoggedItem], *, is_owner: bool) -> str:
    """The log line for a disclosure: who looked, and at how much."""
    subject = "You" if is_owner else logged_who_slots(who).full
    count = len({item[:2] for item in items})
    what = count_words(count, "item") if count else "nothing"
    return f"{subject} {_LOOKED.get(kind, 'looked at {}').format(what)}."


def device_added_line(name: str) -> str:
    """What the citizen reads when they let a phone hold a copy."""
    return f"You let your phone '{plain_name(name)}' keep a copy of your record."


def synced_line(name: str) -> str:
    """What the citizen reads once a day of a phone of theirs."""
    return f"Your phone '{plain_name(name)}' brought its copy of your record up to date."


def device_ended_line(name: str) -> str:
    """What the citizen reads when they end a phone's access."""
    return f"You ended the access of your phone '{plain_name(name)}'. It is told to delete its copy."


def device_wiped_line(name: str) -> str:
    """What the citizen reads when an ended phone says that it did as it was told."""
    return f"Your phone '{plain_name(name)}' says that it has deleted its copy of your record."


def logged_who_slots(who: Who) -> WhoSlots:
    """A person or system as a log entry names them."""
    return WhoSlots(name=who.name, role=who.role or "", organisation=who.organisation or "")


def receipt_sentence(slots: GrantSlots, effective_at: datetime) -> str:
    """What the receipt for ending says happened, and when."""
    when = at_words(effective_at, said_in=slots.said_in)
    if slots.was_used:
        return f"Access for {slots.who.full} ended at {when}."
    return f"This code stopped working at {when}. Nobody had used it."


def cannot_undo(slots: GrantSlots, items_seen: int) -> str:
    """What ending cannot take back."""
    if not slots.was_used:
        return "Nobody used this code, so there is nothing to take back."
    if items_seen == 0:
        return f"{slots.who.short} had not seen anything, so there is nothing to take back."
    return f"{slots.who.short} had already seen {count_words(items_seen, 'item')}. {CANNOT_UNDO}"


def _recipient_slots(to: Recipient) -> WhoSlots:
    match to.kind:
        case "role":
            return WhoSlots(name=f"The {to.name or to.role_code}", organisation=to.organisation or "")
        case "professional":
            return WhoSlots(name=to.name or "The person you named")
        case "open" | "guest":
            return WhoSlots(name=to.name or "", is_open=True)


def _says_what(slots: GrantSlots) -> bool:
    return slots.state in {"draft", "offered", "pending", "active"} or slots.was_used


def _first_sentence(slots: GrantSlots) -> str:
    who, what, length = slots.who.full, _what_words(slots.what), length_words(slots.seconds)
    match slots.state:
        case "active":
            return f"{who} can see {what} until {_until(slots)}."
        case "draft" | "offered" if slots.who.is_open:
            return f"Whoever uses this code, once you say yes, can see {what} for {length}."
        case "draft" | "offered":
            return f"{who} can use this code to see {what} for {length}."
        case "pending":
            return f"{who} is waiting for your yes to see {what} for {length}."
        case "rejected":
            return f"You said no to {who}."
        case "ended" | "expired" if slots.was_used:
            return f"{who} could see {what} until {_until(slots)}."
        case "ended":
            return "You ended this code before it was used."
        case "expired":
            return "This code ran out before it was used."


def _until(slots: GrantSlots) -> str:
    assert slots.until is not None
    return until_words(slots.until, said_in=slots.said_in)


def _latest_sentences(slots: GrantSlots) -> list[str]:
    """The end that the citizen chose before anybody used the code."""
    if slots.state not in {"draft", "offered", "pending"} or slots.until is None:
        return []
    return [f"Access will be over by {_until(slots)}."]


def _kept_back_sentences(slots: GrantSlots) -> list[str]:
    cannot = _cannot(slots)
    told: list[str] = []
    if slots.what.kept_back:
        names = [SENSITIVE_WORDS[name] for name in slots.what.kept_back]
        told.append(f"{cannot} see anything about {listed(names, 'or')}.")
    if slots.what.hidden:
        one = slots.what.hidden == 1
        told.append(f"{cannot} see the {'item' if one else f'{slots.what.hidden} items'} you kept back.")
    return told


def _cannot(slots: GrantSlots) -> str:
    is_past = slots.state in {"ended", "expired"}
    if slots.who.is_open:
        return f"Nobody with this code {'could' if is_past else 'can'}"
    return f"{slots.who.short} {'could not' if is_past else 'cannot'}"


def _what_words(what: WhatSlots) -> str:
    parts: list[str] = []
    if what.current:
        parts.append("your current summary")
    if what.categories:
        parts.append(_category_words(what))
    if what.conditions:
        parts.append(f"what belongs to {count_words(what.conditions, 'health problem')} you chose")
    if what.added:
        parts.append(f"{count_words(what.added, 'item')} you added")
    seen = ", and ".join(parts) or "nothing"
    if what.included:
        seen += f", with what is about {listed([SENSITIVE_WORDS[name] for name in what.included])}"
    return seen


def _category_words(what: WhatSlots) -> str:
    names = f"your {listed([CATEGORY_WORDS[name] for name in what.categories])}"
    if len(what.categories) == len(CATEGORY_WORDS):
        names = "every part of your record"
    window = ""
    if what.from_date:
        window += f" from {date_words(what.from_date)}"
    if what.to_date:
        window += f" up to {date_words(what.to_date)}"
    return names + window
