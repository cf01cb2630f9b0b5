"""The directory: the only tables that are not one record's (DESIGN wall 1).

Each maps an exact keyed hash or id to a record or a registration. They hold no content and are read by exact
key through the functions of directory.py, in a transaction that ends before a record's begins.
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlmodel import Field

from server.storage.tables import Table, instant


class Directory(Table):
    """A row that belongs to no one record."""


class SubjectRecordRow(Directory, table=True):
    """Sign-in subject -> the record that is theirs."""

    __tablename__ = "subject_record"

    subject_mac: bytes = Field(primary_key=True)
    record_id: UUID


class NhsNumberRecordRow(Directory, table=True):
    """NHS number -> record."""

    __tablename__ = "nhs_number_record"

    nhs_number_mac: bytes = Field(primary_key=True)
    record_id: UUID


class PersonRow(Directory, table=True):
    """What a sign-in provider last said of someone: name, role, organisation (sealed)."""

    __tablename__ = "person"

    subject_mac: bytes = Field(primary_key=True)
    sealed: bytes


class ClientRow(Directory, table=True):
    """A registered client or integrator."""

    __tablename__ = "client"

    client_mac: bytes = Field(primary_key=True)
    sealed: bytes


class OrganisationRow(Directory, table=True):
    """An organisation a citizen may link."""

    __tablename__ = "organisation"

    organisation_mac: bytes = Field(primary_key=True)
    sealed: bytes


class LinkRow(Directory, table=True):
    """Which records an organisation may push to, numbered by change."""

    __tablename__ = "link"

    organisation_mac: bytes = Field(primary_key=True)
    record_id: UUID = Field(primary_key=True)
    change: int = Field(sa_type=sa.BigInteger)
    accepted: bool


class LinkAliasRow(Directory, table=True):
    """An identifier an organisation uses for a person, accepted on their link -> the record."""

    __tablename__ = "link_alias"

    alias_mac: bytes = Field(primary_key=True)
    record_id: UUID


class ExtractRecordRow(Directory, table=True):
    """Extract -> the record (or holding record) it is kept with."""

    __tablename__ = "extract_record"

    extract_id: UUID = Field(primary_key=True)
    record_id: UUID
    organisation_mac: bytes
    is_finished: bool = Field(default=False, index=True)
    lease_until: datetime | None = Field(default=None, sa_column=instant(nullable=True))


class GrantRecordRow(Directory, table=True):
    """Grant or redemption id -> record."""

    __tablename__ = "grant_record"

    pointer_id: UUID = Field(primary_key=True)
    record_id: UUID


class OfferRow(Directory, table=True):
    """Offer name -> record and grant, with the keyed hashes of its secrets and the guesses left.

    `secret_mac` is of the typed secret, `link_mac` of the scanned one. `recipient_mac` says who may
    claim it, None when anybody may.
    """

    __tablename__ = "offer"

    name_mac: bytes = Field(primary_key=True)
    record_id: UUID
    grant_id: UUID
    secret_mac: bytes
    link_mac: bytes
    recipient_mac: bytes | None = None
    guesses_left: int
    expires_at: datetime = Field(sa_column=instant())
    claimed_by: bytes | None = None


class GuessCountRow(Directory, table=True):
    """Wrong codes counted by who sent them and by the clock."""

    __tablename__ = "guess_count"

    guesser_mac: bytes = Field(primary_key=True)
    window_start: datetime = Field(sa_column=instant(primary_key=True))
    wrong: int


class AuthorizationCodeRow(Directory, table=True):
    """One-time code of RFC 6749 section 4.1, waiting for its verifier."""

    __tablename__ = "authorization_code"

    code_mac: bytes = Field(primary_key=True)
    sealed: bytes
    expires_at: datetime = Field(sa_column=instant())
    used: bool = False


class SignInRow(Directory, table=True):
    """A sign-in under way at a provider, found by its `state`."""

    __tablename__ = "sign_in"

    state_mac: bytes = Field(primary_key=True)
    sealed: bytes
    expires_at: datetime = Field(sa_column=instant())


class RefreshTokenRow(Directory, table=True):
    """One refresh token of a family; rotating marks it used and names its successor."""

    __tablename__ = "refresh_token"

    token_mac: bytes = Field(primary_key=True)
    family_id: UUID = Field(index=True)
    sealed: bytes
    successor: bytes | None = None
    used_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    expires_at: datetime = Field(sa_column=instant())


class TokenFamilyRow(Directory, table=True):
    """A sign-in's line of refresh tokens; revoked as a whole."""

    __tablename__ = "token_family"

    family_id: UUID = Field(primary_key=True)
    is_revoked: bool = False
    expires_at: datetime = Field(sa_column=instant())


class SpentIdentifierRow(Directory, table=True):
    """A `jti` that was used, kept until a replay could no longer be accepted."""

    __tablename__ = "spent_identifier"

    identifier_mac: bytes = Field(primary_key=True)
    expires_at: datetime = Field(sa_column=instant())


class DeviceKeyRow(Directory, table=True):
    """The key of a citizen's device -> their record and the device. `state`: 0 live, 1 ended, 2 wiped."""

    __tablename__ = "device_key"

    jkt_mac: bytes = Field(primary_key=True)
    record_id: UUID
    device_id: UUID
    state: int = Field(default=0, sa_type=sa.SmallInteger)


class CorrectionTaskRow(Directory, table=True):
    """The corrections an organisation is asked for: its queue, in order of `moved_at`."""

    __tablename__ = "correction_task"
    __table_args__ = (sa.Index("correction_task_moved", "organisation_mac", "moved_at"),)

    organisation_mac: bytes = Field(primary_key=True)
    task_id: UUID = Field(primary_key=True)
    record_id: UUID
    moved_at: datetime = Field(sa_column=instant())


class NoticeForRow(Directory, table=True):
    """The notices for a person, in order of `created_at` -> the record that keeps each."""

    __tablename__ = "notice_for"
    __table_args__ = (sa.Index("notice_for_created", "recipient_mac", "created_at", "notice_id"),)

    recipient_mac: bytes = Field(primary_key=True)
    notice_id: UUID = Field(primary_key=True)
    record_id: UUID
    created_at: datetime = Field(sa_column=instant())
