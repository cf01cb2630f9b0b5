"""Who may call each route. A route without an access class stops the start (THREATS rule 3)."""

from collections.abc import Iterable, MutableMapping
from enum import Enum
from typing import Any, cast

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from server.errors import Forbidden, NotFound, NotSignedIn, UnknownParameter
from server.http.places import PER_INTEGRATOR_MAX, visit_of
from server.identity.principal import Principal


class Access(Enum):
    """The access classes.

    `OWNER` and `READER` also have their record or grant judged by `authorise`; `TASKS` takes readers, and
    integrators for what they are asked to correct.
    """

    PUBLIC = "public"
    SIGNED_IN = "signed-in"
    CITIZEN = "citizen"
    OWNER = "owner"
    READER = "reader"
    TASKS = "reader-or-integrator"
    PROFESSIONAL = "professional"
    INTEGRATOR = "integrator"


ANY_QUERY = ("*",)
"""For routes that judge their own parameters, each unknown one refused there (FHIR search, OAuth)."""


def route_opt(access: Access, *, query: Iterable[str] = ()) -> dict[str, Any]:
    """The `opt` of a handler: its access class and the query parameters it takes."""
    return {"access": access, "query": frozenset(query)}


class UnclassifiedRoute(RuntimeError):
    """A route has no access class."""


def require_access_classes(app: Litestar) -> None:
    """Raises UnclassifiedRoute when any route, automatic ones included, says nothing of who may call it."""
    for route in app.routes:
        for handler in route_handlers(route):
            if not isinstance(handler.opt.get("access"), Access):
                message = f"{route.path} ({handler.handler_name}) has no access class"
                raise UnclassifiedRoute(message)


def route_handlers(route: Any) -> list[BaseRouteHandler]:
    """The handlers behind one route, each once."""
    handlers = getattr(route, "route_handlers", None) or [route.route_handler]
    return list({id(handler): handler for handler in handlers}.values())


async def access_guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuses unknown parameters and anyone outside the route's access class."""
    access: Access = handler.opt["access"]
    principal = None
    if access is not Access.PUBLIC:
        principal = await connection.app.state.authenticate(connection)
        connection.scope["state"]["principal"] = principal
        _take_place(connection, principal)
        _judge(access, principal)
    refuse_unknown_parameters(connection, handler.opt["query"])


def caller(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Who sent the request, as the guard found."""
    return connection.scope["state"]["principal"]


def _take_place(connection: ASGIConnection[Any, Any, Any, Any], principal: Principal) -> None:
    """An integrator may hold several tokens, so that it is counted here, once we know who it is."""
    visit = visit_of(cast("MutableMapping[str, Any]", connection.scope))
    if visit is not None and principal.kind == "integrator":
        visit.enter(f"integrator {principal.client_id}", PER_INTEGRATOR_MAX)


def refuse_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], known: frozenset[str]) -> None:
    """UnknownParameter for the first query parameter the route does not list, or lists but got twice."""
    if "*" in known:
        return
    seen: set[str] = set()
    for name, _ in connection.query_params.multi_items():
        if name not in known or name in seen:
            raise UnknownParameter(f"We do not take the parameter '{name[:64]}' here.")
        seen.add(name)


_KIND_OF = {Access.CITIZEN: "citizen", Access.PROFESSIONAL: "professional", Access.INTEGRATOR: "integrator"}


def _judge(access: Access, principal: Principal) -> None:
    match access:
        case Access.OWNER:
            if principal.kind != "citizen" or principal.record_id is None:
                raise NotFound
        case Access.READER | Access.TASKS:
            is_integrator = access is Access.TASKS and principal.kind == "integrator"
            if principal.record_id is None and not is_integrator:
                raise NotSignedIn("This token is not for a record.")
        case Access.PROFESSIONAL if principal.grant_id is not None:
            # Such a token is for one record, and a person's own notices are of many.
            raise Forbidden
        case Access.CITIZEN | Access.PROFESSIONAL | Access.INTEGRATOR:
            if principal.kind != _KIND_OF[access]:
                raise Forbidden
        case Access.SIGNED_IN | Access.PUBLIC:
            pass


def classify_automatic_options(app: Litestar) -> None:
    """The OPTIONS routes that the framework adds by itself only list methods: anyone may call them."""
    for route in app.routes:
        for handler in route_handlers(route):
            if getattr(handler, "http_methods", None) == {"OPTIONS"} and "access" not in handler.opt:
                handler.opt.update(route_opt(Access.PUBLIC))
