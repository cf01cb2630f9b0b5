"""The first tables: the record's own, and the directory's."""

import sqlalchemy as sa
from alembic import op

from server.storage.migrations import security

revision = "0001_pre_first_tables"
down_revision = None
branch_labels = None
depends_on = None

RECORD_TABLES = (
    "access_grant",
    "extract",
    "extract_part",
    "extract_verdicts",
    "hidden_item",
    "item",
    "item_version",
    "log_entry",
    "log_head",
    "organisation_link",
    "record",
    "record_key",
    "redemption",
    "source_name",
    "staged_item",
    "stored_outcome",
)
DIRECTORY_TABLES = (
    "authorization_code",
    "client",
    "extract_record",
    "grant_record",
    "guess_count",
    "link",
    "link_alias",
    "nhs_number_record",
    "offer",
    "organisation",
    "person",
    "refresh_token",
    "sign_in",
    "spent_identifier",
    "subject_record",
    "token_family",
)
# Nothing that was logged is ever changed or taken away, and a version that was replaced is never edited.
NEVER_CHANGED = ("log_entry",)
NEVER_EDITED = ("item_version",)
# Every write of a record changes its row here, and every write of a log its head.
OFTEN_UPDATED = ("log_head", "record")


def upgrade() -> None:
    """Makes the tables, the app role, its grants and its policies."""
    _audit_tables()
    _directory_tables_1()
    _directory_tables_2()
    _directory_tables_3()
    _feed_tables_1()
    _feed_tables_2()
    _intake_tables()
    _sharing_tables()
    security.create_app_role()
    security.guard_record_tables(RECORD_TABLES)
    security.guard_directory_tables(DIRECTORY_TABLES)
    security.allow(NEVER_CHANGED, "SELECT, INSERT")
    security.allow(NEVER_EDITED, "SELECT, INSERT, DELETE")
    freely = [
        name for name in (*RECORD_TABLES, *DIRECTORY_TABLES) if name not in NEVER_CHANGED + NEVER_EDITED
    ]
    security.allow(freely, "SELECT, INSERT, UPDATE, DELETE")
    security.leave_room_for_updates(OFTEN_UPDATED)


def _audit_tables() -> None:
    op.create_table(
        "log_entry",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("grant_key", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("record_id", "n"),
    )
    op.create_index("log_entry_by_grant", "log_entry", ["record_id", "grant_key", "n"], unique=False)
    op.create_table(
        "log_head",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("log_id", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("record_id"),
    )


def _directory_tables_1() -> None:
    op.create_table(
        "authorization_code",
        sa.Column("code_mac", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("code_mac"),
    )
    op.create_table(
        "client",
        sa.Column("client_mac", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("client_mac"),
    )
    op.create_table(
        "extract_record",
        sa.Column("extract_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("organisation_mac", sa.LargeBinary(), nullable=False),
        sa.Column("is_finished", sa.Boolean(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("extract_id"),
    )
    op.create_index("ix_extract_record_is_finished", "extract_record", ["is_finished"], unique=False)
    op.create_table(
        "grant_record",
        sa.Column("pointer_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("pointer_id"),
    )
    op.create_table(
        "guess_count",
        sa.Column("guesser_mac", sa.LargeBinary(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wrong", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("guesser_mac", "window_start"),
    )
    op.create_table(
        "link",
        sa.Column("organisation_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_mac", "record_id"),
    )
    op.create_table(
        "link_alias",
        sa.Column("alias_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("alias_mac"),
    )


def _directory_tables_2() -> None:
    op.create_table(
        "nhs_number_record",
        sa.Column("nhs_number_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("nhs_number_mac"),
    )
    op.create_table(
        "offer",
        sa.Column("name_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("secret_mac", sa.LargeBinary(), nullable=False),
        sa.Column("link_mac", sa.LargeBinary(), nullable=False),
        sa.Column("recipient_mac", sa.LargeBinary(), nullable=True),
        sa.Column("guesses_left", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_by", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name_mac"),
    )
    op.create_table(
        "organisation",
        sa.Column("organisation_mac", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_mac"),
    )
    op.create_table(
        "person",
        sa.Column("subject_mac", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject_mac"),
    )
    op.create_table(
        "refresh_token",
        sa.Column("token_mac", sa.LargeBinary(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("successor", sa.LargeBinary(), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("token_mac"),
    )
    op.create_index("ix_refresh_token_family_id", "refresh_token", ["family_id"], unique=False)
    op.create_table(
        "sign_in",
        sa.Column("state_mac", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_mac"),
    )


def _directory_tables_3() -> None:
    is_postgres = op.get_context().dialect.name == "postgresql"
    op.create_table(
        "spent_identifier",
        sa.Column("identifier_mac", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("identifier_mac"),
        prefixes=["UNLOGGED"] if is_postgres else [],
    )
    op.create_table(
        "subject_record",
        sa.Column("subject_mac", sa.LargeBinary(), nullable=False),
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("subject_mac"),
    )
    op.create_table(
        "token_family",
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("is_revoked", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("family_id"),
    )


def _feed_tables_1() -> None:
    op.create_table(
        "hidden_item",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "item_key"),
    )
    op.create_table(
        "item",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "item_key"),
        sa.UniqueConstraint("record_id", "seq", name="item_seq"),
    )
    op.create_table(
        "item_version",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "item_key", "version"),
    )
    op.create_table(
        "record",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id"),
    )
    op.create_table(
        "record_key",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id"),
    )


def _feed_tables_2() -> None:
    op.create_table(
        "staged_item",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("extract_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_key", sa.LargeBinary(), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "extract_id", "position"),
        sa.UniqueConstraint("record_id", "extract_id", "item_key", name="staged_item_once"),
    )
    op.create_table(
        "stored_outcome",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("operation_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "operation_key"),
    )


def _intake_tables() -> None:
    op.create_table(
        "extract",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("extract_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "extract_id"),
    )
    op.create_table(
        "extract_part",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("extract_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "extract_id", "part"),
    )
    op.create_table(
        "extract_verdicts",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("extract_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "extract_id", "run"),
    )
    op.create_table(
        "organisation_link",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("organisation_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "organisation_key"),
    )
    op.create_table(
        "source_name",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("name_key", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "name_key"),
    )


def _sharing_tables() -> None:
    op.create_table(
        "access_grant",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "grant_id"),
    )
    op.create_table(
        "redemption",
        sa.Column("record_id", sa.Uuid(), nullable=False),
        sa.Column("redemption_id", sa.Uuid(), nullable=False),
        sa.Column("grant_id", sa.Uuid(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("record_id", "redemption_id"),
    )
