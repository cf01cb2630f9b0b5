"""Notices, sealed."""

from uuid import UUID

from sqlmodel import Field

from server.storage.tables import RecordOwned


class NoticeRow(RecordOwned, table=True):
    """What one person is to be told about this record, and whether they have been."""

    __tablename__ = "notice"

    notice_id: UUID = Field(primary_key=True)
    sealed: bytes
