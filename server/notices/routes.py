"""The notices of a record's owner and of professionals."""

from typing import Annotated
from uuid import UUID

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from server.http.access import Access, route_opt
from server.identity.principal import Principal
from server.notices.service import PAGE_NOTICES_MAX, Notices
from server.notices.wire import NoticeAnswer, NoticeList, notice_answer


@get(
    "/records/{record_id:uuid}/notices",
    opt=route_opt(Access.OWNER),
    operation_id="listOwnNotices",
    summary="What the record's owner is told",
)
async def list_own_notices(
    own_record_id: NamedDependency[UUID], notices: NamedDependency[Notices]
) -> NoticeList:
    """The owner's notices, newest first."""
    return NoticeList([notice_answer(notice) for notice in await notices.of_record(own_record_id)])


@get(
    "/notices",
    opt=route_opt(Access.PROFESSIONAL, query=("after", "limit")),
    operation_id="listNotices",
    summary="What a professional is told of records they saw",
)
async def list_notices(
    *,
    principal: NamedDependency[Principal],
    notices: NamedDependency[Notices],
    after: FromQuery[UUID | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_NOTICES_MAX)] = PAGE_NOTICES_MAX,
) -> NoticeList:
    """A page of the caller's notices from every record. Each record's log says that they were told."""
    page = await notices.of_person(principal.subject, after, limit)
    return NoticeList(
        [notice_answer(notice) for notice in page.notices],
        next_after=str(page.next_after) if page.next_after is not None else None,
    )


@post(
    "/notices/{notice_id:uuid}/read",
    status_code=200,
    opt=route_opt(Access.PROFESSIONAL),
    operation_id="readNotice",
    summary="A professional says that they have read a notice",
)
async def read_notice(
    notice_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    notices: NamedDependency[Notices],
) -> NoticeAnswer:
    """The notice, read from now on. Reading it again changes nothing."""
    return notice_answer(await notices.read(principal.subject, notice_id))


NOTICE_ROUTES = (list_own_notices, list_notices, read_notice)
