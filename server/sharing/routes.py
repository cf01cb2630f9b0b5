"""The grant calls of the record's owner: /records/{record_id}/grants and /end-all."""

from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.errors import RuleBroken
from server.http.access import Access, route_opt
from server.identity.principal import Principal
from server.settings import Settings
from server.sharing import asking, presenting
from server.sharing.authorise import authorise_owner
from server.sharing.service import Sharing
from server.sharing.wire import (
    Answer,
    EndAll,
    Ended,
    EndedAll,
    EndGrant,
    ExtendGrant,
    GrantList,
    GrantView,
    NarrowGrant,
    NewGrant,
    OfferedGrant,
)
from server.storage.engine import Storage

_RECORD = "/records/{record_id:uuid}"
_GRANTS = _RECORD + "/grants"
_GRANT = _GRANTS + "/{grant_id:uuid}"


@post(_GRANTS, opt=route_opt(Access.OWNER), operation_id="offerGrant")
async def offer_grant(
    *,
    record_id: FromPath[UUID],
    data: JSONBody[NewGrant],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
    settings: NamedDependency[Settings],
) -> OfferedGrant:
    """Offers someone a slice of the record. The code in the answer is shown this once."""
    authority = await authorise_owner(storage, principal, record_id)
    grant, offer = await sharing.offer(authority, asking.terms_of(data))
    return presenting.offered_view(grant, offer, settings.base_url)


@get(_GRANTS, opt=route_opt(Access.OWNER), operation_id="listGrants")
async def list_grants(
    *,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> GrantList:
    """Every grant of the record, newest first."""
    await authorise_owner(storage, principal, record_id)
    return GrantList([presenting.grant_view(one) for one in await sharing.every(record_id)])


@get(_GRANT, opt=route_opt(Access.OWNER), operation_id="readGrant")
async def read_grant(
    *,
    record_id: FromPath[UUID],
    grant_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> GrantView:
    """One grant, with who is waiting for an answer to it."""
    await authorise_owner(storage, principal, record_id)
    return presenting.grant_view(await sharing.one(record_id, grant_id))


@post(_GRANT + "/confirm", status_code=200, opt=route_opt(Access.OWNER), operation_id="confirmGrant")
async def confirm_grant(
    *,
    record_id: FromPath[UUID],
    grant_id: FromPath[UUID],
    data: JSONBody[Answer],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> GrantView:
    """Says yes or no to the person who used the code."""
    authority = await authorise_owner(storage, principal, record_id)
    redemption_id = _uuid(data.redemption)
    if data.allow:
        answered = await sharing.allow(authority, grant_id, redemption_id, data.match)
    else:
        answered = await sharing.reject(authority, grant_id, redemption_id)
    return presenting.grant_view(answered)


@post(_GRANT + "/narrow", status_code=200, opt=route_opt(Access.OWNER), operation_id="narrowGrant")
async def narrow_grant(
    *,
    record_id: FromPath[UUID],
    grant_id: FromPath[UUID],
    data: JSONBody[NarrowGrant],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> GrantView:
    """Shows less, or for less long. Tokens of the version before stop at once."""
    authority = await authorise_owner(storage, principal, record_id)
    return presenting.grant_view(await sharing.narrow(authority, grant_id, asking.narrowing_of(data)))


@post(_GRANT + "/extend", status_code=200, opt=route_opt(Access.OWNER), operation_id="extendGrant")
async def extend_grant(
    *,
    record_id: FromPath[UUID],
    grant_id: FromPath[UUID],
    data: JSONBody[ExtendGrant],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> GrantView:
    """Lets access last longer."""
    authority = await authorise_owner(storage, principal, record_id)
    ends_at = asking.end_of(data.ends_at)
    return presenting.grant_view(await sharing.extend(authority, grant_id, data.base_version, ends_at))


@post(_GRANT + "/end", status_code=200, opt=route_opt(Access.OWNER), operation_id="endGrant")
async def end_grant(
    *,
    record_id: FromPath[UUID],
    grant_id: FromPath[UUID],
    data: JSONBody[EndGrant],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> Ended:
    """Ends a grant or an unused offer, and says what had been seen."""
    authority = await authorise_owner(storage, principal, record_id)
    return Ended(await sharing.end(authority, grant_id, asking.reason_of(data.reason)))


@post(
    "/records/{record_id:uuid}/end-all", status_code=200, opt=route_opt(Access.OWNER), operation_id="endAll"
)
async def end_all(
    *,
    record_id: FromPath[UUID],
    data: JSONBody[EndAll],  # noqa: ARG001 - read so that an unknown field is refused.
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    sharing: NamedDependency[Sharing],
) -> EndedAll:
    """Ends every grant and offer at one moment."""
    authority = await authorise_owner(storage, principal, record_id)
    return EndedAll(await sharing.end_all(authority), devices_ended=0)


SHARING_ROUTES = (
    offer_grant,
    list_grants,
    read_grant,
    confirm_grant,
    narrow_grant,
    extend_grant,
    end_grant,
    end_all,
)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise RuleBroken("This is not the id of a redemption.", pointer="/redemption") from None
