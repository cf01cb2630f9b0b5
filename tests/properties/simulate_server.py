"""The simulator's server: the real services behind calls that carry bytes, without the web framework."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.audit import service as audit
from server.audit.signer import LogSigner
from server.audit.wire import log_answer
from server.corrections.service import Corrections
from server.devices_sync.command_book import command_book
from server.devices_sync.pulls import Asked, Unchanged
from server.devices_sync.service import DevicesSync
from server.errors import HeldError
from server.http.outcomes import shape, status_of
from server.identity.principal import Principal
from server.identity.signing_keys import SigningKey, new_signing_key
from server.records.service import Records, patient_id_of
from server.sharing.authorise import authorise_owner
from server.sharing.receipts import ReceiptSigner
from server.sharing.service import Sharing
from sync.messages import PAGE_ROWS_MAX, Fetch, Push, Registration
from sync.ports import Answer
from tests.properties.simulate_storage import FrailStorage

BASE_URL = "https://held.test"


class Keys(NamedTuple):
    """The installation's keys, made once for a run: making one takes longer than a seed."""

    tokens: SigningKey
    log: Ed25519PrivateKey

    @classmethod
    def make(cls) -> "Keys":
        """New keys."""
        return cls(new_signing_key(), Ed25519PrivateKey.generate())


class Request(NamedTuple):
    """A call as it arrives."""

    principal: Principal
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class SimulatedServer:
    """One process of the server. What it keeps in memory alone is lost when another is started."""

    def __init__(
        self, storage: FrailStorage, keys: Keys, record_id: UUID, *, page_rows: int = PAGE_ROWS_MAX
    ) -> None:
        self._storage = storage
        self._record_id = record_id
        self._page_rows = page_rows
        self._log_signer = LogSigner("held.test/log", keys.log)
        self.records = Records(storage)
        self.sharing = Sharing(storage, ReceiptSigner(BASE_URL, keys.tokens), patient_id_of)
        book = command_book(self.sharing, Corrections(storage), base_url=BASE_URL)
        self.sync = DevicesSync(storage, self._log_signer, book)

    async def answer(self, request: Request) -> Answer:
        """What the routes would answer: everything is read from bytes, and written to bytes again."""
        try:
            return await self._answer(request)
        except HeldError as refused:
            status = status_of(refused)
            body, media_type = shape(request.path, status, refused)
            return Answer(status=status, headers={"content-type": media_type}, body=body)

    async def _answer(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = dict(parse_qsl(parts.query))
        name = parts.path.removeprefix(f"/sync/v1/records/{self._record_id}/")
        if (request.method, name) == ("POST", "devices/self/wiped"):
            await self.sync.confirm_wiped(self._record_id, request.principal.jkt)
            return Answer(status=204)
        authority = await authorise_owner(self._storage, request.principal, self._record_id)
        if parts.path == f"/records/{self._record_id}/log":
            page = await audit.entries(self._storage, self._record_id, int(query.get("after", 0)), 50)
            signed = await audit.checkpoint(self._storage, self._record_id, self._log_signer)
            return _answered(log_answer(page, signed, self._log_signer))
        calls: dict[tuple[str, str], Callable[[], Awaitable[Any]]] = {
            ("POST", "devices"): lambda: self.sync.register(
                authority, msgspec.json.decode(request.body, type=Registration)
            ),
            ("GET", "changes"): lambda: self.sync.changes(authority, self._asked(query, request.headers)),
            ("GET", "snapshot"): lambda: self.sync.snapshot(authority),
            ("POST", "mutations"): lambda: self.sync.push(
                authority, msgspec.json.decode(request.body, type=Push)
            ),
            ("GET", "digest"): lambda: self.sync.digest(
                authority,
                query.get("at", ""),
                query.get("prefix", ""),
                int(query["depth"]) if "depth" in query else None,
            ),
            ("POST", "fetch"): lambda: self.sync.fetch(
                authority, msgspec.json.decode(request.body, type=Fetch)
            ),
        }
        if name.startswith("segments/"):
            lines = await self.sync.segment(authority, name.removeprefix("segments/"))
            return Answer(status=200, body=b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        found = await calls[request.method, name]()
        if isinstance(found, Unchanged):
            return Answer(status=304, headers={"etag": f'"{found.cursor}"'})
        return _answered(found, status=201 if name == "devices" else 200)

    def _asked(self, query: Mapping[str, str], headers: Mapping[str, str]) -> Asked:
        known = {name.lower(): value for name, value in headers.items()}
        return Asked(
            since=query.get("since"),
            rows_max=int(query.get("limit", self._page_rows)),
            known=known["if-none-match"].strip('"') if "if-none-match" in known else None,
            log_size=int(known["sync-log"]) if "sync-log" in known else None,
            digest=known.get("sync-digest"),
        )


def _answered(found: Any, *, status: int = 200) -> Answer:
    headers = {"content-type": "application/vnd.held.sync+json;v=1"}
    return Answer(status=status, headers=headers, body=msgspec.json.encode(found))


def _depth(text: str | None) -> int | None:
    return None if text is None else int(text)
