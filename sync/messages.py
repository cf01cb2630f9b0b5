"""The messages between a phone and the server (docs/reference/sync.md).

Unknown fields are ignored both ways: a phone lives longer than a release. A resource's bytes travel as they
are stored, spliced in and cut out as raw JSON, so that both sides hash the same bytes.
"""

from typing import Any, Literal

import msgspec

MEDIA_TYPE = "application/vnd.held.sync+json;v=1"
MUTATIONS_PER_PUSH_MAX = 100
PUSH_BYTES_MAX = 512 * 1024
PAGE_ROWS_MAX = 500
PAGE_BYTES_MAX = 1024 * 1024
RESOURCE_BYTES_MAX = 1024 * 1024
FETCH_ITEMS_MAX = 500
SEGMENT_SEQS = 2_048
NO_JSON = msgspec.Raw(b"")
"""Stands where no JSON was sent; it is false. (msgspec reads no union of Raw with anything else.)"""

Op = Literal["create", "patch", "replace", "delete", "command"]
Outcome = Literal["applied", "merged", "needs-step-up", "conflict", "rejected", "blocked", "retry"]
DONE: frozenset[Outcome] = frozenset({"applied", "merged"})
"""The outcomes after which a mutation's effect stands."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every message is made from."""


class Limits(Message, frozen=True, kw_only=True, omit_defaults=False):
    """What the server takes and gives at most; the phone keeps to them and halves when told `limits`."""

    mutations_per_push: int = msgspec.field(name="mutationsPerPush", default=MUTATIONS_PER_PUSH_MAX)
    push_bytes: int = msgspec.field(name="pushBytes", default=PUSH_BYTES_MAX)
    page_rows: int = msgspec.field(name="pageRows", default=PAGE_ROWS_MAX)
    page_bytes: int = msgspec.field(name="pageBytes", default=PAGE_BYTES_MAX)
    resource_bytes: int = msgspec.field(name="resourceBytes", default=RESOURCE_BYTES_MAX)
    fetch_items: int = msgspec.field(name="fetchItems", default=FETCH_ITEMS_MAX)


class Registration(Message, frozen=True, kw_only=True):
    """`POST devices`: a phone says who it is. `key` is the public JWK its token is bound to."""

    key: dict[str, Any]
    name: str = ""
    platform: str = ""
    app_version: str = msgspec.field(name="appVersion", default="")
    schema_version: int = msgspec.field(name="schemaVersion", default=1)


class Registered(Message, frozen=True, kw_only=True, omit_defaults=False):
    """The answer to a registration. `digest_key` is base64url, 32 bytes, the same for every device."""

    device_id: str = msgspec.field(name="deviceId")
    epoch: str
    limits: Limits
    digest_key: str = msgspec.field(name="digestKey")


class Change(Message, frozen=True, kw_only=True):
    """One row of the feed. A `gone` has no body and never says why; any `op` not known here is a `gone`.

    `by` is the organisation the version came from, "self" when it is the person's own, or "held".
    Rows of one extract share a `batch`.
    """

    op: str
    type: str
    id: str
    version: int
    by: str = ""
    batch: str | None = None
    body: msgspec.Raw = NO_JSON


class Page(Message, frozen=True, kw_only=True):
    """The answer of `changes`, a segment, or `fetch`: rows in order of the feed, and where they end.

    `acked` are this device's mutations whose effect lies between the asked cursor and this one. `digest` is
    the root (hexadecimal) over the whole record at `cursor`, only when `more` is false. `repair` is true when
    the root the phone sent for its cursor is not ours. `checkpoint` is the log's newest signed note.
    """

    cursor: str
    more: bool = False
    acked: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    checkpoint: str | None = None
    digest: str | None = None
    repair: bool = False


class Base(Message, frozen=True, kw_only=True):
    """The version a mutation was made on."""

    version: int = 0


class Mutation(Message, frozen=True, kw_only=True, rename={"sent_at": "sentAt"}):
    """One act of the person. `mid` is a UUID (version 7) made by the phone: one effect at most, always.

    `after` names a mutation this one waits for; mutations of one push that share a `txn` stand or fall
    together. `body` is whole (create, replace), `patch` an RFC 7396 merge patch, `args` a command's. `at`
    defaults to the instant in `mid`. `at` and `sent_at` are shown, and never decide anything.
    """

    mid: str
    op: Op
    type: str
    id: str
    after: str | None = None
    txn: str | None = None
    base: Base | None = None
    body: msgspec.Raw = NO_JSON
    patch: msgspec.Raw = NO_JSON
    args: msgspec.Raw = NO_JSON
    at: str | None = None
    sent_at: str | None = None


class Push(Message, frozen=True, kw_only=True, rename={"device_id": "deviceId", "sent_at": "sentAt"}):
    """`POST mutations`, in the order they were made. With `since`, the answer also pulls.

    `defaults` gives members to every mutation that lacks them, such as `op` and `type`. Each mutation is read
    by itself, so that one that cannot be read is refused alone.
    """

    device_id: str
    mutations: tuple[msgspec.Raw, ...]
    since: str | None = None
    sent_at: str | None = None
    defaults: dict[str, Any] = {}


class Clash(Message, frozen=True, kw_only=True):
    """Where both sides changed one unit in different ways. `path` is the element's name."""

    path: str
    base: Any = None
    mine: Any = None
    theirs: Any = None


class Result(Message, frozen=True, kw_only=True):
    """What became of one mutation. It never changes: a repeat is answered the same, with `repeat` true.

    `version` is the item's once the effect stands. `body` is the resource as merged. `code` and `detail` say
    in a stable word and in plain words why not. `conflicts` hold the phone's own values whole. `answer` is
    what a command answers (a grant, a correction).
    """

    mid: str
    outcome: Outcome
    version: int | None = None
    body: msgspec.Raw = NO_JSON
    code: str | None = None
    detail: str | None = None
    conflicts: tuple[Clash, ...] = ()
    issue: msgspec.Raw = NO_JSON
    answer: msgspec.Raw = NO_JSON
    repeat: bool = False


class Pushed(Message, frozen=True, kw_only=True):
    """The answer of `mutations`: one result each, in order, and the rows since `since` when it was sent."""

    results: tuple[Result, ...]
    cursor: str | None = None
    more: bool = False
    acked: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    checkpoint: str | None = None
    digest: str | None = None
    repair: bool = False


class Segment(
    Message, frozen=True, kw_only=True, rename={"raw_bytes": "rawBytes", "from_": "from"}, omit_defaults=False
):
    """A part of a first load, fetched by its `hash`."""

    hash: str
    from_: int = msgspec.field(name="from")
    to: int
    count: int
    bytes: int = 0
    raw_bytes: int = msgspec.field(name="rawBytes", default=0)


class Snapshot(Message, frozen=True, kw_only=True, omit_defaults=False):
    """`GET snapshot`: the segments to apply in order, then `changes` from `cursor`."""

    epoch: str
    cursor: str
    count: int
    segments: tuple[Segment, ...]


class DigestAnswer(Message, frozen=True, kw_only=True, omit_defaults=False):
    """`GET digest`: children `{prefix: [hash, count]}` of a prefix, or leaves `[type, id, version, hash]`.

    Hashes are hexadecimal, cut to 16 bytes.
    """

    at: str
    prefix: str
    children: dict[str, tuple[str, int]] = {}
    leaves: tuple[tuple[str, str, int, str], ...] = ()


class Fetch(Message, frozen=True, kw_only=True):
    """`POST fetch`: items to be sent again, for a repair."""

    items: tuple[tuple[str, str], ...]


class Problem(Message, frozen=True, kw_only=True):
    """A refusal. `code` is reset, behind, limits, slow, upgrade, wipe, or another of the server's."""

    code: str = ""
    detail: str = ""
    status: int = 0
    limits: Limits | None = None
    snapshot: str | None = None
