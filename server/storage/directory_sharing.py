"""The directory's part of sharing: offers found by name, guesses counted, grants found by id.

Whatever must happen once is one conditional statement whose changed rows are counted (THREATS rule 8).
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec
import sqlalchemy as sa

# SQLite's compiler writes PostgreSQL's ON CONFLICT clause in its own dialect, which is the same text.
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.storage.directory_tables import GrantRecordRow, GuessCountRow, OfferRow
from server.storage.session import DirectoryReads, DirectorySession

GUESSES_PER_OFFER = 5
GUESSES_PER_HOUR = 5
GUESSES_PER_DAY = 20
GUESSES_OVERALL_PER_HOUR = 1_000

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_EVERYBODY = b"everybody"


RecipientParts = tuple[str, ...]
"""Who alone may claim an offer: (subject,) or (role code, organisation)."""


class NewOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer about to be entered. `recipient` is None when whoever holds the code may claim it."""

    name: str
    typed_secret: str
    link_secret: str
    record_id: UUID
    grant_id: UUID
    seconds: int
    recipient: RecipientParts | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A professional trying a code. `operation_id` tells a repeat of the same call from a second use."""

    name: str
    secret: str
    form: Literal["typed", "link"]
    subject: str
    jkt: str
    operation_id: str
    recipients: tuple[RecipientParts, ...]


class Claimed(NamedTuple):
    """What a right code leads to."""

    record_id: UUID
    grant_id: UUID
    redemption_id: UUID


def add_offer(session: DirectorySession, offer: NewOffer) -> bytes | None:
    """The key of the new offer's row, or None when its name is taken by an offer that can still be used."""
    sealer = session.sealer
    name_mac = sealer.mac("offer-name", offer.name)
    session.execute(
        sa.delete(OfferRow).where(col(OfferRow.name_mac) == name_mac, col(OfferRow.expires_at) <= session.now)
    )
    added = session.execute(
        insert(OfferRow)
        .values(
            name_mac=name_mac,
            record_id=offer.record_id,
            grant_id=offer.grant_id,
            secret_mac=sealer.mac("offer-typed", offer.name, offer.typed_secret),
            link_mac=sealer.mac("offer-link", offer.name, offer.link_secret),
            recipient_mac=None
            if offer.recipient is None
            else sealer.mac("offer-recipient", *offer.recipient),
            guesses_left=GUESSES_PER_OFFER,
            expires_at=session.now + timedelta(seconds=offer.seconds),
        )
        .on_conflict_do_nothing(index_elements=["name_mac"])
    )
    return name_mac if added.rowcount == 1 else None


def drop_offer(session: DirectorySession, name_mac: bytes, grant_id: UUID) -> None:
    """Removes a grant's offer, if the row under this name is still that grant's."""
    session.execute(
        sa.delete(OfferRow).where(col(OfferRow.name_mac) == name_mac, col(OfferRow.grant_id) == grant_id)
    )


def claim_offer(session: DirectorySession, attempt: Attempt) -> Claimed | None:
    """What the code leads to, now claimed by this professional and key; None for every kind of no.

    The guess is paid for before the secret is looked at, so that no number of calls at once gets more than
    the limit. It is given back unless the code was wrong.
    """
    if not _pay_for_guess(session, attempt.subject):
        return None
    claimed = _claim(session, attempt)
    was_wrong = _count_against_offer(session, attempt) if claimed is None else False
    if claimed is None and (was_wrong or not _is_right(session, attempt)):
        _count_overall(session)
        return None
    _give_back_guess(session, attempt.subject)
    return claimed


def is_taken(session: DirectoryReads, attempt: Attempt) -> bool:
    """True when the code is right and another call has claimed it already: nothing is left to try.

    It spares the many calls of a race the wait for rows that only one of them can have.
    """
    claimed_by = session.execute(
        sa.select(col(OfferRow.claimed_by)).where(*_right_code(session, attempt))
    ).scalar_one_or_none()
    return claimed_by is not None and claimed_by != _claimer(session, attempt)


def purge_expired(session: DirectorySession) -> None:
    """Drops offers that can no longer be used, and counts of guesses that no longer count."""
    session.execute(sa.delete(OfferRow).where(col(OfferRow.expires_at) <= session.now))
    oldest = _window(session.now, _DAY)
    session.execute(sa.delete(GuessCountRow).where(col(GuessCountRow.window_start) < oldest))


def add_pointer(session: DirectorySession, pointer_id: UUID, record_id: UUID) -> None:
    """Lets a grant or redemption be found by its id. Entering it again changes nothing."""
    session.execute(
        insert(GrantRecordRow)
        .values(pointer_id=pointer_id, record_id=record_id)
        .on_conflict_do_nothing(index_elements=["pointer_id"])
    )


def record_of_pointer(session: DirectoryReads, pointer_id: UUID) -> UUID | None:
    """The record a grant or redemption belongs to."""
    return session.execute(
        sa.select(col(GrantRecordRow.record_id)).where(col(GrantRecordRow.pointer_id) == pointer_id)
    ).scalar_one_or_none()


def _claim(session: DirectorySession, attempt: Attempt) -> Claimed | None:
    sealer = session.sealer
    claimer = _claimer(session, attempt)
    claimed = session.execute(
        sa.update(OfferRow)
        .where(
            *_right_code(session, attempt),
            col(OfferRow.guesses_left) > 0,
            col(OfferRow.expires_at) > session.now,
            sa.or_(col(OfferRow.claimed_by).is_(None), col(OfferRow.claimed_by) == claimer),
        )
        .values(claimed_by=claimer)
        .returning(col(OfferRow.record_id), col(OfferRow.grant_id))
    )
    row = claimed.one_or_none()
    if row is None:
        return None
    redemption_id = UUID(bytes=sealer.mac("redemption", row.grant_id.bytes, claimer), version=4)
    add_pointer(session, redemption_id, row.record_id)
    return Claimed(row.record_id, row.grant_id, redemption_id)


def _count_against_offer(session: DirectorySession, attempt: Attempt) -> bool:
    """True when the name is an offer's and the secret or the person is wrong; it has one guess fewer then."""
    counted = session.execute(
        sa.update(OfferRow)
        .where(
            col(OfferRow.name_mac) == _name_mac(session, attempt),
            sa.not_(sa.and_(*_right_code(session, attempt))),
            col(OfferRow.guesses_left) > 0,
        )
        .values(guesses_left=col(OfferRow.guesses_left) - 1)
    )
    return counted.rowcount == 1


def _is_right(session: DirectorySession, attempt: Attempt) -> bool:
    found = session.execute(sa.select(sa.literal(1)).where(*_right_code(session, attempt)))
    return found.scalar_one_or_none() is not None


def _right_code(session: DirectoryReads, attempt: Attempt) -> tuple[sa.ColumnElement[bool], ...]:
    sealer = session.sealer
    column = col(OfferRow.secret_mac) if attempt.form == "typed" else col(OfferRow.link_mac)
    persons = [sealer.mac("offer-recipient", *parts) for parts in attempt.recipients]
    return (
        col(OfferRow.name_mac) == _name_mac(session, attempt),
        column == sealer.mac(f"offer-{attempt.form}", attempt.name, attempt.secret),
        sa.or_(col(OfferRow.recipient_mac).is_(None), col(OfferRow.recipient_mac).in_(persons)),
    )


def _claimer(session: DirectoryReads, attempt: Attempt) -> bytes:
    return session.sealer.mac("offer-claimer", attempt.subject, attempt.jkt, attempt.operation_id)


def _name_mac(session: DirectoryReads, attempt: Attempt) -> bytes:
    return session.sealer.mac("offer-name", attempt.name)


def _pay_for_guess(session: DirectorySession, subject: str) -> bool:
    # The overall count is only read here: a row that every redemption had to lock would make them queue.
    # Calls under way at once can pass its limit by their own number, which is small beside it.
    overall = session.execute(
        sa.select(col(GuessCountRow.wrong)).where(
            col(GuessCountRow.guesser_mac) == session.sealer.mac("guess-hour", _EVERYBODY),
            col(GuessCountRow.window_start) == _window(session.now, _HOUR),
        )
    ).scalar_one_or_none()
    if (overall or 0) >= GUESSES_OVERALL_PER_HOUR:
        return False
    return all(_add_one(session, *counter) for counter in _counters(session, subject))


def _give_back_guess(session: DirectorySession, subject: str) -> None:
    counters = [
        sa.and_(
            col(GuessCountRow.guesser_mac) == guesser_mac, col(GuessCountRow.window_start) == window_start
        )
        for guesser_mac, window_start, _ in _counters(session, subject)
    ]
    session.execute(
        sa.update(GuessCountRow).where(sa.or_(*counters)).values(wrong=col(GuessCountRow.wrong) - 1)
    )


def _count_overall(session: DirectorySession) -> None:
    guesser_mac = session.sealer.mac("guess-hour", _EVERYBODY)
    _add_one(session, guesser_mac, _window(session.now, _HOUR), GUESSES_OVERALL_PER_HOUR)


def _counters(session: DirectorySession, subject: str) -> tuple[tuple[bytes, datetime, int], ...]:
    sealer, now = session.sealer, session.now
    return (
        (sealer.mac("guess-hour", subject), _window(now, _HOUR), GUESSES_PER_HOUR),
        (sealer.mac("guess-day", subject), _window(now, _DAY), GUESSES_PER_DAY),
    )


def _add_one(session: DirectorySession, guesser_mac: bytes, window_start: datetime, most: int) -> bool:
    counted = session.execute(
        insert(GuessCountRow)
        .values(guesser_mac=guesser_mac, window_start=window_start, wrong=1)
        .on_conflict_do_update(
            index_elements=["guesser_mac", "window_start"],
            set_={"wrong": col(GuessCountRow.wrong) + 1},
            where=col(GuessCountRow.wrong) < most,
        )
    )
    return counted.rowcount == 1


def _window(now: datetime, length: timedelta) -> datetime:
    epoch = datetime.fromtimestamp(0, now.tzinfo)
    return epoch + (now - epoch) // length * length
