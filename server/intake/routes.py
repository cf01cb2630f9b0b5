"""The calls of integrators (/extracts) and of a citizen about their links (/records/{record_id}/links)."""

from collections.abc import Mapping
from typing import Any, Final, Literal
from uuid import UUID

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from server.errors import BadRequest, NotFound, TooLarge, UnsupportedMedia
from server.http.access import Access, route_opt
from server.identity.principal import Principal
from server.intake.documentation import SendExtractOperation
from server.intake.links import Links
from server.intake.service import BODY_BYTES_MAX, Intake, Upload
from server.intake.wire import ExtractReport, Link, LinkedPeople, LinkList, LinkRequest
from server.sharing.authorise import authorise_owner
from server.storage.engine import Storage

AnyRequest = Request[Any, Any, Any]
IDEMPOTENCY_KEY_CHARACTERS_MAX: Final = 200
CONTENT_LENGTH_DIGITS_MAX: Final = 20
_FHIR_JSON: Final = frozenset({"application/fhir+json", "application/json"})
_LINKS: Final = "/records/{record_id:uuid}/links"


@post(
    "/extracts",
    opt=route_opt(Access.INTEGRATOR, query=("extent", "dry_run")) | {"streams": True},
    operation_id="sendExtract",
    operation_class=SendExtractOperation,
    status_code=202,
    request_max_body_size=None,
)
async def send_extract(
    request: AnyRequest, principal: NamedDependency[Principal], intake: NamedDependency[Intake]
) -> Response[ExtractReport]:
    """Takes one FHIR Bundle in and answers its report so far; `Location` is where the report goes on.

    With `dry_run=true` the answer is the whole report, nothing is kept and there is no `Location`.
    """
    _refuse_unreadable(request)
    upload = Upload(
        organisation=_organisation(principal),
        extent=_extent(request.query_params),
        chunks=request.stream(),
        idempotency_key=_idempotency_key(request),
    )
    if _is_dry_run(request.query_params):
        return Response(await intake.rehearse(upload), status_code=202)
    report = await intake.receive(upload)
    return Response(report, status_code=202, headers={"Location": f"/extracts/{report.extract_id}"})


@get("/extracts/{extract_id:uuid}", opt=route_opt(Access.INTEGRATOR), operation_id="readExtractReport")
async def read_extract_report(
    extract_id: FromPath[UUID], principal: NamedDependency[Principal], intake: NamedDependency[Intake]
) -> ExtractReport:
    """The report on an extract, for the organisation that sent it."""
    return await intake.report(_organisation(principal), extract_id)


@get("/extracts/links", opt=route_opt(Access.INTEGRATOR, query=("since",)), operation_id="listLinkedPeople")
async def list_linked_people(
    principal: NamedDependency[Principal], links: NamedDependency[Links], since: FromQuery[str | None] = None
) -> LinkedPeople:
    """The people whose link with the organisation changed since the cursor."""
    return await links.changes(_organisation(principal), since)


@get(_LINKS, opt=route_opt(Access.OWNER), operation_id="listLinks")
async def list_links(
    *,
    record_id: FromPath[UUID],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    links: NamedDependency[Links],
) -> LinkList:
    """The organisations that may push to the record, and those that could be let."""
    await authorise_owner(storage, principal, record_id)
    return await links.of_record(record_id)


@post(_LINKS, opt=route_opt(Access.OWNER), operation_id="acceptLink")
async def accept_link(
    *,
    record_id: FromPath[UUID],
    data: JSONBody[LinkRequest],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    links: NamedDependency[Links],
) -> Link:
    """Lets an organisation push to the record."""
    await authorise_owner(storage, principal, record_id)
    return await links.accept(record_id, data.organisation)


@delete(f"{_LINKS}/{{organisation:str}}", opt=route_opt(Access.OWNER), operation_id="endLink")
async def end_link(
    *,
    record_id: FromPath[UUID],
    organisation: FromPath[str],
    principal: NamedDependency[Principal],
    storage: NamedDependency[Storage],
    links: NamedDependency[Links],
) -> None:
    """Takes nothing more from an organisation."""
    await authorise_owner(storage, principal, record_id)
    await links.end(record_id, organisation)


ROUTES: Final = (send_extract, list_linked_people, read_extract_report, list_links, accept_link, end_link)


def _organisation(principal: Principal) -> str:
    if principal.organisation is None:
        raise NotFound
    return principal.organisation


def _refuse_unreadable(request: AnyRequest) -> None:
    """Refuses by the headers alone what we would not read anyway."""
    if request.headers.get("content-encoding"):
        raise UnsupportedMedia("We do not take compressed bodies.")
    media_type, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if media_type.strip() == "application/fhir+ndjson":
        raise UnsupportedMedia("We do not take NDJSON yet. Send one Bundle as application/fhir+json.")
    if media_type.strip() not in _FHIR_JSON:
        raise UnsupportedMedia("Send one Bundle as application/fhir+json.")
    _refuse_other_versions(parameters)
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise BadRequest("The Content-Length is not a number.")
    if len(declared) > CONTENT_LENGTH_DIGITS_MAX or int(declared) > BODY_BYTES_MAX:
        raise TooLarge(f"We take at most {BODY_BYTES_MAX} bytes in one extract.")


def _refuse_other_versions(parameters: str) -> None:
    for parameter in filter(None, (part.strip() for part in parameters.split(";"))):
        name, _, value = parameter.partition("=")
        value = value.strip('" ')
        if name.strip() == "fhirversion" and value != "4.0":
            raise UnsupportedMedia("We do not take this FHIR version yet. Send FHIR R4 (fhirVersion=4.0).")
        if name.strip() == "charset" and value != "utf-8":
            raise UnsupportedMedia("FHIR JSON is UTF-8.")
        if name.strip() not in {"fhirversion", "charset"}:
            raise UnsupportedMedia("We do not know this parameter of the content type.")


def _extent(query: Mapping[str, str]) -> Literal["full", "partial"]:
    match query.get("extent", "partial"):
        case "full":
            return "full"
        case "partial":
            return "partial"
        case _:
            raise BadRequest("The parameter 'extent' is full or partial.")


def _is_dry_run(query: Mapping[str, str]) -> bool:
    match query.get("dry_run", "false"):
        case "true":
            return True
        case "false":
            return False
        case _:
            raise BadRequest("The parameter 'dry_run' is true or false.")


def _idempotency_key(request: AnyRequest) -> str | None:
    keys = request.headers.getall("idempotency-key", [])
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 or not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS_MAX or not key.isprintable():
        raise BadRequest(f"Send one Idempotency-Key of 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.")
    return key
