"""How sync calls look in the OpenAPI document: their bodies are read by hand, so they are told by hand."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

from sync.messages import FETCH_ITEMS_MAX, MEDIA_TYPE, MUTATIONS_PER_PUSH_MAX

_TEXT = Schema(type=OpenAPIType.STRING)
_OBJECT = Schema(type=OpenAPIType.OBJECT)
_UUID = Schema(type=OpenAPIType.STRING, pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_REGISTRATION = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "key": Schema(type=OpenAPIType.OBJECT, description="The public JWK that the token is bound to."),
        "name": Schema(type=OpenAPIType.STRING, max_length=100),
        "platform": Schema(type=OpenAPIType.STRING, max_length=60),
        "appVersion": Schema(type=OpenAPIType.STRING, max_length=60),
        "schemaVersion": Schema(type=OpenAPIType.INTEGER),
    },
    required=["key"],
)
_MUTATION = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "mid": _UUID,
        "op": Schema(type=OpenAPIType.STRING, enum=["create", "patch", "replace", "delete", "command"]),
        "type": _TEXT,
        "id": _TEXT,
        "base": Schema(type=OpenAPIType.OBJECT, properties={"version": Schema(type=OpenAPIType.INTEGER)}),
        "after": _UUID,
        "txn": _TEXT,
        "body": _OBJECT,
        "patch": _OBJECT,
        "args": _OBJECT,
    },
    required=["mid", "op", "type", "id"],
)
_PUSH = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "deviceId": _UUID,
        "since": _TEXT,
        "mutations": Schema(type=OpenAPIType.ARRAY, items=_MUTATION, max_items=MUTATIONS_PER_PUSH_MAX),
    },
    required=["deviceId", "mutations"],
)
_PAIR = Schema(type=OpenAPIType.ARRAY, items=_TEXT, min_items=2, max_items=2)
_FETCH = Schema(
    type=OpenAPIType.OBJECT,
    properties={"items": Schema(type=OpenAPIType.ARRAY, items=_PAIR, max_items=FETCH_ITEMS_MAX)},
    required=["items"],
)


def _body(schema: Schema) -> RequestBody:
    return RequestBody(content={MEDIA_TYPE: OpenAPIMediaType(schema=schema)}, required=True)


@dataclass
class RegisterOperation(Operation):
    """POST /sync/v1/records/{record_id}/devices."""

    def __post_init__(self) -> None:
        self.request_body = _body(_REGISTRATION)


@dataclass
class PushOperation(Operation):
    """POST /sync/v1/records/{record_id}/mutations."""

    def __post_init__(self) -> None:
        self.request_body = _body(_PUSH)


@dataclass
class FetchOperation(Operation):
    """POST /sync/v1/records/{record_id}/fetch."""

    def __post_init__(self) -> None:
        self.request_body = _body(_FETCH)
