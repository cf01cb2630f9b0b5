"""Redeeming: an offer code and a professional's own token become an access token, once the citizen says yes.

https://www.rfc-editor.org/rfc/rfc8693, and for the waiting https://www.rfc-editor.org/rfc/rfc8628#section-3.5
"""

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from server.errors import OAuthError
from server.http.times import to_wire
from server.identity.access_tokens import ACCESS_SECONDS_MAX, Access, AccessClaims
from server.identity.forms import required
from server.identity.token_endpoint import ExchangeRequest
from server.sharing import redemptions
from server.sharing.authority import grant_is_live
from server.sharing.codes import parse_code
from server.sharing.grant import Redemption
from server.sharing.redemptions import PatientIdOf, Ready
from server.sharing.scopes import ScopeRefused, effective_scope
from server.sharing.sentences import recipient_sentence, slots_of
from server.storage.directory_sharing import record_of_pointer
from server.storage.engine import Storage
from server.storage.session import RecordUnknown

POLL_SECONDS = 2
OPERATION_CHARACTERS_MAX = 64

_ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name.


class Redeeming:
    """Answers the token exchanges that identity's token endpoint passes on."""

    def __init__(self, storage: Storage, patient_id_of: PatientIdOf) -> None:
        self._storage = storage
        self._patient_id_of = patient_id_of

    async def exchange(self, request: ExchangeRequest) -> Mapping[str, Any]:
        """The token answer.

        OAuthError `authorization_pending` while the citizen has not answered, `invalid_scope`, or the one
        `invalid_grant` for everything else: it never says which of the reasons holds.
        """
        subject_token = required(request.form, "subject_token")
        subject_token_type = required(request.form, "subject_token_type")
        scope = effective_scope(request.form.get("scope"))
        if isinstance(scope, ScopeRefused):
            raise OAuthError("invalid_scope", scope.reason)
        if request.actor.kind != "professional":
            raise _refusal()
        try:
            return await self._answer_to(request, subject_token_type, subject_token, scope)
        except RecordUnknown:
            # An erased record leaves names in the directory that lead nowhere.
            raise _refusal() from None

    async def _answer_to(
        self, request: ExchangeRequest, subject_token_type: str, subject_token: str, scope: str
    ) -> Mapping[str, Any]:
        match subject_token_type:
            case "urn:held:params:oauth:token-type:offer-code":
                return await self._use_code(request, subject_token)
            case "urn:held:params:oauth:token-type:redemption":
                return await self._collect(request, subject_token, scope)
            case "urn:held:params:oauth:token-type:access-grant":
                return await self._renew(request, subject_token, scope)
            case _:
                raise OAuthError("invalid_request", "We do not know this subject_token_type.")

    async def _use_code(self, request: ExchangeRequest, subject_token: str) -> Mapping[str, Any]:
        code = parse_code(subject_token)
        # Without an id of its own every call is a use of the code, and only the first can succeed.
        operation_id = request.form.get("operation_id") or secrets.token_hex(16)
        if code is None or len(operation_id) > OPERATION_CHARACTERS_MAX:
            raise _refusal()
        trial = await self._storage.look_up(
            lambda session: redemptions.prepare(session, request.actor, code, operation_id)
        )
        if trial is None:
            raise _refusal()
        claimed = await self._storage.register(lambda session: redemptions.claim(session, trial))
        if claimed is None:
            raise _refusal()
        waiting = await self._storage.write(
            claimed.found.record_id, lambda session: redemptions.wait(session, claimed)
        )
        raise _pending(waiting) if isinstance(waiting, Redemption) else _refusal()

    async def _collect(self, request: ExchangeRequest, subject_token: str, scope: str) -> Mapping[str, Any]:
        redemption_id, record_id = await self._find(subject_token)
        # Only a redemption that the citizen has said yes to is worth the record's lock.
        seen = await self._storage.read(
            record_id, lambda session: redemptions.look(session, redemption_id, request.actor)
        )
        if isinstance(seen, Redemption):
            raise _pending(seen)
        if seen is None:
            raise _refusal()
        ready = await self._storage.write(
            record_id,
            lambda session: redemptions.collect(session, redemption_id, request.actor, self._patient_id_of),
        )
        return self._answer(request, record_id, ready, scope)

    async def _renew(self, request: ExchangeRequest, subject_token: str, scope: str) -> Mapping[str, Any]:
        grant_id, record_id = await self._find(subject_token)
        ready = await self._storage.read(
            record_id,
            lambda session: redemptions.renew(session, grant_id, request.actor, self._patient_id_of),
        )
        return self._answer(request, record_id, ready, scope)

    async def is_token_live(self, claims: AccessClaims) -> bool:
        """Whether a token made from a grant still opens anything: for introspection."""
        if claims.grant is None or claims.record is None or claims.grant_version is None:
            return False
        still_live = grant_is_live(UUID(claims.grant), claims.grant_version)
        try:
            return await self._storage.read(UUID(claims.record), still_live)
        except RecordUnknown:
            return False

    async def _find(self, subject_token: str) -> tuple[UUID, UUID]:
        try:
            pointer_id = UUID(subject_token)
        except ValueError:
            raise _refusal() from None
        record_id = await self._storage.look_up(lambda session: record_of_pointer(session, pointer_id))
        if record_id is None:
            raise _refusal()
        return pointer_id, record_id

    def _answer(
        self, request: ExchangeRequest, record_id: UUID, ready: Ready | None, scope: str
    ) -> Mapping[str, Any]:
        if ready is None:
            raise _refusal()
        access = _access(request, record_id, ready, scope)
        grant = ready.grant
        assert grant.ends_at is not None
        return {
            "access_token": request.issue(access),
            "issued_token_type": _ACCESS_TOKEN_TYPE,
            "token_type": "DPoP",
            "expires_in": access.seconds,
            "scope": scope,
            "patient": ready.patient_id,
            "record": str(record_id),
            "grant": str(grant.grant_id),
            "grant_version": grant.version,
            "purpose": grant.purpose,
            "sentence": recipient_sentence(slots_of(grant, "active")),
            "ends_at": to_wire(grant.ends_at),
            "needs": [],
            "may_not_be_whole": True,
        }


def _access(request: ExchangeRequest, record_id: UUID, ready: Ready, scope: str) -> Access:
    grant, actor = ready.grant, request.actor
    assert grant.ends_at is not None
    seconds_left = int((grant.ends_at - ready.now).total_seconds())
    return Access(
        subject=actor.subject,
        client_id=actor.client_id,
        kind="professional",
        jkt=request.jkt,
        scope=scope,
        session_id=request.session_id,
        signed_in_at=int(actor.signed_in_at.timestamp()) if actor.signed_in_at else None,
        patient_id=ready.patient_id,
        record_id=str(record_id),
        grant_id=str(grant.grant_id),
        grant_version=grant.version,
        purpose=grant.purpose,
        organisation=actor.organisation,
        seconds=max(1, min(ACCESS_SECONDS_MAX, seconds_left)),
    )


def _pending(redemption: Redemption) -> OAuthError:
    return OAuthError(
        "authorization_pending",
        interval=POLL_SECONDS,
        redemption=str(redemption.redemption_id),
        match=redemption.match,
    )


def _refusal() -> OAuthError:
    return OAuthError("invalid_grant")
