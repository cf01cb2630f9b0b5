"""What the sign-in calls answer, as it stands on the wire."""

import msgspec


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 6749 section 5.1, RFC 9449 section 5, SMART App Launch 2 (patient)."""

    access_token: str
    expires_in: int
    token_type: str
    refresh_token: str | None = None
    scope: str = ""
    patient: str | None = None
    record: str | None = None


class RecordLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of `GET /me`."""

    record_id: str
    patient_id: str
    name: str
    relation: str
    until: str | None = None


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /me`."""

    subject: str
    name: str
    kind: str
    records: list[RecordLine]


class Introspection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """RFC 7662 section 2.2, for a token that is alive."""

    active: bool
    iss: str
    aud: str
    sub: str
    client_id: str
    iat: int
    exp: int
    jti: str
    scope: str
    token_type: str
    cnf: dict[str, str]
    patient: str | None = None
    record: str | None = None
    grant: str | None = None
    grant_version: int | None = None
    purpose: str | None = None
