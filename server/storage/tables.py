"""The record's own tables: one record, one key, one feed (DESIGN walls 1 and 2).

`record_id` is the first column of every key here. In the clear stand only record ids, item keys, versions,
seqs, counts, padded sizes and coarse times; everything else is sealed or a keyed MAC.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field, SQLModel


class Instant(sa.TypeDecorator[datetime]):
    """An aware UTC instant in milliseconds, the same from both databases (SQLite forgets time zones)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """The instant as it is stored; ValueError when it has no time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("An instant needs a time zone.")
        stored = value.astimezone(UTC).replace(microsecond=value.microsecond // 1000 * 1000)
        return stored.replace(tzinfo=None) if dialect.name == "sqlite" else stored

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        """The instant, aware and in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


def instant(*, nullable: bool = False, primary_key: bool = False) -> sa.Column[datetime]:
    """A column for an aware UTC instant."""
    return sa.Column(Instant(), nullable=nullable, primary_key=primary_key)


class Table(SQLModel):
    """What every table here is made from."""

    if TYPE_CHECKING:
        # SQLModel declares this for names that a function makes; ours are plain text.
        __tablename__: ClassVar[Any]


class RecordOwned(Table):
    """A row that belongs to one record."""

    record_id: UUID = Field(primary_key=True)


class RecordRow(RecordOwned, table=True):
    """One citizen's record. This row's lock orders every write to the feed."""

    __tablename__ = "record"

    epoch: int = Field(sa_type=sa.BigInteger)
    seq: int = Field(default=0, sa_type=sa.BigInteger)
    floor: int = Field(default=0, sa_type=sa.BigInteger)
    sealed: bytes


class RecordKeyRow(RecordOwned, table=True):
    """The record's key, wrapped by the key provider. Erasure destroys this row."""

    __tablename__ = "record_key"

    wrapped: bytes


class ItemRow(RecordOwned, table=True):
    """The current version of one FHIR resource: one row of the feed.

    `entry` is what it adds to its `bucket` of the record's digest; both are None unless it is live, and in a
    record whose digest was never counted.
    """

    __tablename__ = "item"
    __table_args__ = (
        sa.UniqueConstraint("record_id", "seq", name="item_seq"),
        sa.Index("item_by_bucket", "record_id", "bucket"),
    )

    item_key: bytes = Field(primary_key=True)
    version: int
    seq: int = Field(sa_type=sa.BigInteger)
    state: int
    batch: int | None = Field(default=None, sa_type=sa.BigInteger)
    head: bytes
    body: bytes
    bucket: int | None = Field(default=None, sa_type=sa.SmallInteger)
    entry: bytes | None = None


class ItemVersionRow(RecordOwned, table=True):
    """A version that is no longer current. Never edited."""

    __tablename__ = "item_version"

    item_key: bytes = Field(primary_key=True)
    version: int = Field(primary_key=True)
    state: int
    head: bytes
    body: bytes


class HiddenItemRow(RecordOwned, table=True):
    """An item its source hides from the person. It has no seq and enters the feed only if released."""

    __tablename__ = "hidden_item"

    item_key: bytes = Field(primary_key=True)
    version: int
    head: bytes
    body: bytes


class StagedItemRow(RecordOwned, table=True):
    """An item of an extract, parsed and sealed, waiting to be published in one statement."""

    __tablename__ = "staged_item"
    __table_args__ = (sa.UniqueConstraint("record_id", "extract_id", "item_key", name="staged_item_once"),)

    extract_id: UUID = Field(primary_key=True)
    position: int = Field(primary_key=True)
    item_key: bytes
    base_version: int
    head: bytes
    body: bytes
    bucket: int | None = Field(default=None, sa_type=sa.SmallInteger)
    entry: bytes | None = None


class RecordDigestRow(RecordOwned, table=True):
    """The digest of a record's live items (sync/digest.py): its state, empty for no items, and its root.

    A record that was made before there were digests has no row until one is counted.
    """

    __tablename__ = "record_digest"

    sums: bytes
    root: bytes


class QuestionedItemRow(RecordOwned, table=True):
    """An item the person says is wrong, while nobody has settled it: every View marks it."""

    __tablename__ = "questioned_item"

    item_key: bytes = Field(primary_key=True)
    correction_id: UUID = Field(primary_key=True)


class StoredOutcomeRow(RecordOwned, table=True):
    """The answer to a write that must happen once, kept so that a repeat gets the same answer."""

    __tablename__ = "stored_outcome"

    operation_key: bytes = Field(primary_key=True)
    sealed: bytes
    stored_at: datetime = Field(sa_column=instant())


def record_owned_tables() -> list[sa.Table]:
    """Every table whose first key column is `record_id`; each carries the tenant policy on PostgreSQL."""
    return [table for table in SQLModel.metadata.sorted_tables if _first_key(table) == "record_id"]


def directory_tables() -> list[sa.Table]:
    """Every other table; each carries the directory policy on PostgreSQL."""
    return [table for table in SQLModel.metadata.sorted_tables if _first_key(table) != "record_id"]


def _first_key(table: sa.Table) -> str:
    return next(iter(table.primary_key.columns)).name
