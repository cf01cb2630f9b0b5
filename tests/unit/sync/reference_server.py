"""A server of the phone protocol in memory, plain and slow: the engine runs against it without HTTP or SQL.

It keeps every rule of SYNC that a phone can see. The real server has tests of its own, and the simulator runs
the engine against it.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sync.digest import Digest, bucket_of, entry_hash
from sync.log_verifier import first_root, leaf_of, next_root
from sync.merge import merge
from sync.messages import (
    Change,
    Clash,
    DigestAnswer,
    Fetch,
    Limits,
    Mutation,
    Page,
    Push,
    Pushed,
    Registered,
    Result,
    Segment,
    Snapshot,
)
from sync.ports import Answer
from sync.signed_note import Checkpoint, NoteKey, sign_checkpoint
from sync.values import apply_patch, read_json, write_json

RECORD = "11111111-1111-4111-8111-111111111111"
KEY = b"k" * 32
NAME = "held.example/log"
LOG_ID = b"l" * 32
WRITABLE = {"Observation", "DocumentReference"}


@dataclass
class Stored:
    """One row of the feed."""

    seq: int
    change: Change


@dataclass
class LogRow:
    n: int
    sealed: bytes
    leaf: bytes
    root: bytes


@dataclass
class Server:
    """One record. Tests write to it with `put` and `gone`, phones through `answer`."""

    epoch: int = 7
    head: int = 0
    floor: int = 0
    rows: dict[tuple[str, str], Stored] = field(default_factory=dict)
    history: dict[tuple[str, str, int], bytes] = field(default_factory=dict)
    outcomes: dict[str, tuple[int, str, Result]] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    devices: dict[str, str] = field(default_factory=dict)
    log: list[LogRow] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    page_rows: int = 500
    segment_seqs: int = 2_048
    signed_at: str = "2026-11-22T14:00:00.000Z"
    requests: list[str] = field(default_factory=list)
    log_key: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    )

    # What others write.

    def put(
        self,
        resource_type: str,
        logical_id: str,
        body: bytes,
        *,
        by: str = "B81001",
        batch: str | None = None,
    ) -> int:
        """A new version of an item; its number."""
        old = self.rows.get((resource_type, logical_id))
        version = old.change.version + 1 if old else 1
        self.head += 1
        change = Change(
            op="put",
            type=resource_type,
            id=logical_id,
            version=version,
            by=by,
            batch=batch,
            body=msgspec.Raw(body),
        )
        self.rows[resource_type, logical_id] = Stored(self.head, change)
        self.history[resource_type, logical_id, version] = body
        return version

    def gone(self, resource_type: str, logical_id: str) -> int:
        """The item is deleted, withheld or erased."""
        version = self.rows[resource_type, logical_id].change.version + 1
        self.head += 1
        change = Change(op="gone", type=resource_type, id=logical_id, version=version)
        self.rows[resource_type, logical_id] = Stored(self.head, change)
        return version

    def log_entry(self, text: str) -> None:
        """Somebody looked."""
        sealed = text.encode()
        leaf = leaf_of(sealed)
        root = next_root(self.log[-1].root if self.log else first_root(LOG_ID), leaf)
        self.log.append(LogRow(len(self.log) + 1, sealed, leaf, root))

    def live(self) -> dict[tuple[str, str], tuple[int, bytes]]:
        """(version, body) of every live item."""
        return {
            item: (row.change.version, bytes(row.change.body))
            for item, row in self.rows.items()
            if row.change.op == "put"
        }

    def digest(self) -> Digest:
        digest = Digest()
        for (kind, logical_id), (version, body) in self.live().items():
            entry = entry_hash(KEY, kind, logical_id, version=version, body=body)
            digest.add(bucket_of(KEY, kind, logical_id), entry)
        return digest

    def root(self) -> str:
        return self.digest().root(KEY).hex()

    # What a phone asks.

    def answer(
        self, device: str, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        """The answer to one request of the phone that holds the key `device`."""
        parts = urlsplit(path)
        self.requests.append(f"{method} {parts.path.rpartition(RECORD)[2]}")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == f"/records/{RECORD}/log/checkpoint":
            return _json({"note": self.note()})
        if parts.path == f"/records/{RECORD}/log":
            return _json(self._log_page(int(query["after"]), int(query["limit"])))
        name = parts.path.removeprefix(f"/sync/v1/records/{RECORD}/")
        state = self.devices.get(device)
        if name == "devices":
            self.devices.setdefault(device, "live")
            return _json(self._registered(device))
        if name == "devices/self/wiped":
            self.devices[device] = "wiped"
            return _json({})
        if state != "live":
            return problem(403, "wipe" if state == "ended" else "device-unknown")
        return (
            self._read(device, name, query, headers)
            if method == "GET"
            else self._sent(device, name, body or b"")
        )

    def _read(self, device: str, name: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        match name.split("/"):
            case ["snapshot"]:
                return _json(self._snapshot(device))
            case ["segments", segment] if segment.startswith(f"{self.epoch}-"):
                return Answer(status=200, body=self._segment(segment))
            case ["changes"]:
                return self._changes(device, query.get("since"), headers)
            case ["digest"]:
                return self._digest(device, query)
            case _:
                return problem(410, "reset")

    def _sent(self, device: str, name: str, body: bytes) -> Answer:
        if name == "fetch":
            return _json(self._fetch(device, msgspec.json.decode(body, type=Fetch)))
        assert name == "mutations"
        return self._push(device, msgspec.json.decode(body, type=Push), len(body))

    def cursor(self, device: str, seq: int) -> str:
        return base64.urlsafe_b64encode(f"{device}|{self.epoch}|{seq}".encode()).decode()

    def seq_of(self, device: str, cursor: str) -> int | None:
        """The number in a cursor, None when it leads to a reset."""
        owner, epoch, seq = base64.urlsafe_b64decode(cursor).decode().split("|")
        is_ours = owner == device and int(epoch) == self.epoch and self.floor <= int(seq) <= self.head
        return int(seq) if is_ours else None

    def note(self) -> str:
        root = self.log[-1].root if self.log else first_root(LOG_ID)
        extensions = (f"at {self.signed_at}",)
        origin = f"{NAME}/{LOG_ID.hex()}"
        checkpoint = Checkpoint(origin=origin, size=len(self.log), root=root, extensions=extensions)
        return sign_checkpoint(checkpoint, NAME, self.log_key)

    def _registered(self, device: str) -> Registered:
        key = base64.urlsafe_b64encode(KEY).decode().rstrip("=")
        return Registered(device_id=device, epoch=str(self.epoch), limits=self.limits, digest_key=key)

    def _snapshot(self, device: str) -> Snapshot:
        starts = range(0, self.head, self.segment_seqs)
        segments = tuple(
            Segment(hash=f"{self.epoch}-{start}", from_=start, to=start + self.segment_seqs, count=0)
            for start in starts
        )
        count = len(self.live())
        return Snapshot(
            epoch=str(self.epoch), cursor=self.cursor(device, self.head), count=count, segments=segments
        )

    def _segment(self, name: str) -> bytes:
        start = int(name.split("-")[1])
        rows = self._feed(start, start + self.segment_seqs)
        return b"".join(msgspec.json.encode(row.change) + b"\n" for row in rows if row.change.op == "put")

    def _feed(self, after: int, upto: int | None = None) -> list[Stored]:
        rows = [row for row in self.rows.values() if after < row.seq <= (self.head if upto is None else upto)]
        return sorted(rows, key=lambda row: row.seq)

    def _changes(self, device: str, since: str | None, headers: Mapping[str, str]) -> Answer:
        seq = 0 if since is None else self.seq_of(device, since)
        if seq is None:
            return problem(410, "reset")
        said = headers.get("sync-digest", "")
        is_same = said == f"{since}:{self.root()}"
        at_head = headers.get("if-none-match") == f'"{since}"' and seq == self.head
        if at_head and is_same and headers.get("sync-log") == str(len(self.log)):
            return Answer(status=304)
        return _json(self._page(device, seq, repair=bool(said) and seq == self.head and not is_same))

    def _page(self, device: str, seq: int, *, repair: bool = False) -> Page:
        rows = self._feed(seq)
        shown = rows[: self.page_rows]
        more = len(rows) > len(shown)
        end = shown[-1].seq if more else self.head
        return Page(
            cursor=self.cursor(device, end),
            more=more,
            acked=tuple(
                mid for mid, (at, who, _) in self.outcomes.items() if who == device and seq < at <= end
            ),
            changes=tuple(row.change for row in shown),
            checkpoint=self.note(),
            digest=None if more else self.root(),
            repair=repair,
        )

    def _digest(self, device: str, query: Mapping[str, str]) -> Answer:
        if self.seq_of(device, query["at"]) != self.head:
            return problem(412, "moved")
        prefix = query["prefix"]
        if "depth" in query:
            children = self.digest().children(KEY, prefix, int(query["depth"]))
            return _json(DigestAnswer(at=query["at"], prefix=prefix, children=children))
        leaves = tuple(
            (kind, name, version, entry_hash(KEY, kind, name, version=version, body=body).hex()[:32])
            for (kind, name), (version, body) in self.live().items()
            if bucket_of(KEY, kind, name) == int(prefix, 16)
        )
        return _json(DigestAnswer(at=query["at"], prefix=prefix, leaves=leaves))

    def _fetch(self, device: str, fetch: Fetch) -> Page:
        rows = [self.rows[item] for item in fetch.items if item in self.rows]
        return Page(cursor=self.cursor(device, self.head), changes=tuple(row.change for row in rows))

    def _log_page(self, after: int, limit: int) -> dict[str, Any]:
        rows = self.log[after : after + limit]
        key = NoteKey(NAME, self.log_key.public_key()).to_text()
        return {
            "entries": [
                {
                    "n": row.n,
                    "sentence": row.sealed.decode(),
                    "sealed": base64.urlsafe_b64encode(row.sealed).decode().rstrip("="),
                    "hash": base64.b64encode(row.leaf).decode(),
                    "root": base64.b64encode(row.root).decode(),
                }
                for row in rows
            ],
            "more": after + len(rows) < len(self.log),
            "checkpoint": {"note": self.note(), "key": key},
        }

    # What a phone writes.

    def _push(self, device: str, push: Push, size: int) -> Answer:
        if size > self.limits.push_bytes or len(push.mutations) > self.limits.mutations_per_push:
            return problem(413, "limits")
        results: list[Result] = []
        for raw in push.mutations:
            mutation = msgspec.convert(push.defaults | json.loads(bytes(raw)), dict[str, Any])
            read = msgspec.json.decode(msgspec.json.encode(mutation | _raws(raw)), type=Mutation)
            results.append(self._judged(device, read))
        seq = None if push.since is None else self.seq_of(device, push.since)
        if seq is None:
            return _json(Pushed(results=tuple(results)))
        page = self._page(device, seq)
        return _json(
            Pushed(
                results=tuple(results), cursor=page.cursor, more=page.more, acked=page.acked,
                changes=page.changes, checkpoint=page.checkpoint, digest=page.digest,
            )
        )  # fmt: skip

    def _judged(self, device: str, mutation: Mutation) -> Result:
        stored = self.outcomes.get(mutation.mid)
        if stored is not None:
            return msgspec.structs.replace(stored[2], repeat=True)
        if mutation.after is not None:
            before = self.outcomes.get(mutation.after)
            if before is None:
                return Result(mid=mutation.mid, outcome="retry")
            if before[2].outcome not in ("applied", "merged"):
                return self._store(device, Result(mid=mutation.mid, outcome="blocked"))
        head = self.head
        result = self._effect(mutation)
        if self.head > head:
            self.effects.append(mutation.mid)
        return self._store(device, result)

    def _store(self, device: str, result: Result) -> Result:
        wrote = result.outcome in ("applied", "merged")
        self.outcomes[result.mid] = (self.head if wrote else self.head + 1, device, result)
        return result

    def _effect(self, mutation: Mutation) -> Result:
        mid, item = mutation.mid, (mutation.type, mutation.id)
        row = self.rows.get(item)
        if mutation.op == "command":
            return self._command(mutation)
        if mutation.type not in WRITABLE:
            return Result(mid=mid, outcome="rejected", code="read-only")
        if mutation.op == "create" and row is None:
            return Result(
                mid=mid, outcome="applied", version=self.put(*item, bytes(mutation.body), by="self")
            )
        if mutation.op == "create":
            return Result(mid=mid, outcome="conflict", code="exists")
        if row is None or mutation.base is None:
            return Result(mid=mid, outcome="rejected", code="not-found")
        return self._change(mutation, row.change)

    def _change(self, mutation: Mutation, current: Change) -> Result:
        mid, item = mutation.mid, (mutation.type, mutation.id)
        assert mutation.base is not None
        if current.op == "gone":
            return Result(mid=mid, outcome="conflict", code="gone", conflicts=(Clash(path="", mine=1),))
        if mutation.op != "delete":
            return self._edit(mutation, current)
        if mutation.base.version != current.version:
            return Result(mid=mid, outcome="conflict", code="changed")
        return Result(mid=mid, outcome="applied", version=self.gone(*item))

    def _edit(self, mutation: Mutation, current: Change) -> Result:
        mid, item = mutation.mid, (mutation.type, mutation.id)
        assert mutation.base is not None
        base = read_json(self.history[*item, mutation.base.version])
        mine = read_json(bytes(mutation.body)) if mutation.body else None
        if mine is None:
            mine = apply_patch(base, read_json(bytes(mutation.patch)))
        merged = merge(base, mine, read_json(bytes(current.body)))
        if merged.clashes:
            return Result(mid=mid, outcome="conflict", code="changed", conflicts=merged.clashes)
        if not merged.changed:
            return Result(mid=mid, outcome="applied", version=current.version)
        body = write_json(merged.resource)
        is_plain = mutation.base.version == current.version
        version = self.put(*item, body, by="self")
        if is_plain:
            return Result(mid=mid, outcome="applied", version=version)
        return Result(mid=mid, outcome="merged", version=version, body=msgspec.Raw(body))

    def _command(self, mutation: Mutation) -> Result:
        command = json.loads(bytes(mutation.args))["command"]
        if command == "extend":
            return Result(mid=mutation.mid, outcome="needs-step-up")
        if command == "grant":
            body = b'{"resourceType":"Consent","status":"active"}'
            version = self.put("Consent", mutation.id, body, by="held")
            answer = msgspec.Raw(b'{"offer":{"code":"7K3M-Q9TX2R"}}')
            return Result(mid=mutation.mid, outcome="applied", version=version, answer=answer)
        if command == "end":
            body = b'{"resourceType":"Consent","status":"inactive"}'
            return Result(
                mid=mutation.mid, outcome="applied", version=self.put("Consent", mutation.id, body, by="held")
            )
        return Result(mid=mutation.mid, outcome="applied")


def problem(status: int, code: str, *, retry_after: int | None = None) -> Answer:
    """A refusal."""
    headers = {} if retry_after is None else {"retry-after": str(retry_after)}
    return Answer(status=status, headers=headers, body=json.dumps({"code": code}).encode())


def _raws(raw: msgspec.Raw) -> dict[str, Any]:
    """The members of a mutation that are kept digit by digit."""
    members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return {name: members[name] for name in ("body", "patch", "args") if name in members}


def _json(message: Any) -> Answer:
    return Answer(status=200, body=msgspec.json.encode(message))
