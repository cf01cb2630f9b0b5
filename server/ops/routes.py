"""Is the service up, can it work, and how busy is it. Nothing here tells of any person."""

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from server.http.access import Access, route_opt
from server.storage.engine import Storage


@get("/health", opt=route_opt(Access.PUBLIC), operation_id="health")
async def health() -> dict[str, str]:
    """Answers while the process runs."""
    return {"status": "up"}


@get("/ready", opt=route_opt(Access.PUBLIC), operation_id="ready")
async def ready(storage: NamedDependency[Storage]) -> dict[str, str]:
    """Answers 200 when the database can be read, 503 otherwise."""
    await storage.look_up(lambda session: session.now)
    return {"status": "ready"}


@get("/metrics", opt=route_opt(Access.PUBLIC), operation_id="metrics")
async def metrics() -> Response[bytes]:
    """Counts for Prometheus: requests by route pattern and status."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


OPS_ROUTES = [health, ready, metrics]
