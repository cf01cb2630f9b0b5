"""The record a token is asked for: `resource=<base_url>/records/{rid}`.

https://www.rfc-editor.org/rfc/rfc8707
"""

from uuid import UUID

from server.errors import OAuthError
from server.identity.people import KnownRecord, RecordBook
from server.identity.sign_in_sessions import SignedIn


def record_asked_for(base_url: str, resource: str | None) -> UUID | None:
    """The record id in `resource`. Raises OAuthError invalid_target when it does not name a record here."""
    if resource is None:
        return None
    prefix = f"{base_url}/records/"
    text = resource.removeprefix(prefix)
    try:
        record_id = UUID(text)
    except ValueError:
        raise OAuthError("invalid_target") from None
    if resource != f"{prefix}{record_id}":
        raise OAuthError("invalid_target")
    return record_id


async def known_record(
    records: RecordBook, signed_in: SignedIn, record_id: UUID | None
) -> KnownRecord | None:
    """The record, if this citizen may open it. Raises OAuthError for any other, real or not."""
    if record_id is None:
        return None
    known = await records.of_subject(signed_in.subject) if signed_in.kind == "citizen" else ()
    for record in known:
        if record.record_id == record_id:
            return record
    raise OAuthError("invalid_target")
