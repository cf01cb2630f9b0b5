"""How the sign-in calls look in the OpenAPI document: their parameters, their form fields, their refusals."""

from dataclasses import dataclass

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
)

from server.identity.forms import FORM_TYPE
from server.identity.sign_in import AUTHORIZE_PARAMETERS, CALLBACK_PARAMETERS

_ASSERTION = ("client_id", "client_assertion", "client_assertion_type")
_TOKEN_FIELDS = (
    "grant_type",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "resource",
    "scope",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "operation_id",
    *_ASSERTION,
)


class OAuthRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 6749 section 5.2."""

    error: str
    error_description: str = ""


REFUSALS: dict[int, ResponseSpec] = {
    400: ResponseSpec(data_container=OAuthRefusal, description="The request was refused; `error` says why."),
    401: ResponseSpec(data_container=OAuthRefusal, description="The client is not known (invalid_client)."),
}


@dataclass
class AuthorizeOperation(Operation):
    """GET /oauth/authorize."""

    def __post_init__(self) -> None:
        required = ("response_type", "client_id", "redirect_uri", "code_challenge", "code_challenge_method")
        self.parameters = [_query(name, is_required=name in required) for name in AUTHORIZE_PARAMETERS]


@dataclass
class CallbackOperation(Operation):
    """GET /oauth/callback."""

    def __post_init__(self) -> None:
        self.parameters = [_query(name, is_required=name == "state") for name in CALLBACK_PARAMETERS]


@dataclass
class TokenOperation(Operation):
    """POST /oauth/token."""

    def __post_init__(self) -> None:
        self.request_body = _form(_TOKEN_FIELDS, required="grant_type")
        self.parameters = [*(self.parameters or []), _proof(is_required=True)]


@dataclass
class RevokeOperation(Operation):
    """POST /oauth/revoke."""

    def __post_init__(self) -> None:
        self.request_body = _form(("token", "token_type_hint", *_ASSERTION), required="token")


@dataclass
class IntrospectOperation(Operation):
    """POST /oauth/introspect."""

    def __post_init__(self) -> None:
        self.request_body = _form(("token", "token_type_hint", *_ASSERTION), required="token")
        self.parameters = [*(self.parameters or []), _proof(is_required=False)]


def _query(name: str, *, is_required: bool) -> Parameter:
    return Parameter(
        name=name, param_in="query", required=is_required, schema=Schema(type=OpenAPIType.STRING)
    )


def _form(fields: tuple[str, ...], *, required: str) -> RequestBody:
    schema = Schema(
        type=OpenAPIType.OBJECT,
        properties={name: Schema(type=OpenAPIType.STRING) for name in fields},
        required=[required],
    )
    return RequestBody(content={FORM_TYPE: OpenAPIMediaType(schema=schema)}, required=True)


def _proof(*, is_required: bool) -> Parameter:
    return Parameter(
        name="DPoP",
        param_in="header",
        required=is_required,
        description="A proof of possession (RFC 9449).",
        schema=Schema(type=OpenAPIType.STRING),
    )
