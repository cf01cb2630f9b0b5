"""A professional looks, and every answer that held something is kept to be compared with the log."""

from collections.abc import AsyncIterator
from typing import Any

import httpx

from server.commands.demo_steps.journey import (
    Disclosure,
    Holder,
    ItemName,
    Resource,
    must,
    name_of,
    next_link,
    resources_of,
)

PAGES_MAX = 50


async def look(holder: Holder, path: str, *, method: str = "GET", **options: Any) -> httpx.Response:
    """One call as the holder of a grant, remembered when it was answered."""
    response = await holder.client.call(method, path, **options)
    if response.status_code == 200:
        holder.seen.append(disclosure(path, response))
    return response


async def look_for(holder: Holder, path: str) -> dict[str, Any]:
    """The JSON of a call that must be answered."""
    response = await look(holder, path)
    must(response.status_code == 200, f"GET {path} was answered {response.status_code}")
    return response.json()


async def pages(holder: Holder, path: str) -> AsyncIterator[dict[str, Any]]:
    """A search, page by page."""
    following: str | None = path
    for _ in range(PAGES_MAX):
        if following is None:
            return
        page = await look_for(holder, following)
        yield page
        following = next_link(page)
    must(False, f"{path} goes on for more than {PAGES_MAX} pages")


async def found_by(holder: Holder, path: str) -> list[Resource]:
    """Everything a search finds, over all its pages."""
    found: list[Resource] = []
    async for page in pages(holder, path):
        found += resources_of(page)
    return found


def disclosure(path: str, response: httpx.Response) -> Disclosure:
    """What an answer disclosed, as the log should have it."""
    parts = path.partition("/fhir/")[2].partition("?")[0].split("/")
    if not response.content:
        # The answer to HEAD has no body; what it is about stands in its address.
        return Disclosure("read", frozenset({(parts[0], parts[1])}))
    body: dict[str, Any] = response.json()
    if body["resourceType"] != "Bundle":
        kind = "history" if "_history" in parts else "read"
        return Disclosure(kind, frozenset({name_of(body)}))
    kind = "history" if body["type"] == "history" else "search"
    return Disclosure(kind, frozenset(name_of(resource) for resource in resources_of(body)))


def path_of(item: ItemName) -> str:
    """Where an item is read."""
    return f"/fhir/{item[0]}/{item[1]}"
