"""Narrowing and extending grants, each one transaction: the grant, its Consent and its line in the log.

Tokens name the version they were made for, so that every one of the version before stops at the commit.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from server.errors import Conflict, NotFound, RuleBroken, Stale
from server.identity.authenticate import require_recent_sign_in
from server.sharing import changes, rules, sentences, store
from server.sharing.authority import Authority
from server.sharing.grant import Grant
from server.sharing.redemptions import PatientIdOf
from server.sharing.rules import Narrowing, Refused
from server.storage.command import Command
from server.storage.session import WriteSession


class Altering:
    """Changes grants that are not over."""

    def __init__(self, patient_id_of: PatientIdOf) -> None:
        self._patient_id_of = patient_id_of

    def prepare_narrow(
        self, authority: Authority, grant_id: UUID, asked: Narrowing, *, refuses_stale: bool
    ) -> Command[Grant]:
        """See Sharing.prepare_narrow."""

        def run(session: WriteSession) -> Grant:
            grant = _locked(session, grant_id)
            if rules.is_over(grant, session.now):
                return _over(grant, refuses=refuses_stale)
            is_stale = asked.base_version != grant.version
            if is_stale and refuses_stale:
                raise Stale
            judge = rules.narrow_what_stands if is_stale else rules.narrow
            narrowed = _allowed(judge(grant, asked, session.now))
            if narrowed is not grant:
                self._tell(session, authority, narrowed, sentences.narrowed_line)
            return narrowed

        return Command(run)

    def prepare_extend(
        self, authority: Authority, grant_id: UUID, base_version: int, ends_at: datetime
    ) -> Command[Grant]:
        """See Sharing.prepare_extend."""

        def run(session: WriteSession) -> Grant:
            grant = _locked(session, grant_id)
            if rules.is_over(grant, session.now):
                _over(grant, refuses=True)
            if base_version != grant.version:
                raise Stale
            require_recent_sign_in(authority.principal, session.now)
            extended = _allowed(rules.extend(grant, ends_at, session.now))
            self._tell(session, authority, extended, sentences.extended_line)
            return extended

        return Command(run)

    def _tell(
        self,
        session: WriteSession,
        authority: Authority,
        grant: Grant,
        said: Callable[[sentences.GrantSlots], str],
    ) -> None:
        line = said(sentences.slots_of(grant, rules.state_at(grant, session.now)))
        entry = changes.line("grant", authority.who, grant, line)
        changes.replace(session, grant, self._patient_id_of(session), entry)


def _locked(session: WriteSession, grant_id: UUID) -> Grant:
    session.lock_record()
    grant = store.grant_of(session, grant_id)
    if grant is None:
        raise NotFound
    return grant


def _over(grant: Grant, *, refuses: bool) -> Grant:
    """The grant as it stands: what is over shows nothing, and nothing brings it back."""
    if refuses:
        raise Conflict("This access is already over.")
    return grant


def _allowed(moved: Grant | Refused) -> Grant:
    if isinstance(moved, Refused):
        raise RuleBroken(moved.reason, pointer=moved.pointer)
    return moved
