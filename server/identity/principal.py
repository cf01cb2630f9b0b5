"""Who is asking, as their access token and proof of possession say."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The person or system behind one request.

    `record_id` is the one record the token is for, when it is for one. `grant_id` and `grant_version` are set
    when it was redeemed from an access grant. `organisation` is an ODS code.
    """

    kind: Literal["citizen", "professional", "integrator"]
    subject: str
    client_id: str
    jkt: str
    token_id: str
    signed_in_at: datetime | None = None
    record_id: UUID | None = None
    grant_id: UUID | None = None
    grant_version: int | None = None
    organisation: str | None = None
    purpose: str | None = None
    scope: str = ""


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What a sign-in provider said of someone, kept sealed.

    `subject` is ours: the provider's id, a colon, and the provider's own subject.
    """

    subject: str
    kind: Literal["citizen", "professional"]
    name: str
    family_name: str = ""
    given_name: str = ""
    nhs_number: str | None = None
    birth_date: str | None = None
    role_code: str | None = None
    role: str | None = None
    organisation: str | None = None
    organisation_name: str | None = None
    assurance: str = ""
