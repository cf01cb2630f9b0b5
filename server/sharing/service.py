"""What a citizen does with grants: make one, look at them, say yes or no to a person, change or end one.

What a phone may also have done while it was offline is prepared here as a Command, to be run in a transaction
of somebody else's; the calls of the API run the same commands in one of their own.
"""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from server.audit import service as audit
from server.audit.service import NOTHING_SEEN, Seen
from server.errors import Conflict, LimitReached, NotFound, RuleBroken
from server.identity.authenticate import require_recent_sign_in
from server.sharing import changes, rules, sentences, store
from server.sharing.altering import Altering
from server.sharing.authorise import who_redeemed
from server.sharing.authority import Authority
from server.sharing.ending import Ending
from server.sharing.grant import Grant, Redemption, State
from server.sharing.offering import Offered, Offering
from server.sharing.offers import Offer
from server.sharing.receipts import Receipt, ReceiptSigner
from server.sharing.redemptions import PatientIdOf
from server.sharing.rules import Narrowing, Refused, Terms
from server.storage.command import Command, carry_out
from server.storage.directory_sharing import purge_expired
from server.storage.engine import Storage
from server.storage.session import ReadSession, WriteSession


class GrantNow(NamedTuple):
    """A grant, what it is at this moment, who waits for an answer to it, and what was seen through it."""

    grant: Grant
    state: State
    waiting: Redemption | None
    seen: Seen


class Sharing:
    """The citizen's side of sharing."""

    def __init__(self, storage: Storage, signer: ReceiptSigner, patient_id_of: PatientIdOf) -> None:
        self._storage = storage
        self._patient_id_of = patient_id_of
        self._offering = Offering(storage, patient_id_of)
        self._altering = Altering(patient_id_of)
        self._ending = Ending(storage, signer, patient_id_of)

    async def forget_expired(self) -> None:
        """Drops offers and counts of guesses that no longer matter. For a task that runs now and then."""
        await self._storage.register(purge_expired)

    async def offer(self, authority: Authority, terms: Terms) -> tuple[Grant, Offer]:
        """A new grant with the codes that lead to it; see prepare_offer for what can be refused."""
        now = await self._storage.look_up(lambda session: session.now)
        command = await self.prepare_offer(authority, terms, uuid4(), now)
        made = await carry_out(self._storage, authority.record_id, command)
        assert made.offer is not None
        return made.grant, made.offer

    async def prepare_offer(
        self, authority: Authority, terms: Terms, grant_id: UUID, now: datetime
    ) -> Command[Offered]:
        """A command that makes a grant under this id, with the codes that lead to it.

        Doing it again with the same id finds the same grant, and shows no code. StepUpNeeded when the citizen
        signed in too long ago, RuleBroken when the terms may not be had, Conflict when the id names a grant
        of someone else; the command raises LimitReached when the record has no room for one more offer.
        """
        require_recent_sign_in(authority.principal, now)
        if refused := rules.judge_terms(terms):
            raise RuleBroken(refused.reason, pointer=refused.pointer)
        return await self._offering.prepare(authority, terms, grant_id)

    async def every(self, record_id: UUID) -> list[GrantNow]:
        """Every grant of the record, newest first."""
        found = await self._storage.read(
            record_id, lambda session: [_now(session, grant) for grant in store.grants_of(session)]
        )
        return [await self._with_seen(record_id, one) for one in found]

    async def one(self, record_id: UUID, grant_id: UUID) -> GrantNow:
        """One grant; NotFound when the record has no such grant."""
        found = await self._storage.read(record_id, lambda session: _now(session, _grant(session, grant_id)))
        return await self._with_seen(record_id, found)

    async def allow(self, authority: Authority, grant_id: UUID, redemption_id: UUID, match: str) -> GrantNow:
        """The grant, in force from now. Saying yes again to the same person changes nothing.

        Conflict when nobody waits here any more, RuleBroken when the two digits are another screen's.
        """

        def command(session: WriteSession) -> None:
            session.lock_record()
            grant, redemption = _asked(session, grant_id, redemption_id)
            if redemption.match != match:
                raise RuleBroken("The two digits are not those on the other screen.", pointer="/match")
            if grant.state == "active" and grant.redemption_id == redemption_id:
                return
            if crowded := rules.judge_crowd(store.grants_of(session), session.now):
                raise LimitReached(crowded.reason)
            allowed = _moved(rules.allow(grant, redemption_id, session.now))
            line = sentences.confirmed_line(sentences.slots_of(allowed, "active"))
            entry = changes.line("redeem", who_redeemed(redemption.redeemer), allowed, line)
            changes.replace(session, allowed, self._patient_id_of(session), entry)

        await self._storage.write(authority.record_id, command)
        return await self.one(authority.record_id, grant_id)

    async def reject(self, authority: Authority, grant_id: UUID, redemption_id: UUID) -> GrantNow:
        """The grant, closed for good. Saying no again changes nothing; Conflict when nobody waits here.

        The two digits do not matter: that they differ is a good reason to say no.
        """

        def command(session: WriteSession) -> None:
            session.lock_record()
            grant, redemption = _asked(session, grant_id, redemption_id)
            if grant.state == "rejected" and grant.redemption_id == redemption_id:
                return
            rejected = _moved(rules.reject(grant, redemption_id, session.now))
            line = sentences.rejected_line(sentences.redeemer_slots(redemption.redeemer))
            entry = changes.line("denied", who_redeemed(redemption.redeemer), rejected, line)
            changes.replace(session, rejected, self._patient_id_of(session), entry)

        await self._storage.write(authority.record_id, command)
        return await self.one(authority.record_id, grant_id)

    async def end(self, authority: Authority, grant_id: UUID, reason: str | None) -> Receipt:
        """The receipt for ending a grant; the same one when it was over already. NotFound as for `one`."""
        command = await self.prepare_end(authority, grant_id, reason)
        return await carry_out(self._storage, authority.record_id, command)

    async def prepare_end(self, authority: Authority, grant_id: UUID, reason: str | None) -> Command[Receipt]:
        """A command that ends a grant, whatever version the citizen was looking at; see `end`."""
        return await self._ending.prepare_end(authority, grant_id, reason)

    async def end_all(self, authority: Authority) -> list[Receipt]:
        """A receipt for every grant and offer that this ended."""
        return await carry_out(self._storage, authority.record_id, await self.prepare_end_all(authority))

    async def prepare_end_all(self, authority: Authority) -> Command[list[Receipt]]:
        """A command that ends whatever is live, waiting or offered, all at one moment."""
        return await self._ending.prepare_end_all(authority)

    async def narrow(self, authority: Authority, grant_id: UUID, asked: Narrowing) -> GrantNow:
        """The grant as it stands after showing less. Stale unless it is of the version asked about."""
        command = await self.prepare_narrow(authority, grant_id, asked, refuses_stale=True)
        await carry_out(self._storage, authority.record_id, command)
        return await self.one(authority.record_id, grant_id)

    async def prepare_narrow(
        self, authority: Authority, grant_id: UUID, asked: Narrowing, *, refuses_stale: bool = False
    ) -> Command[Grant]:
        """A command that lets a grant show less, or end sooner.

        What was asked of an earlier version is done within what stands now, and what is over stays as it is;
        with `refuses_stale` the first is Stale and the second Conflict. RuleBroken for an edit of the version
        that stands which would show more.
        """
        return self._altering.prepare_narrow(authority, grant_id, asked, refuses_stale=refuses_stale)

    async def extend(
        self, authority: Authority, grant_id: UUID, base_version: int, ends_at: datetime
    ) -> GrantNow:
        """The grant as it stands with its later end; see prepare_extend."""
        command = await self.prepare_extend(authority, grant_id, base_version, ends_at)
        await carry_out(self._storage, authority.record_id, command)
        return await self.one(authority.record_id, grant_id)

    async def prepare_extend(
        self, authority: Authority, grant_id: UUID, base_version: int, ends_at: datetime
    ) -> Command[Grant]:
        """A command that makes access last longer.

        It raises Conflict for what is over, Stale for another version, StepUpNeeded when the citizen signed
        in too long ago, RuleBroken for an end that is not later, or too late.
        """
        return self._altering.prepare_extend(authority, grant_id, base_version, ends_at)

    async def _with_seen(self, record_id: UUID, found: GrantNow) -> GrantNow:
        if found.grant.redeemed_at is None:
            return found
        return found._replace(seen=await audit.read_seen(self._storage, record_id, found.grant.grant_id))


def _grant(session: ReadSession, grant_id: UUID) -> Grant:
    grant = store.grant_of(session, grant_id)
    if grant is None:
        raise NotFound
    return grant


def _now(session: ReadSession, grant: Grant) -> GrantNow:
    state = rules.state_at(grant, session.now)
    waiting = None
    if state == "pending" and grant.redemption_id is not None:
        waiting = store.redemption_of(session, grant.redemption_id)
    return GrantNow(grant, state, waiting, NOTHING_SEEN)


def _asked(session: WriteSession, grant_id: UUID, redemption_id: UUID) -> tuple[Grant, Redemption]:
    grant = _grant(session, grant_id)
    redemption = store.redemption_of(session, redemption_id)
    if redemption is None or redemption.grant_id != grant_id:
        raise Conflict("Nobody is waiting for your answer here.")
    return grant, redemption


def _moved(moved: Grant | Refused) -> Grant:
    if isinstance(moved, Refused):
        raise Conflict(moved.reason)
    return moved
