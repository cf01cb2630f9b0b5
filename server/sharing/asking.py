"""What the bodies of the grant calls ask for. A phone's commands have the same bodies. Pure.

Each raises RuleBroken for what is well formed and makes no sense.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

from server.errors import RuleBroken
from server.sharing.grant import Recipient
from server.sharing.rules import Narrowing, Terms
from server.sharing.wire import NarrowGrant, NewGrant, To

SUBJECT_CHARACTERS_MAX = 200
REASON_CHARACTERS_MAX = 1_000

_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


def terms_of(asked: NewGrant) -> Terms:
    """The terms of a new grant, still to be judged."""
    to = recipient_of(asked.to)
    if to is None or len(to.subject or "") > SUBJECT_CHARACTERS_MAX:
        raise RuleBroken("Say in one way whom this is for: open, a professional, or a role.", pointer="/to")
    return Terms(
        to=to,
        slice=asked.slice,
        purpose=asked.purpose,
        seconds=asked.seconds,
        offer_seconds=asked.offer_seconds,
        is_unattended=asked.unattended,
        reason=reason_of(asked.reason),
    )


def narrowing_of(asked: NarrowGrant) -> Narrowing:
    """What should be left out, or when access should end sooner."""
    ends_at = end_of(asked.ends_at) if asked.ends_at is not None else None
    return Narrowing(base_version=asked.base_version, slice=asked.slice, ends_at=ends_at)


def end_of(asked: str) -> datetime:
    """An end that was asked for, in UTC and whole milliseconds, as grants keep them."""
    try:
        instant = msgspec.convert(asked, _Instant).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        example = "2026-11-27T17:00:00.000Z"
        raise RuleBroken(f"A time must be written like {example}.", pointer="/ends_at") from None
    return instant.replace(microsecond=instant.microsecond // 1_000 * 1_000)


def reason_of(reason: str | None) -> str | None:
    """The citizen's own words, not too many."""
    if reason is not None and len(reason) > REASON_CHARACTERS_MAX:
        raise RuleBroken(f"A reason can have {REASON_CHARACTERS_MAX} characters.", pointer="/reason")
    return reason


def recipient_of(to: To) -> Recipient | None:
    """Whom the body names; None unless it names exactly one form, whole."""
    role = (to.role_code, to.organisation)
    forms = [to.open is not None, to.professional is not None, any(role), to.guest is not None]
    if sum(forms) != 1 or to.open is False or any(role) != all(role):
        return None
    if to.professional is not None:
        return Recipient(kind="professional", subject=to.professional.subject)
    if to.guest is not None:
        return Recipient(kind="guest", name=to.guest.name, organisation=to.guest.organisation)
    if to.open:
        return Recipient(kind="open")
    return Recipient(kind="role", role_code=to.role_code, organisation=to.organisation)
