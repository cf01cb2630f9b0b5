"""Turns every refusal into its status and shape: problem+json, OperationOutcome or an OAuth error.

Nothing else in the tree knows statuses. RFC 9457, FHIR R4 OperationOutcome, RFC 6749 section 5.2, RFC 9449.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import HTTPScope

from server import errors

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger("held.http")

STATUS: dict[type[errors.HeldError], int] = {
    errors.BadRequest: 400,
    errors.TooLarge: 413,
    errors.HeadersTooLarge: 431,
    errors.TooSlow: 408,
    errors.UnsupportedMedia: 415,
    errors.NotAcceptable: 406,
    errors.NotSignedIn: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.AccessEnded: 401,
    errors.CursorReset: 410,
    errors.HeadMoved: 412,
    errors.VersionMoved: 412,
    errors.NotOffered: 405,
    errors.UpgradeNeeded: 426,
    errors.Conflict: 409,
    errors.LimitReached: 429,
    errors.RuleBroken: 422,
    errors.Busy: 503,
    errors.OAuthError: 400,
    errors.HeldError: 500,
}
ISSUE_CODE = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    408: "timeout",
    409: "conflict",
    410: "not-found",
    412: "conflict",
    413: "too-long",
    415: "not-supported",
    422: "business-rule",
    426: "not-supported",
    429: "throttled",
    431: "too-long",
    500: "exception",
    503: "transient",
}
_NOTHING: Mapping[str, object] = {}
OAUTH_CODE = {500: "server_error", 503: "temporarily_unavailable"}
_OWN_WORDS = ("Expected ", "Object missing required field", "Invalid UUID", "Missing required ")
_FRAMEWORK_CODE = {
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


def held_error(request: Request[Any, Any, Any], error: errors.HeldError) -> Response[bytes]:
    """The answer to a refusal of ours."""
    status = status_of(error)
    body, media_type = shape(request.url.path, status, error)
    return Response(body, status_code=status, media_type=media_type, headers=headers_of(error))


def shape(path: str, status: int, error: errors.HeldError) -> tuple[bytes, str]:
    """The body of a refusal at this path, and its media type."""
    if isinstance(error, errors.OAuthError):
        return _oauth(error)
    extra = error.members | ({"pointer": error.pointer} if error.pointer else {})
    return _shaped(path, status, error.code, detail=error.detail, extra=extra)


def headers_of(error: errors.HeldError) -> dict[str, str]:
    """The headers that go with a refusal."""
    if isinstance(error, errors.NotOffered):
        return {"Allow": "GET, HEAD, OPTIONS"}
    if isinstance(error, errors.LimitReached | errors.Busy):
        return {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, errors.OverSyncLimits):
        return {"Sync-Limits": msgspec.json.encode(error.members.get("limits")).decode()}
    if not isinstance(error, errors.OAuthError) and status_of(error) == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": _challenge(error)}
    return {}


def framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """The answer to a refusal by the web framework: no such route, wrong method, wrong shape of body."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unexpected_error(request, error)
    status = error.status_code
    detail = _validation_detail(error) if isinstance(error, ValidationException) else _plain(status)
    response = _answer(request, status, _FRAMEWORK_CODE.get(status, "bad-request"), detail)
    if status == HTTPStatus.METHOD_NOT_ALLOWED and error.headers:
        response.headers.update({k: v for k, v in error.headers.items() if k.lower() == "allow"})
    return response


def unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The answer to a fault of ours. Its kind is logged, but not its text: that may quote a record."""
    _LOG.error(
        "unexpected_error",
        kind=type(error).__qualname__,
        route=route_template(request.scope),
        exc_info=False,
        where=_where(error),
    )
    return _answer(request, 500, "error", "Something went wrong on our side.")


def status_of(error: errors.HeldError) -> int:
    """The HTTP status of a refusal."""
    if isinstance(error, errors.OAuthError) and error.error == "invalid_client":
        return 401
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def route_template(scope: HTTPScope) -> str:
    """The route's pattern, never the path itself; "unknown" before there is a route."""
    return str(cast("dict[str, Any]", scope).get("path_template", "unknown"))


def _shaped(
    path: str, status: int, code: str, *, detail: str, extra: Mapping[str, object] = _NOTHING
) -> tuple[bytes, str]:
    if path == "/fhir" or path.startswith("/fhir/"):
        return _operation_outcome(status, code, detail, cast("str | None", extra.get("pointer")))
    if path.startswith("/oauth/"):
        error = OAUTH_CODE.get(status, "invalid_request")
        return _encoded({"error": error, "error_description": detail}, "application/json")
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
    }
    return _encoded({**problem, **extra}, "application/problem+json")


def _operation_outcome(status: int, code: str, detail: str, pointer: str | None) -> tuple[bytes, str]:
    issue: dict[str, Any] = {
        "severity": "error",
        "code": ISSUE_CODE.get(status, "processing"),
        "details": {"coding": [{"code": code}], "text": detail},
    }
    if pointer:
        issue["expression"] = [pointer]
    return _encoded({"resourceType": "OperationOutcome", "issue": [issue]}, "application/fhir+json")


def _oauth(error: errors.OAuthError) -> tuple[bytes, str]:
    content: dict[str, Any] = {"error": error.error}
    if error.detail:
        content["error_description"] = error.detail
    return _encoded(content | error.extra, "application/json")


def _challenge(error: errors.HeldError) -> str:
    kind = getattr(error, "error", "invalid_token")
    extra = ', max_age="300"' if kind == "insufficient_user_authentication" else ""
    return f'DPoP error="{kind}"{extra}, algs="ES256 EdDSA"'


def _answer(request: Request[Any, Any, Any], status: int, code: str, detail: str) -> Response[bytes]:
    body, media_type = _shaped(request.url.path, status, code, detail=detail)
    return Response(body, status_code=status, media_type=media_type)


def _encoded(content: dict[str, Any], media_type: str) -> tuple[bytes, str]:
    return msgspec.json.encode(content), media_type


def _plain(status: int) -> str:
    match status:
        case 404:
            return "There is nothing here that you can see."
        case 405:
            return "This address does not take that method."
        case 413:
            return "What you sent is larger than we take."
        case _:
            return "We could not read what you sent."


def _validation_detail(error: ValidationException) -> str:
    extra = cast("list[dict[str, Any]]", error.extra) if isinstance(error.extra, list) else []
    if extra:
        first = extra[0]
        message = str(first.get("message", ""))
        # Only messages in the words of our own models: the others quote what was sent.
        told = message if message.startswith(_OWN_WORDS) else "is not as expected"
        if message.startswith("Object contains unknown field"):
            told = "has a property we do not know"
        return f"{first.get('key', 'the body')}: {told}"[:300]
    return "The body is not as expected."


def _where(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{traceback.tb_frame.f_globals.get('__name__')}:{traceback.tb_lineno}"
