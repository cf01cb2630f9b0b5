"""Reads JSON bodies by the rules of THREATS section 2, rule 12, before any model sees them."""

from typing import Any

from litestar import Request

from fhir_profiles.parse import JsonRefused, check_json
from server.errors import BodyRefused, TooLarge, UnsupportedMedia

BODY_BYTES_MAX = 64 * 1024
JSON_TYPES = ("application/json", "application/fhir+json")


async def check_json_body(request: Request[Any, Any, Any]) -> None:
    """Refuses a JSON body that is too large, encoded, or breaks a reading rule. Streaming routes opt out."""
    handler = request.route_handler
    if request.method not in {"POST", "PUT", "PATCH"} or handler.opt.get("streams"):
        return
    if request.headers.get("content-encoding"):
        raise UnsupportedMedia("We do not take compressed bodies.")
    limit = int(handler.opt.get("body_bytes_max", BODY_BYTES_MAX))
    declared = request.headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > limit:
        raise TooLarge(f"We take at most {limit} bytes here.")
    body = await request.body()
    if len(body) > limit:
        raise TooLarge(f"We take at most {limit} bytes here.")
    if not _wants_json(request):
        return
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in JSON_TYPES:
        raise UnsupportedMedia("Send application/json.")
    try:
        check_json(body)
    except JsonRefused as refused:
        raise BodyRefused(refused.detail, pointer=refused.pointer) from refused


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    return not request.route_handler.opt.get("form")
