"""A sign-in as it lives on: the one-time code it ends in, and the line of refresh tokens that code begins.

https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2 · https://www.rfc-editor.org/rfc/rfc9700#section-4.14

Everything here is a command on the directory. A refusal is answered as None and not raised, because what a
refusal leaves behind (a code spent, a family revoked) must be kept.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec

from server.identity.access_tokens import Kind
from server.identity.tokens import encode_segment
from server.storage import directory_identity as rows
from server.storage.session import DirectoryReads, DirectorySession

CODE_SECONDS_MAX = 60
REFRESH_IDLE_SECONDS_MAX = 30 * 24 * 3600
REFRESH_ABSOLUTE_SECONDS_MAX = 90 * 24 * 3600
REFRESH_GRACE_SECONDS = 60
SECRET_BYTES = 32

CODE_PREFIX = "held_ac_"
REFRESH_PREFIX = "held_rt_"

_CODE = "authorization-code"
_REFRESH = "refresh-token"
_SUCCESSOR = "refresh-successor"


class SignedIn(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who signed in, with which client, for what. Times are seconds since 1970."""

    subject: str
    kind: Kind
    client_id: str
    scope: str
    signed_in_at: int
    session_id: UUID
    organisation: str | None = None
    record_id: UUID | None = None


class CodeFacts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a code stands for and who may bring it back."""

    signed_in: SignedIn
    redirect_uri: str
    code_challenge: str
    jkt: str | None = None


class RefreshFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a refresh token stands for, and the one key that may use it."""

    signed_in: SignedIn
    jkt: str
    dies_at: int


class Refreshed(msgspec.Struct, frozen=True, kw_only=True):
    """A rotation that succeeded."""

    signed_in: SignedIn
    refresh_token: str


def new_session_id() -> UUID:
    return uuid4()


def new_code() -> str:
    return CODE_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def new_refresh_token() -> str:
    return REFRESH_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def keep_code(code: str, facts: CodeFacts) -> Callable[[DirectorySession], None]:
    """Keeps a new code for a minute."""

    def command(session: DirectorySession) -> None:
        mac = rows.secret_mac(session, _CODE, code)
        expires_at = session.now + timedelta(seconds=CODE_SECONDS_MAX)
        rows.put_authorization_code(
            session, mac, session.sealer.seal_struct(_CODE, mac, 1, facts), expires_at
        )

    return command


def redeem_code(
    code: str, fits: Callable[[CodeFacts], bool], *, jkt: str, refresh_token: str
) -> Callable[[DirectorySession], SignedIn | None]:
    """Spends a code and begins its family; None when it is unknown, spent, too old or does not fit.

    A code that comes twice may have been stolen, so what the first use began is ended. A code brought by
    someone it does not fit is spent too.
    """

    def command(session: DirectorySession) -> SignedIn | None:
        mac = rows.secret_mac(session, _CODE, code)
        sealed = rows.authorization_code(session, mac)
        if sealed is None:
            return None
        facts = session.sealer.open_struct(_CODE, mac, 1, sealed, CodeFacts)
        if not rows.spend_authorization_code(session, mac):
            rows.revoke_family(session, facts.signed_in.session_id)
            return None
        if not fits(facts):
            return None
        _begin_family(session, facts.signed_in, jkt, refresh_token)
        return facts.signed_in

    return command


def rotate(
    token: str, fits: Callable[[RefreshFacts], bool]
) -> Callable[[DirectorySession], Refreshed | None]:
    """Exchanges a refresh token for its successor; None when it is dead, or is not this sender's to use.

    The successor is derived from the token under a key of ours. A phone that lost the answer may ask again,
    for a minute, and gets the same one. Whoever brings a rotated token later ends the whole family.
    """

    def command(session: DirectorySession) -> Refreshed | None:
        mac = rows.secret_mac(session, _REFRESH, token)
        found = rows.refresh_token(session, mac)
        if found is None:
            return None
        family_id, sealed = found
        facts = session.sealer.open_struct(_REFRESH, mac, 1, sealed, RefreshFacts)
        if not rows.is_family_live(session, family_id) or not fits(facts):
            return None
        successor = _successor(session, token)
        if rows.spend_refresh_token(session, mac, rows.secret_mac(session, _REFRESH, successor)):
            _put_refresh(session, successor, facts)
        elif not rows.was_rotated_within(session, mac, REFRESH_GRACE_SECONDS):
            rows.revoke_family(session, family_id)
            return None
        return Refreshed(signed_in=facts.signed_in, refresh_token=successor)

    return command


def family_of(token: str) -> Callable[[DirectoryReads], tuple[UUID, RefreshFacts] | None]:
    """The family of a refresh token and what it stands for, if the token is one of ours."""

    def query(session: DirectoryReads) -> tuple[UUID, RefreshFacts] | None:
        mac = rows.secret_mac(session, _REFRESH, token)
        found = rows.refresh_token(session, mac)
        if found is None:
            return None
        return found[0], session.sealer.open_struct(_REFRESH, mac, 1, found[1], RefreshFacts)

    return query


def _begin_family(session: DirectorySession, signed_in: SignedIn, jkt: str, refresh_token: str) -> None:
    dies_at = session.now + timedelta(seconds=REFRESH_ABSOLUTE_SECONDS_MAX)
    rows.open_family(session, signed_in.session_id, dies_at)
    facts = RefreshFacts(signed_in=signed_in, jkt=jkt, dies_at=int(dies_at.timestamp()))
    _put_refresh(session, refresh_token, facts)


def _put_refresh(session: DirectorySession, token: str, facts: RefreshFacts) -> None:
    mac = rows.secret_mac(session, _REFRESH, token)
    idle_until = session.now + timedelta(seconds=REFRESH_IDLE_SECONDS_MAX)
    new = rows.NewRefreshToken(
        token_mac=mac,
        family_id=facts.signed_in.session_id,
        sealed=session.sealer.seal_struct(_REFRESH, mac, 1, facts),
        expires_at=min(idle_until, datetime.fromtimestamp(facts.dies_at, UTC)),
    )
    rows.put_refresh_token(session, new)


def _successor(session: DirectorySession, token: str) -> str:
    return REFRESH_PREFIX + encode_segment(session.sealer.mac(_SUCCESSOR, token, size=SECRET_BYTES))
