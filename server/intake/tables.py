"""Extracts as they came, their reports, and the organisations a citizen lets push."""

from uuid import UUID

from sqlmodel import Field

from server.storage.tables import RecordOwned


class ExtractRow(RecordOwned, table=True):
    """One extract: its state and report, sealed."""

    __tablename__ = "extract"

    extract_id: UUID = Field(primary_key=True)
    sealed: bytes


class ExtractPartRow(RecordOwned, table=True):
    """A run of the extract's bytes as they came, compressed and sealed."""

    __tablename__ = "extract_part"

    extract_id: UUID = Field(primary_key=True)
    part: int = Field(primary_key=True)
    sealed: bytes


class ExtractVerdictsRow(RecordOwned, table=True):
    """What became of a run of the extract's entries, written in the transaction that stages them."""

    __tablename__ = "extract_verdicts"

    extract_id: UUID = Field(primary_key=True)
    run: int = Field(primary_key=True)
    sealed: bytes


class SourceNameRow(RecordOwned, table=True):
    """The served id of an item whose source also names it by a plain id, for references that use that id."""

    __tablename__ = "source_name"

    name_key: bytes = Field(primary_key=True)
    sealed: bytes


class OrganisationLinkRow(RecordOwned, table=True):
    """An organisation this citizen lets push, with the aliases of the person it may use."""

    __tablename__ = "organisation_link"

    organisation_key: bytes = Field(primary_key=True)
    sealed: bytes
