"""Development only: the made-up providers over HTTP. Mounted in development alone."""

import html
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.types import ASGIApp, Receive, Scope, Send

from server.identity.development_provider import MOUNT_PATH, DemoPerson, DevelopmentProvider
from server.identity.signing_keys import jwks_document
from server.identity.tokens import TokenRefused

AnyRequest = Request[Any, Any, Any]
Providers = Mapping[str, DevelopmentProvider]

_NEEDED = ("client_id", "redirect_uri", "state", "nonce", "code_challenge")
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>These people are made up. Choose who to sign in as.</p><ul>{people}</ul></body>
</html>"""
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; form-action 'none'"}


def development_app(providers: Sequence[DevelopmentProvider]) -> ASGIApp:
    """The providers as one ASGI application, to be mounted at MOUNT_PATH or called with whole paths."""
    by_kind: Providers = {provider.kind: provider for provider in providers}
    app = Litestar(
        route_handlers=[configuration, choose_person, give_tokens, userinfo, keys],
        dependencies={"providers": Provide(lambda: by_kind, sync_to_thread=False)},
        exception_handlers={TokenRefused: _refused, KeyError: _refused},
        openapi_config=None,
        logging_config=None,
    )

    async def without_mount(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(MOUNT_PATH).rstrip("/")
        inner: Any = {**scope, "path": path, "raw_path": path.encode(), "state": {}}
        await app(inner, receive, send)

    return without_mount


@get("/{kind:str}/.well-known/openid-configuration", sync_to_thread=False)
def configuration(kind: FromPath[str], providers: NamedDependency[Providers]) -> dict[str, Any]:
    """The provider's OpenID configuration."""
    return providers[kind].configuration()


@get("/{kind:str}/authorize", sync_to_thread=False)
def choose_person(
    kind: FromPath[str], request: AnyRequest, providers: NamedDependency[Providers]
) -> Response[Any]:
    """Lists the people; with a `login_hint`, signs that person in at once."""
    provider, query = providers[kind], dict(request.query_params.multi_items())
    is_ours = query.get("client_id") == provider.provider().client_id and set(_NEEDED) <= query.keys()
    if not is_ours or query.get("code_challenge_method") != "S256":
        raise TokenRefused("The authorization request is not as expected.")
    if "login_hint" in query:
        person = provider.people[query["login_hint"]]
        answer = {"code": provider.code_for(person, query), "state": query["state"], "iss": provider.issuer}
        location = f"{query['redirect_uri']}?{urlencode(answer)}"
        return Response(None, status_code=302, headers={"Location": location})
    page = _PAGE.format(title=f"Development sign-in: {kind}", people=_lines(provider, query))
    return Response(page, media_type=MediaType.HTML, headers=_PAGE_HEADERS)


@post("/{kind:str}/token", status_code=200)
async def give_tokens(
    kind: FromPath[str], request: AnyRequest, providers: NamedDependency[Providers]
) -> dict[str, Any]:
    """Exchanges a code for an ID token and an access token."""
    form = dict(parse_qsl((await request.body()).decode()))
    return providers[kind].redeem(form)


@get("/{kind:str}/userinfo", sync_to_thread=False)
def userinfo(
    kind: FromPath[str], request: AnyRequest, providers: NamedDependency[Providers]
) -> dict[str, Any]:
    """What the provider says of the person an access token stands for."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    return providers[kind].userinfo(token)


@get("/{kind:str}/jwks", sync_to_thread=False)
def keys(kind: FromPath[str], providers: NamedDependency[Providers]) -> dict[str, Any]:
    """The keys the provider signs ID tokens with."""
    return jwks_document([providers[kind].key])


def _lines(provider: DevelopmentProvider, query: Mapping[str, str]) -> str:
    return "".join(_line(person, query) for person in provider.people.values())


def _line(person: DemoPerson, query: Mapping[str, str]) -> str:
    link = html.escape("?" + urlencode({**query, "login_hint": person.subject}))
    words = person.role or f"NHS login level {person.proofing_level}"
    return f'<li><a href="{link}">{html.escape(person.name)}</a> ({html.escape(words)})</li>'


def _refused(_: AnyRequest, error: Exception) -> Response[dict[str, str]]:
    content = {"error": "invalid_request", "error_description": str(error)}
    return Response(content, status_code=400)
