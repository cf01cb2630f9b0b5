"""The form of sync calls on the wire: media type and its version, limits of bodies, compressed answers."""

import asyncio
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response

from server.devices_sync.limits import over_limits
from server.errors import BodyRefused, UpgradeNeeded
from server.http.compressing import COMPRESSED_BYTES_MIN, LARGE_BYTES_MIN, compressed, encoding_for
from server.http.strict_json import BODY_BYTES_MAX, BodyRule
from sync.messages import MEDIA_TYPE, PUSH_BYTES_MAX

AnyRequest = Request[Any, Any, Any]
Message = TypeVar("Message")

_TYPE, _, _VERSION = MEDIA_TYPE.partition(";v=")


_TYPES = (_TYPE, "application/json")
SMALL_BODY = {"body_rule": BodyRule(BODY_BYTES_MAX, over_limits, _TYPES)}
PUSH_BODY = {"body_rule": BodyRule(PUSH_BYTES_MAX, over_limits, _TYPES)}


async def read_message(request: AnyRequest, kind: type[Message]) -> Message:
    """The body as a message. BodyRefused when it is none, UpgradeNeeded when it is of a version we left."""
    require_version(request.headers.get("content-type", ""))
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.DecodeError:
        raise BodyRefused("The body is not the message that belongs here.") from None


def require_version(media_type: str) -> None:
    """UpgradeNeeded when versions of the protocol are named and ours is not among them."""
    named: list[str] = []
    for part in media_type.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        if kind == _TYPE:
            named += [each.removeprefix("v=") for each in parameters if each.startswith("v=")]
    if named and _VERSION not in named:
        raise UpgradeNeeded


async def answer(
    request: AnyRequest, message: Any, *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """A message as JSON, compressed when that is worth it."""
    return await answer_bytes(request, msgspec.json.encode(message), status_code=status_code, headers=headers)


async def answer_bytes(
    request: AnyRequest, body: bytes, *, status_code: int = 200, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """These bytes of the protocol's media type, compressed when that is worth it."""
    given = dict(headers or {})
    encoding = encoding_for(request.headers.get("accept-encoding", ""))
    if encoding is not None and len(body) >= COMPRESSED_BYTES_MIN:
        # A large answer takes long enough that others should not wait for it.
        if len(body) >= LARGE_BYTES_MIN:
            body = await asyncio.to_thread(compressed, body, encoding)
        else:
            body = compressed(body, encoding)
        given["Content-Encoding"] = encoding
    return Response(body, status_code=status_code, media_type=MEDIA_TYPE, headers=given)
