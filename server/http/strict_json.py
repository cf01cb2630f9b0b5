"""Reads JSON bodies by the rules of THREATS section 2, rule 12, before any model sees them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from litestar import Request
from litestar.exceptions import ClientException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from fhir_profiles.parse import JsonRefused, check_json
from server.errors import BadRequest, BodyRefused, HeldError, TooLarge, UnsupportedMedia

BODY_BYTES_MAX = 64 * 1024
"""The application's `request_max_body_size`: reading stops there, whatever length was announced."""
JSON_TYPES = ("application/json", "application/fhir+json")


class BodyRule(NamedTuple):
    """What a route takes instead of the common limit and types; `refuse` makes what a larger body gets."""

    bytes_max: int
    refuse: Callable[[], HeldError]
    types: tuple[str, ...] = JSON_TYPES


def _too_large() -> HeldError:
    return TooLarge(f"We take at most {BODY_BYTES_MAX} bytes here.")


_COMMON_RULE = BodyRule(BODY_BYTES_MAX, _too_large)


async def check_json_body(request: Request[Any, Any, Any]) -> None:
    """Refuses a JSON body that is too large, encoded, or breaks a reading rule. Streaming routes opt out."""
    handler = request.route_handler
    if request.method not in {"POST", "PUT", "PATCH"} or handler.opt.get("streams"):
        return
    if request.headers.get("content-encoding"):
        raise UnsupportedMedia("We do not take compressed bodies.")
    is_form = bool(handler.opt.get("form"))
    rule: BodyRule = handler.opt.get("body_rule", _COMMON_RULE)
    if not is_form:
        _require_json_type(request, rule)
    body = await _whole(request, rule)
    if is_form:
        return
    try:
        check_json(body)
    except JsonRefused as refused:
        raise BodyRefused(refused.detail, pointer=refused.pointer) from refused


async def _whole(request: Request[Any, Any, Any], rule: BodyRule) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise BadRequest("The Content-Length is not a number.")
    if len(declared) > len(str(BODY_BYTES_MAX)) + 10:
        raise rule.refuse()
    try:
        return await request.body()
    except RequestEntityTooLarge:
        raise rule.refuse() from None
    except ClientException:
        raise BadRequest("The body cannot be read.") from None


def _require_json_type(request: Request[Any, Any, Any], rule: BodyRule) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in rule.types:
        raise UnsupportedMedia(f"Send {rule.types[0]}.")
