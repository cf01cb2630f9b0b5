"""The commands a phone may push: each named by the type it is about and its `args.command`.

Other features do the work, as a storage Command inside the push's own transaction.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from server.errors import BadRequest, Busy, Conflict, HeldError, StepUpNeeded
from server.sharing.authority import Authority
from server.storage.command import Command
from sync.messages import Mutation, Outcome, Result


class Told(NamedTuple):
    """What a command's answer is on the wire, and what of it is kept for a repeat of the mutation."""

    answer: bytes
    kept: bytes


class Prepared(NamedTuple):
    """A command ready to run, and how its answer is told."""

    command: Command[Any]
    tell: Callable[[Any], Told]


class Call(NamedTuple):
    """One command as a phone sent it."""

    authority: Authority
    mutation: Mutation
    args: bytes
    now: datetime


Preparing = Callable[[Call], Awaitable[Prepared]]
"""Makes a command ready; raises the HeldError that refuses it."""

CommandBook = Mapping[tuple[str, str], Preparing]
"""(type, command) -> how to prepare it."""


class _Named(msgspec.Struct, frozen=True):
    command: str = ""


_NAMED = msgspec.json.Decoder(_Named)


async def prepare(book: CommandBook, authority: Authority, mutation: Mutation, now: datetime) -> Prepared:
    """The command of this mutation; the HeldError that refuses it."""
    args = bytes(mutation.args) or b"{}"
    try:
        name = _NAMED.decode(args).command
    except msgspec.DecodeError:
        raise BadRequest("The args of this cannot be read.", pointer="/args") from None
    preparing = book.get((mutation.type, name))
    if preparing is None:
        raise BadRequest("We do not know this command.", pointer="/args/command")
    return await preparing(Call(authority, mutation, args, now))


def refused(mutation: Mutation, error: HeldError) -> Result:
    """What a refused command comes to."""
    return Result(mid=mutation.mid, outcome=_outcome(error), code=error.code, detail=error.detail)


def _outcome(error: HeldError) -> Outcome:
    match error:
        case StepUpNeeded():
            return "needs-step-up"
        case Conflict():
            return "conflict"
        case Busy():
            return "retry"
        case _:
            return "rejected"
