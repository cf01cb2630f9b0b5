"""The sign-in and token calls over HTTP (API.md), and what anyone may learn of them beforehand."""

from collections.abc import Mapping
from typing import Any

from litestar import MediaType, Request, Response, Router, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency, Provide

from server.errors import OAuthError
from server.http.access import Access, route_opt
from server.identity.documentation import (
    REFUSALS,
    AuthorizeOperation,
    CallbackOperation,
    IntrospectOperation,
    RevokeOperation,
    TokenOperation,
)
from server.identity.forms import read_form
from server.identity.principal import Principal
from server.identity.service import Identity
from server.identity.sign_in import (
    AUTHORIZE_PARAMETERS,
    CALLBACK_PARAMETERS,
    SIGN_IN_SECONDS_MAX,
    Redirect,
)
from server.identity.wire import Me, TokenAnswer

FORM_OPT = route_opt(Access.PUBLIC) | {"form": True}
NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

AnyRequest = Request[Any, Any, Any]


def identity_router(identity: Identity) -> Router:
    """Every route of this feature. `GET /me` needs the application's `principal` dependency."""
    return Router(
        path="/",
        route_handlers=[
            authorize,
            callback,
            give_token,
            revoke,
            introspect,
            authorization_server_metadata,
            smart_configuration,
            jwks,
            me,
        ],
        dependencies={"identity": Provide(lambda: identity, sync_to_thread=False)},
    )


@get(
    "/oauth/authorize",
    opt=route_opt(Access.PUBLIC, query=AUTHORIZE_PARAMETERS),
    status_code=302,
    operation_class=AuthorizeOperation,
    responses={400: REFUSALS[400]},
)
async def authorize(request: AnyRequest, identity: NamedDependency[Identity]) -> Response[None]:
    """Begins a sign-in (RFC 6749 section 4.1, PKCE with S256)."""
    redirect = await identity.sign_in.authorize(list(request.query_params.multi_items()))
    return _redirected(identity, redirect)


@get(
    "/oauth/callback",
    opt=route_opt(Access.PUBLIC, query=CALLBACK_PARAMETERS),
    status_code=302,
    operation_class=CallbackOperation,
    responses={400: REFUSALS[400]},
)
async def callback(request: AnyRequest, identity: NamedDependency[Identity]) -> Response[None]:
    """Where a sign-in provider sends the browser back to."""
    browser = request.cookies.get(_cookie_name(identity))
    redirect = await identity.sign_in.callback(list(request.query_params.multi_items()), browser)
    return _redirected(identity, redirect)


@post("/oauth/token", opt=FORM_OPT, status_code=200, operation_class=TokenOperation, responses=REFUSALS)
async def give_token(request: AnyRequest, identity: NamedDependency[Identity]) -> Response[Any]:
    """Gives a token bound to the key of the DPoP proof (RFC 6749 section 3.2, RFC 9449)."""
    form = await _form(request)
    answer: TokenAnswer | Mapping[str, Any] = await identity.tokens.answer(form, _proof(request))
    return _json(answer)


@post("/oauth/revoke", opt=FORM_OPT, status_code=200, operation_class=RevokeOperation, responses=REFUSALS)
async def revoke(request: AnyRequest, identity: NamedDependency[Identity]) -> Response[Any]:
    """Ends the sign-in a token came from (RFC 7009). The answer is the same for a token nobody knows."""
    await identity.token_state.revoke(await _form(request))
    return _json({})


@post(
    "/oauth/introspect",
    opt=FORM_OPT,
    status_code=200,
    operation_class=IntrospectOperation,
    responses=REFUSALS,
)
async def introspect(request: AnyRequest, identity: NamedDependency[Identity]) -> Response[Any]:
    """Whether a token lives, and what it says if so (RFC 7662)."""
    return _json(await identity.token_state.introspect(await _form(request), request.scope["headers"]))


@get("/.well-known/oauth-authorization-server", opt=route_opt(Access.PUBLIC), sync_to_thread=False)
def authorization_server_metadata(identity: NamedDependency[Identity]) -> dict[str, Any]:
    """What this authorization server can do (RFC 8414)."""
    return identity.metadata()


@get("/.well-known/smart-configuration", opt=route_opt(Access.PUBLIC), sync_to_thread=False)
def smart_configuration(identity: NamedDependency[Identity]) -> dict[str, Any]:
    """What this server can do, for SMART on FHIR applications."""
    return identity.smart()


@get("/.well-known/jwks.json", opt=route_opt(Access.PUBLIC), sync_to_thread=False)
def jwks(identity: NamedDependency[Identity]) -> dict[str, Any]:
    """The public keys that our tokens are signed with (RFC 7517)."""
    return identity.jwks()


@get("/me", opt=route_opt(Access.SIGNED_IN))
async def me(principal: NamedDependency[Principal], identity: NamedDependency[Identity]) -> Me:
    """Who is signed in, and the records they may open."""
    return await identity.me(principal)


async def _form(request: AnyRequest) -> Mapping[str, str]:
    return read_form(request.headers.get("content-type", ""), await request.body())


def _proof(request: AnyRequest) -> str | None:
    proofs = request.headers.getall("dpop", [])
    if len(proofs) > 1:
        raise OAuthError("invalid_dpop_proof", "Send one DPoP proof.")
    return proofs[0] if proofs else None


def _redirected(identity: Identity, redirect: Redirect) -> Response[None]:
    cookie = Cookie(
        key=_cookie_name(identity),
        value=redirect.browser or "",
        max_age=SIGN_IN_SECONDS_MAX if redirect.browser else 0,
        path="/",
        secure=_is_secure(identity),
        httponly=True,
        samesite="lax",
    )
    headers = {**NO_STORE, "Location": redirect.url}
    return Response(None, status_code=302, headers=headers, cookies=[cookie])


def _cookie_name(identity: Identity) -> str:
    return "__Host-held-sign-in" if _is_secure(identity) else "held-sign-in"


def _is_secure(identity: Identity) -> bool:
    return identity.parts.base_url.startswith("https:")


def _json(content: Any) -> Response[Any]:
    return Response(content, status_code=200, media_type=MediaType.JSON, headers=NO_STORE)
