"""The steps of one redemption, each a function of one session: claim the offer, wait for a yes, collect."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from server.identity.people import person
from server.identity.principal import Person, Principal
from server.sharing import rules, store
from server.sharing.codes import OfferCode
from server.sharing.grant import Grant, Redeemer, Redemption
from server.sharing.rules import Refused
from server.storage.directory_sharing import Attempt, Claimed, RecipientParts, claim_offer, is_taken
from server.storage.session import DirectoryReads, DirectorySession, ReadSession, WriteSession

PatientIdOf = Callable[[ReadSession], str]


class Claim(NamedTuple):
    """A claimed offer and who claimed it."""

    found: Claimed
    redeemer: Redeemer


class Ready(NamedTuple):
    """A live grant whose holder is asking, and what their token is made from."""

    grant: Grant
    patient_id: str
    now: datetime


class Trial(NamedTuple):
    """A code about to be tried, and who would hold what it opens."""

    attempt: Attempt
    redeemer: Redeemer


def prepare(session: DirectoryReads, actor: Principal, code: OfferCode, operation_id: str) -> Trial | None:
    """The code as this professional tries it; None when there is no such person or nothing left to try."""
    known = person(session, actor.subject)
    if known is None or known.kind != "professional":
        return None
    attempt = Attempt(
        name=code.name,
        secret=code.secret,
        form=code.form,
        subject=actor.subject,
        jkt=actor.jkt,
        operation_id=operation_id,
        recipients=_names_of(known),
    )
    return None if is_taken(session, attempt) else Trial(attempt, _redeemer(known, actor.jkt))


def claim(session: DirectorySession, trial: Trial) -> Claim | None:
    """The offer, claimed for this professional alone; None when the code does not open it for them."""
    found = claim_offer(session, trial.attempt)
    return None if found is None else Claim(found, trial.redeemer)


def wait(session: WriteSession, claimed: Claim) -> Redemption | Refused:
    """Puts the professional before the citizen, by name. Repeating a lost call finds the same redemption."""
    session.lock_record()
    found, now = claimed.found, session.now
    known = store.redemption_of(session, found.redemption_id)
    if known is not None:
        is_repeat = now < known.claimed_at + timedelta(seconds=rules.ANSWER_AGAIN_SECONDS)
        return known if is_repeat else Refused("This code was used.")
    grant = store.grant_of(session, found.grant_id)
    if grant is None:
        return Refused("There is no such grant.")
    redemption = Redemption(
        redemption_id=found.redemption_id,
        grant_id=found.grant_id,
        redeemer=claimed.redeemer,
        match=_two_digits(session, found.redemption_id),
        claimed_at=now,
    )
    waiting = rules.claim(grant, redemption, now)
    if isinstance(waiting, Refused):
        return waiting
    store.replace_grant(session, waiting)
    store.put_redemption(session, redemption)
    return redemption


def look(session: ReadSession, redemption_id: UUID, actor: Principal) -> Redemption | Literal["ready"] | None:
    """The redemption while the citizen has not answered, "ready" once a token may be collected, else None."""
    found = _own(session, redemption_id, actor)
    if found is None:
        return None
    redemption, grant = found
    if rules.state_at(grant, session.now) == "pending":
        return redemption
    return "ready" if _may_collect(redemption, grant, session.now) else None


def collect(
    session: WriteSession, redemption_id: UUID, actor: Principal, patient_id_of: PatientIdOf
) -> Ready | None:
    """What the token is made from, given once and for a minute after; None when nothing is to be had."""
    session.lock_record()
    found = _own(session, redemption_id, actor)
    if found is None or not _may_collect(*found, session.now):
        return None
    redemption, grant = found
    if redemption.collected_at is None:
        store.put_redemption(session, msgspec.structs.replace(redemption, collected_at=session.now))
    return Ready(grant, patient_id_of(session), session.now)


def renew(session: ReadSession, grant_id: UUID, actor: Principal, patient_id_of: PatientIdOf) -> Ready | None:
    """What a further token is made from, while the grant lives and for its holder alone."""
    grant = store.grant_of(session, grant_id)
    if grant is None or not rules.holds(grant, actor.subject, actor.jkt):
        return None
    if not rules.is_live(grant, grant.version, session.now):
        return None
    return Ready(grant, patient_id_of(session), session.now)


def _own(session: ReadSession, redemption_id: UUID, actor: Principal) -> tuple[Redemption, Grant] | None:
    redemption = store.redemption_of(session, redemption_id)
    if redemption is None:
        return None
    grant = store.grant_of(session, redemption.grant_id)
    if grant is None or grant.redemption_id != redemption_id:
        return None
    return (redemption, grant) if rules.holds(grant, actor.subject, actor.jkt) else None


def _may_collect(redemption: Redemption, grant: Grant, now: datetime) -> bool:
    return rules.is_live(grant, grant.version, now) and rules.may_collect(redemption, now)


def _names_of(known: Person) -> tuple[RecipientParts, ...]:
    by_subject = (known.subject,)
    if not known.role_code or not known.organisation:
        return (by_subject,)
    return (by_subject, (rules.job_role(known.role_code), known.organisation))


def _redeemer(known: Person, jkt: str) -> Redeemer:
    return Redeemer(
        subject=known.subject,
        jkt=jkt,
        name=known.name,
        role=known.role or "",
        role_code=known.role_code or "",
        organisation=known.organisation or "",
        organisation_name=known.organisation_name or "",
        assurance=known.assurance,
    )


def _two_digits(session: WriteSession, redemption_id: UUID) -> str:
    number = int.from_bytes(session.sealer.mac("match", redemption_id.bytes, size=8), "big")
    return f"{number % 100:02}"
