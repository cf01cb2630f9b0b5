"""The FHIR R4 calls over HTTP. What each discloses goes through Records.disclose.

Only an integrator writes here: it sends a correction Task back where it moved it (tasks.py).

https://hl7.org/fhir/R4/http.html
"""

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import HttpMethod, Request, Response, get, post, put, route
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import PathParameter
from litestar.types import Method, OperationIDCreator

from fhir_profiles.capability import capability_statement
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.parse import encode
from server.errors import NotFound, NotOffered, UnsupportedMedia
from server.fhir_api import bundles, interactions
from server.fhir_api.content import fhir_response, item_response, require_json
from server.fhir_api.documentation import (
    AnswerTaskOperation,
    EverythingOperation,
    SearchFormOperation,
    SearchOperation,
)
from server.fhir_api.reader import FhirReader, form_pairs, query_pairs
from server.fhir_api.tasks import TaskDesk
from server.http.access import ANY_QUERY, Access, caller, route_opt
from server.intake.keeping import source_bytes
from server.storage.engine import Storage
from server.version import RELEASED, VERSION

AnyRequest = Request[Any, Any, Any]
ResourceType = Annotated[str, PathParameter(pattern="^[A-Z][A-Za-z]{1,63}$")]
LogicalId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9\-.]{1,64}$")]

READING = [HttpMethod.GET, HttpMethod.HEAD]
FORMAT = route_opt(Access.READER, query=("_format",))
SEARCHING = route_opt(Access.READER, query=ANY_QUERY)
TASKS = route_opt(Access.TASKS, query=("_format",))


def named(name: str) -> OperationIDCreator:
    """Operation ids for a route of two methods: `read` and `readHead`."""

    def create(_handler: HTTPRouteHandler, method: Method, _path: Sequence[object]) -> str:
        return name if method == HttpMethod.GET else name + method.capitalize()

    return create


@get("/fhir/metadata", opt=route_opt(Access.PUBLIC, query=("_format",)), operation_id="capabilities")
async def metadata(request: AnyRequest, fhir: NamedDependency[FhirReader]) -> Response[bytes]:
    """What this server offers (CapabilityStatement)."""
    require_json(request)
    return fhir_response(encode(capability_statement(fhir.base_url, VERSION, published=RELEASED)))


@route(
    "/fhir/{resource_type:str}/{logical_id:str}", http_method=READING, opt=TASKS, operation_id=named("read")
)
async def read(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    fhir: NamedDependency[FhirReader],
    task_desk: NamedDependency[TaskDesk],
) -> Response[bytes]:
    """One item, as this reader may see it; to an integrator, a Task it is asked to correct."""
    require_json(request)
    if caller(request).kind == "integrator":
        return await task_desk.read(caller(request), resource_type, logical_id)
    disclosed = await fhir.disclose(
        caller(request), lambda view: interactions.read(view, resource_type, logical_id)
    )
    item = disclosed.items[0]
    is_owner = caller(request).kind == "citizen"
    if is_owner and request.headers.get("if-none-match") == item.etag:
        return fhir_response(b"", status_code=304, headers={"ETag": item.etag})
    return item_response(item)


@route(
    "/fhir/{resource_type:str}",
    http_method=READING,
    opt=route_opt(Access.TASKS, query=ANY_QUERY),
    operation_id=named("search"),
    operation_class=SearchOperation,
)
async def search_by_get(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    fhir: NamedDependency[FhirReader],
    task_desk: NamedDependency[TaskDesk],
) -> Response[bytes]:
    """The items of one type that answer a query; to an integrator, the Tasks it is asked to correct."""
    require_json(request)
    _require_known(resource_type)
    if caller(request).kind == "integrator":
        return await task_desk.search(caller(request), resource_type, query_pairs(request))
    return await fhir.search(caller(request), resource_type, query_pairs(request))


@post(
    "/fhir/{resource_type:str}/_search",
    opt=route_opt(Access.READER, query=("_format",)) | {"form": True},
    status_code=200,
    operation_id="searchByPost",
    operation_class=SearchFormOperation,
)
async def search_by_post(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    fhir: NamedDependency[FhirReader],
) -> Response[bytes]:
    """As a search by GET, with the parameters in a form, where no log on the way keeps them."""
    require_json(request)
    _require_known(resource_type)
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("Send application/x-www-form-urlencoded.")
    return await fhir.search(caller(request), resource_type, form_pairs(await request.body()))


@route(
    "/fhir/{resource_type:str}/{logical_id:str}/_history",
    http_method=READING,
    opt=FORMAT,
    operation_id=named("history"),
)
async def history(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    fhir: NamedDependency[FhirReader],
) -> Response[bytes]:
    """An item's versions, newest first. Only the owner gets earlier ones."""
    require_json(request)
    disclosed = await fhir.disclose(
        caller(request), lambda view: interactions.history(view, resource_type, logical_id)
    )
    links = [("self", f"{fhir.base_url}/fhir/{resource_type}/{logical_id}/_history")]
    return fhir_response(bundles.history(fhir.base_url, links, (*disclosed.items, *disclosed.older)))


@route(
    "/fhir/{resource_type:str}/{logical_id:str}/_history/{version_id:int}",
    http_method=READING,
    opt=FORMAT,
    operation_id=named("vread"),
)
async def read_version(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    version_id: Annotated[int, PathParameter(ge=1, le=2**31 - 1)],
    fhir: NamedDependency[FhirReader],
) -> Response[bytes]:
    """One version of an item."""
    require_json(request)
    disclosed = await fhir.disclose(
        caller(request), lambda view: interactions.version(view, resource_type, logical_id, version_id)
    )
    return item_response((*disclosed.items, *disclosed.older)[0])


@get(
    "/fhir/{resource_type:str}/{logical_id:str}/$source", opt=route_opt(Access.READER), operation_id="source"
)
async def source(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    fhir: NamedDependency[FhirReader],
    storage: NamedDependency[Storage],
) -> Response[bytes]:
    """The bytes an item came as, unchanged. For the owner."""
    authority = await fhir.authority(caller(request))
    if authority.relation != "owner":
        raise NotFound
    disclosed = await fhir.disclose(
        caller(request), lambda view: interactions.read(view, resource_type, logical_id)
    )
    head = disclosed.choice.items[0].head
    if head.source is None:
        raise NotFound
    return fhir_response(await source_bytes(storage, authority.record_id, head))


@put(
    "/fhir/{resource_type:str}/{logical_id:str}",
    opt=TASKS,
    operation_id="answerTask",
    operation_class=AnswerTaskOperation,
)
async def answer_task(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    task_desk: NamedDependency[TaskDesk],
) -> Response[bytes]:
    """Sends a Task back where its organisation moved it. Nothing else can be written here."""
    require_json(request)
    principal = caller(request)
    if principal.kind != "integrator" or resource_type != "Task":
        raise NotOffered
    if_match = request.headers.get("if-match")
    return await task_desk.update(principal, logical_id, await request.body(), if_match)


# NOTE The type is a parameter: a path that spells `Patient` out would hide every other route from that type.
@get(
    "/fhir/{resource_type:str}/{logical_id:str}/$everything",
    opt=SEARCHING,
    operation_id="everything",
    operation_class=EverythingOperation,
)
async def everything(
    *,
    request: AnyRequest,
    resource_type: ResourceType,
    logical_id: LogicalId,
    fhir: NamedDependency[FhirReader],
) -> Response[bytes]:
    """The whole record, page by page. For the owner."""
    require_json(request)
    if resource_type != "Patient":
        raise NotFound
    return await fhir.everything(caller(request), logical_id, query_pairs(request))


FHIR_ROUTES = [
    metadata,
    read,
    search_by_get,
    search_by_post,
    history,
    read_version,
    source,
    everything,
    answer_task,
]


def _require_known(resource_type: str) -> None:
    if resource_type not in CATALOGUE:
        raise NotFound("We do not offer this resource type.")
