"""The access log's tables: a hash chain per record and its head (DESIGN wall 4)."""

import sqlalchemy as sa
from sqlmodel import Field

from server.storage.tables import RecordOwned


class LogHeadRow(RecordOwned, table=True):
    """Where a record's log stands. This row's lock orders its entries."""

    __tablename__ = "log_head"

    log_id: bytes
    size: int = Field(default=0, sa_type=sa.BigInteger)
    root: bytes
    note: str | None = None


class LogEntryRow(RecordOwned, table=True):
    """One sealed entry. `leaf` and `root` let the chain be checked without opening it.

    `grant_key` is a keyed MAC of the grant the entry is about, so that what was seen under one grant can be
    told without opening every entry. It is not part of the chain: `held verify-log` compares it to the entry.
    """

    __tablename__ = "log_entry"
    __table_args__ = (sa.Index("log_entry_by_grant", "record_id", "grant_key", "n"),)

    n: int = Field(primary_key=True, sa_type=sa.BigInteger)
    sealed: bytes
    leaf: bytes
    root: bytes
    grant_key: bytes | None = None


class SeenItemRow(RecordOwned, table=True):
    """Which recipient was shown which version of an item, by the first and the last entry that say so.

    Written with each entry, and rebuilt from the log when need be. `recipient_key` is a keyed MAC.
    """

    __tablename__ = "seen_item"

    item_key: bytes = Field(primary_key=True)
    version: int = Field(primary_key=True)
    recipient_key: bytes = Field(primary_key=True)
    first_n: int = Field(sa_type=sa.BigInteger)
    last_n: int = Field(sa_type=sa.BigInteger)
