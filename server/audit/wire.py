"""The shapes of `/records/{record_id}/log`. Hashes are base64 as in a signed note, sealed bytes base64url."""

import base64

import msgspec

from server.audit.entry import LOG_PURPOSE, Kind, LoggedItem, Who
from server.audit.service import LogPage, OpenedEntry, SignedCheckpoint
from server.audit.signer import LogSigner
from server.http.times import to_wire


class EntryAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. `hash` is its leaf, `prev` the root before it and `root` the root with it."""

    n: int
    at: str
    kind: Kind
    who: Who
    items: tuple[LoggedItem, ...]
    listed: int
    sentence: str
    hash: str
    prev: str
    root: str
    sealed: str
    grant_id: str | None = None
    grant_version: int | None = None
    purpose: str | None = None
    reason: str | None = None
    query: str | None = None


class CheckpointAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint: `note` proves the rest, by the verifier key `key`."""

    origin: str
    size: int
    root: str
    note: str
    at: str
    key: str


class KeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What opens the sealed entries: the AES-256-GCM key of one purpose of one record."""

    purpose: str
    key: str


class LogAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the log. `more` says that further entries follow the last one."""

    entries: tuple[EntryAnswer, ...]
    more: bool
    checkpoint: CheckpointAnswer
    opens_with: KeyAnswer


def log_answer(page: LogPage, signed: SignedCheckpoint, signer: LogSigner) -> LogAnswer:
    """A page with the checkpoint that covers it."""
    return LogAnswer(
        entries=tuple(_entry_answer(opened) for opened in page.entries),
        more=page.more,
        checkpoint=checkpoint_answer(signed, signer),
        opens_with=KeyAnswer(purpose=LOG_PURPOSE, key=_base64url(page.key)),
    )


def checkpoint_answer(signed: SignedCheckpoint, signer: LogSigner) -> CheckpointAnswer:
    """A checkpoint as the owner gets it."""
    return CheckpointAnswer(
        origin=signed.checkpoint.origin,
        size=signed.checkpoint.size,
        root=_base64(signed.checkpoint.root),
        note=signed.note,
        at=to_wire(signed.at),
        key=signer.key.to_text(),
    )


def _entry_answer(opened: OpenedEntry) -> EntryAnswer:
    entry = opened.entry
    assert entry.at is not None
    return EntryAnswer(
        n=opened.n,
        at=to_wire(entry.at),
        kind=entry.kind,
        who=entry.who,
        items=entry.items,
        listed=entry.listed,
        sentence=entry.sentence,
        hash=_base64(opened.leaf),
        prev=_base64(opened.previous_root),
        root=_base64(opened.root),
        sealed=_base64url(opened.sealed),
        grant_id=str(entry.grant_id) if entry.grant_id else None,
        grant_version=entry.grant_version,
        purpose=entry.purpose,
        reason=entry.reason,
        query=entry.query,
    )


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
