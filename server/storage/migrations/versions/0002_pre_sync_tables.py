"""What sync and corrections add: the digest, devices, outcomes, corrections, notices and who saw what.

Items that stand already have no `entry` until their record's digest is counted for the first time, which
needs the record's key (feed_digest.ensure_digest).
"""

import sqlalchemy as sa
from alembic import op

from server.storage.migrations import security

revision = "0002_pre_sync_tables"
down_revision = "0001_pre_first_tables"
branch_labels = None
depends_on = None

RECORD_TABLES = (
    "correction",
    "device",
    "mutation_outcome",
    "notice",
    "questioned_item",
    "record_digest",
    "seen_item",
)
DIRECTORY_TABLES = ("correction_task", "device_key", "notice_for")
# The outcome of a mutation is what it is for ever; erasure takes it away.
NEVER_EDITED = ("mutation_outcome",)
# Every write of a record's items changes its row here.
OFTEN_UPDATED = ("record_digest",)


def upgrade() -> None:
    """Adds the tables with their grants and policies, and two columns to the items."""
    _digest_columns()
    _sync_tables()
    _correction_tables()
    _directory_tables()
    security.guard_record_tables(RECORD_TABLES)
    security.guard_directory_tables(DIRECTORY_TABLES)
    security.allow(NEVER_EDITED, "SELECT, INSERT, DELETE")
    freely = [name for name in (*RECORD_TABLES, *DIRECTORY_TABLES) if name not in NEVER_EDITED]
    security.allow(freely, "SELECT, INSERT, UPDATE, DELETE")
    security.leave_room_for_updates(OFTEN_UPDATED)
    security.keep_as_it_is("record_digest", "sums")


def _digest_columns() -> None:
    for table in ("item", "staged_item"):
        op.add_column(table, sa.Column("bucket", sa.SmallInteger(), nullable=True))
        op.add_column(table, sa.Column("entry", sa.LargeBinary(), nullable=True))
    op.create_index("item_by_bucket", "item", ["record_id", "bucket"], unique=False)


def _sync_tables() -> None:
    op.create_table(
        "record_digest",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id"),
    )
    op.create_table(
        "device",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("pulled_seq", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "device_id"),
    )
    op.create_table(
        "mutation_outcome",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("mid", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "mid"),
    )
    columns = ["record_id", "device_id", "seq"]
    op.create_index("mutation_outcome_by_device", "mutation_outcome", columns, unique=False)


def _correction_tables() -> None:
    op.create_table(
        "correction",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("correction_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "correction_id"),
    )
    op.create_table(
        "questioned_item",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("correction_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "item_key", "correction_id"),
    )
    op.create_table(
        "notice",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "notice_id"),
    )
    op.create_table(
        "seen_item",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("recipient_key", sa.LargeBinary(), nullable=False),
        sa.Column("first_n", sa.BigInteger(), nullable=False),
        sa.Column("last_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "item_key", "version", "recipient_key"),
    )


def _directory_tables() -> None:
    op.create_table(
        "device_key",
        sa.Column("jkt_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("jkt_mac"),
    )
    op.create_table(
        "correction_task",
        sa.Column("organisation_mac", sa.LargeBinary(), nullable=False),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organisation_mac", "task_id"),
    )
    op.create_index(
        "correction_task_moved", "correction_task", ["organisation_mac", "moved_at"], unique=False
    )
    op.create_table(
        "notice_for",
        sa.Column("recipient_mac", sa.LargeBinary(), nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("recipient_mac", "notice_id"),
    )
    columns = ["recipient_mac", "created_at", "notice_id"]
    op.create_index("notice_for_created", "notice_for", columns, unique=False)
