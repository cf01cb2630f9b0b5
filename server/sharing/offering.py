"""Making a grant with the code that leads to it. The code is entered in the directory before the grant is."""

from typing import NamedTuple
from uuid import UUID

from server.errors import Busy, Conflict, LimitReached
from server.sharing import changes, offers, rules, sentences, store
from server.sharing.authority import Authority
from server.sharing.grant import Grant
from server.sharing.offers import Offer
from server.sharing.redemptions import PatientIdOf
from server.sharing.rules import Terms
from server.storage.command import Command
from server.storage.directory_sharing import drop_offer, record_of_pointer
from server.storage.engine import Storage
from server.storage.session import DirectorySession, WriteSession


class Offered(NamedTuple):
    """A grant with its codes, or without them when they were shown before."""

    grant: Grant
    offer: Offer | None


class Offering:
    """Makes grants."""

    def __init__(self, storage: Storage, patient_id_of: PatientIdOf) -> None:
        self._storage = storage
        self._patient_id_of = patient_id_of

    async def prepare(self, authority: Authority, terms: Terms, grant_id: UUID) -> Command[Offered]:
        """See Sharing.prepare_offer. The terms have been judged."""
        offer = await self._enter(authority.record_id, grant_id, terms)
        stood_before: list[Grant] = []

        def run(session: WriteSession) -> Offered:
            session.lock_record()
            stands = store.grant_of(session, grant_id)
            stood_before[:] = [stands] if stands is not None else []
            if stands is not None:
                return Offered(stands, None)
            return Offered(self._make(session, authority, terms, grant_id=grant_id, offer=offer), offer)

        async def settle() -> None:
            if stood_before:
                await self._drop(offer, grant_id)

        return Command(run, settle, undo=lambda: self._drop(offer, grant_id))

    async def _drop(self, offer: Offer, grant_id: UUID) -> None:
        """Frees the name of a code that nobody will be shown."""
        await self._storage.register(lambda session: drop_offer(session, offer.offer_key, grant_id))

    async def _enter(self, record_id: UUID, grant_id: UUID, terms: Terms) -> Offer:
        for _ in range(offers.NAME_TRIES_MAX):
            offer = offers.new_offer()

            def enter(session: DirectorySession, offer: Offer = offer) -> Offer | None:
                # A token is renewed by the grant's id alone, so that one id must not lead to two records.
                if record_of_pointer(session, grant_id) not in {None, record_id}:
                    raise Conflict("This id is taken. Choose another.")
                return offers.enter_offer(
                    session, offer, (record_id, grant_id), to=terms.to, seconds=terms.offer_seconds
                )

            entered = await self._storage.register(enter)
            if entered is not None:
                return entered
        raise Busy

    def _make(
        self, session: WriteSession, authority: Authority, terms: Terms, *, grant_id: UUID, offer: Offer
    ) -> Grant:
        if crowded := rules.judge_room(store.grants_of(session), session.now):
            raise LimitReached(crowded.reason)
        grant = rules.offered(
            terms, grant_id, session.now, wording=sentences.WORDING_VERSION, offer_key=offer.offer_key
        )
        line = sentences.offered_line(sentences.slots_of(grant, "offered"))
        entry = changes.line("grant", authority.who, grant, line)
        changes.enter(session, grant, self._patient_id_of(session), entry)
        return grant
