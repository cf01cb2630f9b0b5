"""The calls of phones: /sync/v1 (docs/reference/sync.md), and the owner's list of phones."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, PathParameter, QueryParameter

from server.devices_sync.cursors import SEALED_CHARACTERS_MAX
from server.devices_sync.documentation import FetchOperation, PushOperation, RegisterOperation
from server.devices_sync.http import (
    PUSH_BODY,
    SMALL_BODY,
    AnyRequest,
    answer,
    answer_bytes,
    read_message,
    require_version,
)
from server.devices_sync.service import Asked, DevicesSync, Unchanged
from server.devices_sync.wire import DeviceList, device_line
from server.errors import NotFound
from server.http.access import Access, route_opt
from server.identity.principal import Principal
from server.identity.service import Identity
from server.sharing.authorise import authorise_owner
from server.storage.engine import Storage
from sync.messages import PAGE_BYTES_MAX, PAGE_ROWS_MAX, PUSH_BYTES_MAX, Fetch, Push, Registration

WAIT_SECONDS_MAX = 50

_RECORD = "/sync/v1/records/{record_id:uuid}"
_OWNER = route_opt(Access.OWNER)
_Sealed = Annotated[str | None, QueryParameter(max_length=SEALED_CHARACTERS_MAX)]


@post(
    _RECORD + "/devices",
    opt=_OWNER | SMALL_BODY,
    operation_id="registerDevice",
    operation_class=RegisterOperation,
)
async def register_device(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """Makes the phone known whose key the token is bound to; again for a phone that is known already."""
    authority = await authorise_owner(storage, principal, record_id)
    registration = await read_message(request, Registration)
    registered = await devices_sync.register(authority, registration)
    limits = msgspec.json.encode(registered.limits).decode()
    return await answer(request, registered, status_code=201, headers={"Sync-Limits": limits})


@get("/records/{record_id:uuid}/devices", opt=_OWNER, operation_id="listDevices")
async def list_devices(
    *,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> DeviceList:
    """The phones that keep a copy of the record, oldest first."""
    authority = await authorise_owner(storage, principal, record_id)
    found = await devices_sync.devices(authority)
    return DeviceList([device_line(one, is_this=one.device_id == authority.device_id) for one in found])


@delete(_RECORD + "/devices/{device_id:uuid}", opt=_OWNER, operation_id="endDevice")
async def end_device(
    *,
    record_id: FromPath[UUID],
    device_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> None:
    """Ends a phone's access at once; from then on its key gets `wipe`."""
    authority = await authorise_owner(storage, principal, record_id)
    await devices_sync.end_device(authority, device_id)


@post(
    _RECORD + "/devices/self/wiped",
    status_code=204,
    opt=route_opt(Access.PUBLIC) | SMALL_BODY,
    operation_id="confirmWiped",
)
async def confirm_wiped(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    identity: NamedDependency[Identity],
    devices_sync: NamedDependency[DevicesSync],
) -> None:
    """An ended phone says that it holds nothing more. Its proof is enough: it can have no token any more."""
    await devices_sync.confirm_wiped(record_id, await identity.prove_key(request))


@get(
    _RECORD + "/changes",
    opt=route_opt(Access.OWNER, query=("since", "limit", "bytes", "wait")),
    operation_id="pullChanges",
)
async def pull_changes(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
    since: _Sealed = None,
    limit: Annotated[int, QueryParameter(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_MAX,
    byte_limit: Annotated[int, QueryParameter(name="bytes", ge=1, le=PAGE_BYTES_MAX)] = PAGE_BYTES_MAX,
    wait: Annotated[int, QueryParameter(ge=0, le=WAIT_SECONDS_MAX)] = 0,  # noqa: ARG001 - answered at once.
) -> Response[bytes]:
    """The rows since a cursor, or 304 when there is nothing new."""
    require_version(request.headers.get("accept", ""))
    authority = await authorise_owner(storage, principal, record_id)
    asked = Asked(
        since=since,
        rows_max=limit,
        bytes_max=byte_limit,
        known=_entity_tag(request),
        log_size=_whole_number(request.headers.get("sync-log")),
        digest=request.headers.get("sync-digest"),
    )
    page = await devices_sync.changes(authority, asked)
    if isinstance(page, Unchanged):
        return Response(b"", status_code=304, headers={"ETag": f'"{page.cursor}"'})
    return await answer(request, page, headers={"ETag": f'"{page.cursor}"'})


@post(
    _RECORD + "/mutations",
    status_code=200,
    opt=_OWNER | PUSH_BODY,
    request_max_body_size=PUSH_BYTES_MAX,
    operation_id="pushMutations",
    operation_class=PushOperation,
)
async def push_mutations(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """What the person did, in order; with `since` also the rows since that cursor."""
    devices_sync.push_pace.step(principal.token_id)
    authority = await authorise_owner(storage, principal, record_id)
    pushed = await devices_sync.push(authority, await read_message(request, Push))
    return await answer(request, pushed)


@get(_RECORD + "/snapshot", opt=_OWNER, operation_id="readSnapshot")
async def read_snapshot(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """The segments of a first load."""
    authority = await authorise_owner(storage, principal, record_id)
    return await answer(request, await devices_sync.snapshot(authority))


@get(_RECORD + "/segments/{name:str}", opt=_OWNER, operation_id="readSegment")
async def read_segment(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    name: Annotated[str, PathParameter(max_length=SEALED_CHARACTERS_MAX)],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """One segment: a line of JSON for each item."""
    authority = await authorise_owner(storage, principal, record_id)
    changes = await devices_sync.segment(authority, name)
    return await answer_bytes(request, msgspec.json.Encoder().encode_lines(changes))


@get(
    _RECORD + "/digest",
    opt=route_opt(Access.OWNER, query=("at", "prefix", "depth")),
    operation_id="readDigest",
)
async def read_digest(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
    at: Annotated[str, QueryParameter(max_length=SEALED_CHARACTERS_MAX)],
    prefix: Annotated[str, QueryParameter(max_length=2)] = "",
    depth: Annotated[int | None, QueryParameter(ge=0, le=2)] = None,
) -> Response[bytes]:
    """The nodes of the digest below a prefix, or the items of a bucket."""
    authority = await authorise_owner(storage, principal, record_id)
    return await answer(request, await devices_sync.digest(authority, at, prefix, depth))


@post(
    _RECORD + "/fetch",
    status_code=200,
    opt=_OWNER | SMALL_BODY,
    operation_id="fetchItems",
    operation_class=FetchOperation,
)
async def fetch_items(
    *,
    request: AnyRequest,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """Items as they stand, for a repair."""
    authority = await authorise_owner(storage, principal, record_id)
    return await answer(request, await devices_sync.fetch(authority, await read_message(request, Fetch)))


@get("/sync/v1/heads", opt=_OWNER, operation_id="readHeads")
async def read_heads(
    *,
    request: AnyRequest,
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    devices_sync: NamedDependency[DevicesSync],
) -> Response[bytes]:
    """Where each record stands that this token opens."""
    if principal.record_id is None:
        raise NotFound
    authority = await authorise_owner(storage, principal, principal.record_id)
    return await answer(request, {str(authority.record_id): await devices_sync.head(authority)})


ROUTES = (
    register_device,
    list_devices,
    end_device,
    confirm_wiped,
    pull_changes,
    push_mutations,
    read_snapshot,
    read_segment,
    read_digest,
    fetch_items,
    read_heads,
)


def _entity_tag(request: AnyRequest) -> str | None:
    tag = request.headers.get("if-none-match", "").strip().removeprefix("W/").strip('"')
    return tag or None


def _whole_number(text: str | None) -> int | None:
    """The number, or None for what is none: a header nobody can read asks for nothing."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 16 else None
