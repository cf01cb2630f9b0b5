"""`/records/{record_id}/log`: the owner reads who looked. Reading it is not itself logged (DESIGN wall 4).

`own_record_id` is the record in the path once `sharing.authorise` has said that it is the caller's own. These
handlers have no other way to a record id, so none of them can forget to ask.
"""

from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from server.audit import service
from server.audit.signer import LogSigner
from server.audit.wire import CheckpointAnswer, LogAnswer, checkpoint_answer, log_answer
from server.http.access import Access, route_opt
from server.storage.engine import Storage

# The largest whole number every JSON reader keeps exactly.
ENTRY_NUMBER_MAX = 2**53 - 1


@get(
    "/records/{record_id:uuid}/log",
    opt=route_opt(Access.OWNER, query=("after", "limit")),
    operation_id="readLog",
    summary="Who looked at the record, oldest first",
)
async def read_log(
    *,
    own_record_id: NamedDependency[UUID],
    storage: NamedDependency[Storage],
    log_signer: NamedDependency[LogSigner],
    after: Annotated[int, QueryParameter(ge=0, le=ENTRY_NUMBER_MAX)] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=service.PAGE_ENTRIES_MAX)] = service.PAGE_ENTRIES_DEFAULT,
) -> LogAnswer:
    """Entries numbered after `after`. The checkpoint is taken afterwards, so that it covers all of them."""
    page = await service.entries(storage, own_record_id, after, limit)
    return log_answer(page, await service.checkpoint(storage, own_record_id, log_signer), log_signer)


@get(
    "/records/{record_id:uuid}/log/checkpoint",
    opt=route_opt(Access.OWNER),
    operation_id="readLogCheckpoint",
    summary="A signed statement of how long the log is and what its root is",
)
async def read_checkpoint(
    own_record_id: NamedDependency[UUID],
    storage: NamedDependency[Storage],
    log_signer: NamedDependency[LogSigner],
) -> CheckpointAnswer:
    """The log's newest checkpoint, for the phone to pin."""
    return checkpoint_answer(await service.checkpoint(storage, own_record_id, log_signer), log_signer)


ROUTES = (read_log, read_checkpoint)
