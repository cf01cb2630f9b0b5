"""Grants and redemptions, sealed but for their version."""

from uuid import UUID

from sqlmodel import Field

from server.storage.tables import RecordOwned


class AccessGrantRow(RecordOwned, table=True):
    """One grant at its current version. Earlier versions are the history of its Consent in the feed."""

    __tablename__ = "access_grant"

    grant_id: UUID = Field(primary_key=True)
    version: int
    sealed: bytes


class RedemptionRow(RecordOwned, table=True):
    """One person waiting for the citizen to confirm them."""

    __tablename__ = "redemption"

    redemption_id: UUID = Field(primary_key=True)
    grant_id: UUID
    sealed: bytes
