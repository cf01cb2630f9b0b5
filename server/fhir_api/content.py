"""Which format an answer has. JSON is the only one; `_format` beats `Accept`.

https://hl7.org/fhir/R4/http.html#mime-type
"""

from datetime import datetime
from email.utils import format_datetime
from typing import Any

from litestar import Request, Response

from server.errors import NotAcceptable
from server.records.view import Rendered

FHIR_JSON = "application/fhir+json"
_JSON_NAMES = {FHIR_JSON, "application/json", "json", "text/json", "*/*", "application/*"}


def require_json(request: Request[Any, Any, Any]) -> None:
    """NotAcceptable when the client wants no JSON."""
    wanted = request.query_params.get("_format")
    if wanted is not None:
        offered = [wanted.replace(" ", "+")]
    else:
        offered = (request.headers.get("accept") or "*/*").split(",")
    if not any(part.split(";")[0].strip().lower() in _JSON_NAMES for part in offered):
        raise NotAcceptable("We answer in application/fhir+json only.")


def fhir_response(
    body: bytes, *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """These bytes as FHIR JSON."""
    return Response(body, status_code=status_code, media_type=FHIR_JSON, headers=headers or {})


def item_response(item: Rendered) -> Response[bytes]:
    """One item with the ETag of what this reader got."""
    headers = {"ETag": item.etag}
    if item.last_updated is not None:
        headers["Last-Modified"] = format_datetime(datetime.fromisoformat(item.last_updated), usegmt=True)
    return fhir_response(item.body, headers=headers)
