"""Search and history answers, written around stored bytes without parsing them.

https://hl7.org/fhir/R4/bundle.html
"""

from collections.abc import Sequence
from uuid import uuid4

import msgspec

from server.records.view import Rendered

_JOIN = b","


def searchset(
    base_url: str, links: Sequence[tuple[str, str]], matches: Sequence[Rendered], others: Sequence[Rendered]
) -> bytes:
    """A `searchset` Bundle. It never has a total: a count would tell of what is hidden."""
    entries = [entry_of(base_url, item, b"match") for item in matches]
    entries += [entry_of(base_url, item, b"include") for item in others]
    return _bundle(b"searchset", links, entries)


def history(base_url: str, links: Sequence[tuple[str, str]], versions: Sequence[Rendered]) -> bytes:
    """A `history` Bundle, newest first. Items of a record are only ever put, so each entry is a PUT."""
    return _bundle(b"history", links, [_history_entry(base_url, item) for item in versions])


def _bundle(kind: bytes, links: Sequence[tuple[str, str]], entries: Sequence[bytes]) -> bytes:
    link = msgspec.json.encode([{"relation": relation, "url": url} for relation, url in links])
    parts = [
        b'{"resourceType":"Bundle","id":"',
        str(uuid4()).encode(),
        b'","type":"',
        kind,
        b'","link":',
        link,
    ]
    if entries:
        parts += [b',"entry":[', _JOIN.join(entries), b"]"]
    return b"".join([*parts, b"}"])


def entry_of(base_url: str, item: Rendered, mode: bytes) -> bytes:
    """One entry of a searchset."""
    return b'{"fullUrl":"%s","resource":%s,"search":{"mode":"%s"}}' % (
        _full_url(base_url, item),
        item.body,
        mode,
    )


def _history_entry(base_url: str, item: Rendered) -> bytes:
    resource_type, logical_id = item.name
    response = {"status": "200", "etag": item.etag}
    if item.last_updated is not None:
        response["lastModified"] = item.last_updated
    request = {"method": "PUT", "url": f"{resource_type}/{logical_id}"}
    return b'{"fullUrl":"%s","resource":%s,"request":%s,"response":%s}' % (
        _full_url(base_url, item),
        item.body,
        msgspec.json.encode(request),
        msgspec.json.encode(response),
    )


def _full_url(base_url: str, item: Rendered) -> bytes:
    return f"{base_url}/fhir/{item.name[0]}/{item.name[1]}".encode()
