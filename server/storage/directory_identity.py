"""The directory's rows for signing in: codes, sign-ins under way, refresh tokens and their families.

Every secret stands here as a keyed hash. What must happen once is one conditional statement whose rows are
counted (THREATS rule 8). Refusals are answered as values, for an exception would undo the row that records
them.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col, delete, select, update

from server.storage.directory_tables import (
    AuthorizationCodeRow,
    RefreshTokenRow,
    SignInRow,
    TokenFamilyRow,
)
from server.storage.session import DirectoryReads, DirectorySession

MAC_BYTES = 32

# Asked on the way of every call, so it is built once.
_LIVE_FAMILY = select(col(TokenFamilyRow.family_id)).where(
    col(TokenFamilyRow.family_id) == sa.bindparam("family_id"),
    col(TokenFamilyRow.is_revoked).is_(False),
    col(TokenFamilyRow.expires_at) > sa.bindparam("now"),
)
KEPT_AFTER_EXPIRY = timedelta(days=1)


class NewRefreshToken(NamedTuple):
    """A refresh token about to be kept."""

    token_mac: bytes
    family_id: UUID
    sealed: bytes
    expires_at: datetime


def secret_mac(session: DirectoryReads, purpose: str, secret: str) -> bytes:
    """The keyed hash under which a code or token is found."""
    return session.sealer.mac(purpose, secret, size=MAC_BYTES)


def put_authorization_code(
    session: DirectorySession, code_mac: bytes, sealed: bytes, expires_at: datetime
) -> None:
    """Keeps a new code."""
    row = {"code_mac": code_mac, "sealed": sealed, "expires_at": expires_at, "used": False}
    session.execute(sa.insert(AuthorizationCodeRow).values(row))


def authorization_code(session: DirectoryReads, code_mac: bytes) -> bytes | None:
    """What is sealed with a code, used or not."""
    column = col(AuthorizationCodeRow.sealed)
    return session.execute(select(column).where(col(AuthorizationCodeRow.code_mac) == code_mac)).scalar()


def spend_authorization_code(session: DirectorySession, code_mac: bytes) -> bool:
    """True to exactly one caller, and to none once the code has expired."""
    statement = (
        update(AuthorizationCodeRow)
        .where(
            col(AuthorizationCodeRow.code_mac) == code_mac,
            col(AuthorizationCodeRow.used).is_(False),
            col(AuthorizationCodeRow.expires_at) > session.now,
        )
        .values(used=True)
    )
    return _changed_one(session, statement)


def put_sign_in(session: DirectorySession, state_mac: bytes, sealed: bytes, expires_at: datetime) -> None:
    """Keeps a sign-in that has left for its provider."""
    row = {"state_mac": state_mac, "sealed": sealed, "expires_at": expires_at}
    session.execute(sa.insert(SignInRow).values(row))


def take_sign_in(session: DirectorySession, state_mac: bytes) -> bytes | None:
    """What was kept of a sign-in under way, to one caller only."""
    condition = (col(SignInRow.state_mac) == state_mac, col(SignInRow.expires_at) > session.now)
    sealed = session.execute(select(col(SignInRow.sealed)).where(*condition)).scalar()
    taken = _changed_one(session, delete(SignInRow).where(*condition))
    return sealed if taken else None


def open_family(session: DirectorySession, family_id: UUID, expires_at: datetime) -> None:
    """Begins a sign-in's line of refresh tokens."""
    row = {"family_id": family_id, "is_revoked": False, "expires_at": expires_at}
    session.execute(sa.insert(TokenFamilyRow).values(row))


def revoke_family(session: DirectorySession, family_id: UUID) -> None:
    """Ends a line of refresh tokens and, with it, the access tokens that name it."""
    statement = update(TokenFamilyRow).where(col(TokenFamilyRow.family_id) == family_id)
    session.execute(statement.values(is_revoked=True))


def is_family_live(session: DirectoryReads, family_id: UUID) -> bool:
    """Whether a sign-in still stands."""
    return session.execute(_LIVE_FAMILY, {"family_id": family_id, "now": session.now}).first() is not None


def put_refresh_token(session: DirectorySession, new: NewRefreshToken) -> None:
    """Keeps a refresh token of a family."""
    session.execute(sa.insert(RefreshTokenRow).values(new._asdict()))


def refresh_token(session: DirectoryReads, token_mac: bytes) -> tuple[UUID, bytes] | None:
    """The family of a refresh token and what is sealed with it, while it has not expired."""
    columns = (col(RefreshTokenRow.family_id), col(RefreshTokenRow.sealed))
    condition = (col(RefreshTokenRow.token_mac) == token_mac, col(RefreshTokenRow.expires_at) > session.now)
    row = session.execute(select(*columns).where(*condition)).first()
    return (row[0], row[1]) if row is not None else None


def spend_refresh_token(session: DirectorySession, token_mac: bytes, successor_mac: bytes) -> bool:
    """Marks a refresh token as rotated; True to exactly one caller."""
    statement = (
        update(RefreshTokenRow)
        .where(
            col(RefreshTokenRow.token_mac) == token_mac,
            col(RefreshTokenRow.used_at).is_(None),
            col(RefreshTokenRow.expires_at) > session.now,
        )
        .values(used_at=session.now, successor=successor_mac)
    )
    return _changed_one(session, statement)


def was_rotated_within(session: DirectoryReads, token_mac: bytes, seconds: int) -> bool:
    """Whether a refresh token was rotated so lately that its answer may have been lost on the way."""
    statement = select(col(RefreshTokenRow.token_mac)).where(
        col(RefreshTokenRow.token_mac) == token_mac,
        col(RefreshTokenRow.used_at) >= session.now - timedelta(seconds=seconds),
    )
    return session.execute(statement).first() is not None


def purge_expired(session: DirectorySession) -> None:
    """Drops what expired over a day ago: till then a code or token brought twice is known as such."""
    before = session.now - KEPT_AFTER_EXPIRY
    for row in (AuthorizationCodeRow, SignInRow, RefreshTokenRow, TokenFamilyRow):
        session.execute(delete(row).where(col(row.expires_at) <= before))


def _changed_one(session: DirectorySession, statement: sa.Executable) -> bool:
    result = session.execute(statement)
    assert isinstance(result, sa.CursorResult)
    return result.rowcount == 1
