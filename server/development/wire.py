"""The bodies of the development-only calls."""

from uuid import UUID

import msgspec

TEXT_CHARACTERS_MAX = 200


class NewPerson(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /development/people`."""

    name: str
    nhs_number: str
    birth_date: str


class AddedPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who can now sign in: `subject` is the `login_hint`."""

    subject: str
    name: str
    nhs_number: str
    birth_date: str


class NewAlias(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /development/aliases`: an identifier an organisation may use for the record's person."""

    record_id: UUID
    organisation: str
    system: str
    value: str
