"""The rows of grants and redemptions, each sealed under its id, a grant also to its version."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from server.sharing.grant import Grant, Redemption
from server.sharing.tables import AccessGrantRow, RedemptionRow
from server.storage.session import ReadSession, WriteSession
from server.storage.tables import StoredOutcomeRow

_GRANT = "access-grant"
_REDEMPTION = "redemption"
_RECEIPT = "receipt"


def grant_of(session: ReadSession, grant_id: UUID) -> Grant | None:
    """One grant as it stands."""
    row = session.hot.access_grant(grant_id)
    return None if row is None else _open_grant(session, grant_id, *row)


def grants_of(session: ReadSession) -> list[Grant]:
    """Every grant of the record, newest first."""
    rows = session.execute(
        sa.select(
            col(AccessGrantRow.grant_id), col(AccessGrantRow.version), col(AccessGrantRow.sealed)
        ).where(col(AccessGrantRow.record_id) == session.record_id)
    )
    grants = [_open_grant(session, row.grant_id, row.version, row.sealed) for row in rows]
    return sorted(grants, key=lambda grant: (grant.created_at, grant.grant_id), reverse=True)


def add_grant(session: WriteSession, grant: Grant) -> None:
    """Enters a new grant."""
    row = {
        "record_id": session.record_id,
        "grant_id": grant.grant_id,
        "version": grant.version,
        "sealed": _seal_grant(session, grant),
    }
    session.execute(sa.insert(AccessGrantRow), row)


def replace_grant(session: WriteSession, grant: Grant) -> None:
    """Puts the grant in place of its version before. The caller holds the record's lock."""
    changed = session.execute(
        sa.update(AccessGrantRow)
        .where(
            col(AccessGrantRow.record_id) == session.record_id,
            col(AccessGrantRow.grant_id) == grant.grant_id,
            col(AccessGrantRow.version) == grant.version - 1,
        )
        .values(version=grant.version, sealed=_seal_grant(session, grant))
    )
    assert changed.rowcount == 1, "A grant changes under its record's lock, one version at a time."


def redemption_of(session: ReadSession, redemption_id: UUID) -> Redemption | None:
    """One redemption as it stands."""
    sealed = session.execute(
        sa.select(col(RedemptionRow.sealed)).where(
            col(RedemptionRow.record_id) == session.record_id,
            col(RedemptionRow.redemption_id) == redemption_id,
        )
    ).scalar_one_or_none()
    if sealed is None:
        return None
    return session.sealer.open_struct(_REDEMPTION, redemption_id.bytes, 0, sealed, Redemption)


def put_redemption(session: WriteSession, redemption: Redemption) -> None:
    """Enters a redemption, or puts it in place of what it was."""
    sealed = session.sealer.seal_struct(_REDEMPTION, redemption.redemption_id.bytes, 0, redemption)
    statement = insert(RedemptionRow).values(
        record_id=session.record_id,
        redemption_id=redemption.redemption_id,
        grant_id=redemption.grant_id,
        sealed=sealed,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["record_id", "redemption_id"], set_={"sealed": statement.excluded["sealed"]}
        )
    )


def receipt_of(session: ReadSession, grant_id: UUID) -> bytes | None:
    """The receipt that was answered when the grant ended."""
    key = _receipt_key(session, grant_id)
    sealed = session.execute(
        sa.select(col(StoredOutcomeRow.sealed)).where(
            col(StoredOutcomeRow.record_id) == session.record_id, col(StoredOutcomeRow.operation_key) == key
        )
    ).scalar_one_or_none()
    return None if sealed is None else session.sealer.open(_RECEIPT, key, 0, sealed)


def keep_receipt(session: WriteSession, grant_id: UUID, receipt: bytes) -> None:
    """Keeps the receipt, so that asking again gets the same one."""
    key = _receipt_key(session, grant_id)
    row = {
        "record_id": session.record_id,
        "operation_key": key,
        "sealed": session.sealer.seal(_RECEIPT, key, 0, receipt),
        "stored_at": session.now,
    }
    session.execute(sa.insert(StoredOutcomeRow), row)


def _receipt_key(session: ReadSession, grant_id: UUID) -> bytes:
    return session.sealer.mac("receipt", grant_id.bytes)


def _seal_grant(session: WriteSession, grant: Grant) -> bytes:
    return session.sealer.seal_struct(_GRANT, grant.grant_id.bytes, grant.version, grant)


def _open_grant(session: ReadSession, grant_id: UUID, version: int, sealed: bytes) -> Grant:
    grant = session.sealer.open_struct(_GRANT, grant_id.bytes, version, sealed, Grant)
    assert (grant.grant_id, grant.version) == (grant_id, version)
    return grant
