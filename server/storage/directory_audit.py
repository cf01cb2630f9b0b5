"""The directory's part of the audit: which records there are, for the operator who checks every log.

A named system purpose: nothing that answers a person may ask for this.
"""

from uuid import UUID

import sqlalchemy as sa
from sqlmodel import col

from server.storage.directory_tables import ExtractRecordRow, NhsNumberRecordRow, SubjectRecordRow
from server.storage.session import DirectoryReads


def record_ids(session: DirectoryReads) -> list[UUID]:
    """Every record the directory leads to, each once."""
    statement = sa.union(
        sa.select(col(SubjectRecordRow.record_id)),
        sa.select(col(NhsNumberRecordRow.record_id)),
        sa.select(col(ExtractRecordRow.record_id)),
    )
    return sorted(session.execute(statement).scalars())
