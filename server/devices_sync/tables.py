"""Devices, and what became of each mutation. Sealed but for ids and feed numbers."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from server.storage.tables import RecordOwned, instant


class DeviceRow(RecordOwned, table=True):
    """A phone of the record's owner. `pulled_seq` is how far it is known to have the feed."""

    __tablename__ = "device"

    device_id: UUID = Field(primary_key=True)
    pulled_seq: int = Field(default=0, sa_type=sa.BigInteger)
    sealed: bytes


class MutationOutcomeRow(RecordOwned, table=True):
    """The result of one mutation, written with its effect and never changed."""

    __tablename__ = "mutation_outcome"
    __table_args__ = (sa.Index("mutation_outcome_by_device", "record_id", "device_id", "seq"),)

    mid: UUID = Field(primary_key=True)
    device_id: UUID
    seq: int = Field(sa_type=sa.BigInteger)
    sealed: bytes
    stored_at: datetime = Field(sa_column=instant())
