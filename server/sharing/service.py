"""What a citizen does with grants: make one, look at them, say yes or no to a person (ending: ending.py)."""

from typing import NamedTuple
from uuid import UUID, uuid4

from server.audit import service as audit
from server.audit.service import NOTHING_SEEN, Seen
from server.errors import Busy, Conflict, LimitReached, NotFound, RuleBroken
from server.identity.authenticate import require_recent_sign_in
from server.sharing import changes, offers, rules, sentences, store
from server.sharing.authorise import who_redeemed
from server.sharing.authority import Authority
from server.sharing.ending import Ending
from server.sharing.grant import Grant, Redemption, State
from server.sharing.offers import Offer
from server.sharing.receipts import Receipt, ReceiptSigner
from server.sharing.redemptions import PatientIdOf
from server.sharing.rules import Refused, Terms
from server.storage.directory_sharing import drop_offer, purge_expired
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
        self._ending = Ending(storage, signer, patient_id_of)

    async def forget_expired(self) -> None:
        """Drops offers and counts of guesses that no longer matter. For a task that runs now and then."""
        await self._storage.register(purge_expired)

    async def offer(self, authority: Authority, terms: Terms) -> tuple[Grant, Offer]:
        """A new grant with the codes that lead to it.

        StepUpNeeded when the citizen signed in too long ago, RuleBroken when the terms may not be had,
        LimitReached when the record has no room for one more offer.
        """
        now = await self._storage.look_up(lambda session: session.now)
        require_recent_sign_in(authority.principal, now)
        if refused := rules.judge_terms(terms):
            raise RuleBroken(refused.reason, pointer=refused.pointer)
        grant_id = uuid4()
        offer = await self._enter_offer(authority.record_id, grant_id, terms)

        def command(session: WriteSession) -> Grant:
            return self._make(session, authority, terms, grant_id=grant_id, offer=offer)

        try:
            return await self._storage.write(authority.record_id, command), offer
        except BaseException:
            await self._storage.register(lambda session: drop_offer(session, offer.offer_key, grant_id))
            raise

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
        return await self._ending.end(authority, grant_id, reason)

    async def end_all(self, authority: Authority) -> list[Receipt]:
        """A receipt for every grant and offer that this ended."""
        return await self._ending.end_all(authority)

    async def _enter_offer(self, record_id: UUID, grant_id: UUID, terms: Terms) -> Offer:
        for _ in range(offers.NAME_TRIES_MAX):
            offer = offers.new_offer()
            entered = await self._storage.register(
                lambda session, offer=offer: offers.enter_offer(
                    session, offer, (record_id, grant_id), to=terms.to, seconds=terms.offer_seconds
                )
            )
            if entered is not None:
                return entered
        raise Busy

    def _make(
        self, session: WriteSession, authority: Authority, terms: Terms, *, grant_id: UUID, offer: Offer
    ) -> Grant:
        session.lock_record()
        if crowded := rules.judge_room(store.grants_of(session), session.now):
            raise LimitReached(crowded.reason)
        grant = rules.offered(
            terms, grant_id, session.now, wording=sentences.WORDING_VERSION, offer_key=offer.offer_key
        )
        line = sentences.offered_line(sentences.slots_of(grant, "offered"))
        entry = changes.line("grant", authority.who, grant, line)
        changes.enter(session, grant, self._patient_id_of(session), entry)
        return grant

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
