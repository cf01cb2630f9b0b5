"""The rows of corrections, each sealed under its id and version."""

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from server.corrections.correction import Correction
from server.corrections.tables import CorrectionRow
from server.storage.session import ReadSession, WriteSession

_PURPOSE = "correction"


def correction_of(session: ReadSession, correction_id: UUID) -> Correction | None:
    """One correction as it stands."""
    row = session.execute(
        sa.select(col(CorrectionRow.version), col(CorrectionRow.sealed)).where(
            col(CorrectionRow.record_id) == session.record_id,
            col(CorrectionRow.correction_id) == correction_id,
        )
    ).one_or_none()
    return None if row is None else _opened(session, correction_id, row.version, row.sealed)


def corrections_of(session: ReadSession) -> list[Correction]:
    """Every correction of the record, newest first."""
    rows = session.execute(
        sa.select(
            col(CorrectionRow.correction_id), col(CorrectionRow.version), col(CorrectionRow.sealed)
        ).where(col(CorrectionRow.record_id) == session.record_id)
    )
    found = [_opened(session, row.correction_id, row.version, row.sealed) for row in rows]
    return sorted(found, key=lambda each: (each.asked_at, each.correction_id), reverse=True)


def put(session: WriteSession, correction: Correction) -> None:
    """Enters a correction, or puts it in place of its version before. The caller holds the record's lock."""
    sealed = session.sealer.seal_struct(
        _PURPOSE, correction.correction_id.bytes, correction.version, correction
    )
    key = {"record_id": session.record_id, "correction_id": correction.correction_id}
    if correction.version == 1:
        session.execute(sa.insert(CorrectionRow), {**key, "version": 1, "sealed": sealed})
        return
    changed = session.execute(
        sa.update(CorrectionRow)
        .where(
            col(CorrectionRow.record_id) == session.record_id,
            col(CorrectionRow.correction_id) == correction.correction_id,
            col(CorrectionRow.version) == correction.version - 1,
        )
        .values(version=correction.version, sealed=sealed)
    )
    assert changed.rowcount == 1, "A correction changes under its record's lock, one version at a time."


def _opened(session: ReadSession, correction_id: UUID, version: int, sealed: bytes) -> Correction:
    correction = session.sealer.open_struct(_PURPOSE, correction_id.bytes, version, sealed, Correction)
    assert (correction.correction_id, correction.version) == (correction_id, version)
    return correction
