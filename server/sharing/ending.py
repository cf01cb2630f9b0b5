"""Ending grants and offers, and the receipts for it.

The ending, its Consent, its line in the log and the receipt are one transaction. It takes the lock on the log
before it gathers what was seen: a disclosure is committed before that, and then it is on the receipt, or it
finds the grant ended and is refused (DESIGN wall 4).
"""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.audit import service as audit
from server.audit.service import NOTHING_SEEN, Seen
from server.errors import NotFound
from server.sharing import changes, rules, sentences, store
from server.sharing.authority import Authority
from server.sharing.grant import Grant
from server.sharing.receipts import Receipt, ReceiptSigner
from server.sharing.redemptions import PatientIdOf
from server.sharing.rules import Refused
from server.storage.command import Command
from server.storage.directory_sharing import drop_offer
from server.storage.engine import Storage
from server.storage.session import ReadSession, WriteSession


class Ending:
    """Ends grants and offers."""

    def __init__(self, storage: Storage, signer: ReceiptSigner, patient_id_of: PatientIdOf) -> None:
        self._storage = storage
        self._signer = signer
        self._patient_id_of = patient_id_of

    async def prepare_end(self, authority: Authority, grant_id: UUID, reason: str | None) -> Command[Receipt]:
        """See Sharing.prepare_end."""
        known = await audit.read_seen(self._storage, authority.record_id, grant_id)
        ended: list[Grant] = []

        def run(session: WriteSession) -> Receipt:
            session.lock_record()
            grant = store.grant_of(session, grant_id)
            if grant is None:
                raise NotFound
            ended[:] = [grant]
            return self._end(session, grant, authority, known=known, reason=reason)

        return Command(run, lambda: self._drop_offers(ended))

    async def prepare_end_all(self, authority: Authority) -> Command[list[Receipt]]:
        """See Sharing.prepare_end_all."""
        record_id = authority.record_id
        live = await self._storage.read(record_id, _not_over)
        known = {
            grant.grant_id: await audit.read_seen(self._storage, record_id, grant.grant_id) for grant in live
        }
        ended: list[Grant] = []

        def run(session: WriteSession) -> list[Receipt]:
            session.lock_record()
            ended[:] = _not_over(session)
            return self._end_each(session, authority, ended, known)

        return Command(run, lambda: self._drop_offers(ended))

    def _end_each(
        self, session: WriteSession, authority: Authority, grants: list[Grant], known: Mapping[UUID, Seen]
    ) -> list[Receipt]:
        return [
            self._end(session, grant, authority, known=known.get(grant.grant_id, NOTHING_SEEN), reason=None)
            for grant in grants
        ]

    def _end(
        self, session: WriteSession, grant: Grant, authority: Authority, *, known: Seen, reason: str | None
    ) -> Receipt:
        kept = store.receipt_of(session, grant.grant_id)
        if kept is not None:
            return msgspec.json.decode(kept, type=Receipt)
        session.lock_log()
        seen = audit.seen(session, grant.grant_id, known)
        ended = rules.end(grant, reason, session.now)
        over = grant if isinstance(ended, Refused) else ended
        effective_at = rules.over_since(over, session.now)
        assert effective_at is not None
        receipt = self._signer.receipt(over, seen, effective_at)
        store.keep_receipt(session, grant.grant_id, msgspec.json.encode(receipt))
        if over is not grant:
            line = sentences.ended_line(sentences.slots_of(over, "ended"))
            entry = changes.line("end", authority.who, over, line)
            changes.replace(session, over, self._patient_id_of(session), entry)
        return receipt

    async def _drop_offers(self, grants: list[Grant]) -> None:
        """Frees the names of offers that were never used. The grant's own row already refuses them."""
        unused = [grant for grant in grants if grant.offer_key and grant.redeemed_at is None]
        for grant in unused:
            await self._storage.register(
                lambda session, grant=grant: drop_offer(session, grant.offer_key, grant.grant_id)
            )


def _not_over(session: ReadSession) -> list[Grant]:
    return [grant for grant in store.grants_of(session) if not rules.is_over(grant, session.now)]
