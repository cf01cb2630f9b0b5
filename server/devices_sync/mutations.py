"""Reads what a phone pushes: each mutation by itself, so that one that cannot be read is refused alone."""

from typing import Any
from uuid import UUID

import msgspec

from server.errors import BadRequest
from sync.messages import Mutation, Push, Result

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MUTATION = msgspec.json.Decoder(Mutation)
_TEXT = msgspec.json.Decoder(str)
_NULL = b"null"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One mutation as it came: readable, or refused already.

    `txn` is told apart by its bytes: one that cannot be read takes the others of its `txn` with it.
    """

    mid: UUID
    mutation: Mutation | None
    txn: bytes | None = None
    refusal: Result | None = None


def read_push(push: Push) -> list[Sent]:
    """The mutations in the order they came. BadRequest when one has no `mid` to answer by."""
    defaults = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in push.defaults.items()}
    return [_read(raw, defaults, index) for index, raw in enumerate(push.mutations)]


def _read(raw: msgspec.Raw, defaults: dict[str, msgspec.Raw], index: int) -> Sent:
    try:
        members = defaults | _MEMBERS.decode(raw)
        mid = _mid(members.get("mid"))
    except (msgspec.DecodeError, ValueError):
        detail = "Each mutation is an object with a UUID, in small letters, as its `mid`."
        raise BadRequest(detail, pointer=f"/mutations/{index}/mid") from None
    txn = _txn(members.get("txn"))
    try:
        mutation = _MUTATION.decode(msgspec.json.encode(members))
    except msgspec.DecodeError:
        refusal = rejected(mid, "unreadable", "We cannot read this.")
        return Sent(mid=mid, mutation=None, txn=txn, refusal=refusal)
    return Sent(mid=mid, mutation=mutation, txn=txn)


def rejected(mid: UUID, code: str, detail: str, **more: Any) -> Result:
    """A mutation that is not taken, and why."""
    return Result(mid=str(mid), outcome="rejected", code=code, detail=detail, **more)


def _txn(raw: msgspec.Raw | None) -> bytes | None:
    """What stands there: the text, however it is spelt, or the bytes of what is none."""
    if raw is None or bytes(raw) == _NULL:
        return None
    try:
        return msgspec.json.encode(_TEXT.decode(raw))
    except msgspec.DecodeError:
        return bytes(raw)


def _mid(raw: msgspec.Raw | None) -> UUID:
    text = _TEXT.decode(raw) if raw is not None else ""
    mid = UUID(text)
    if str(mid) != text:
        raise ValueError("The UUID has another spelling.")
    return mid
