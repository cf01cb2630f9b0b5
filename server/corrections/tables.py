"""Correction requests, sealed but for their version."""

from uuid import UUID

from sqlmodel import Field

from server.storage.tables import RecordOwned


class CorrectionRow(RecordOwned, table=True):
    """One correction request as it stands. Its Task and Communications are in the feed."""

    __tablename__ = "correction"

    correction_id: UUID = Field(primary_key=True)
    version: int
    sealed: bytes
