"""A command: what one feature does inside a transaction that another feature opened."""

from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from server.storage.engine import Storage
from server.storage.session import WriteSession

T = TypeVar("T")


class Command(NamedTuple, Generic[T]):
    """`run` does the work in the transaction and raises a HeldError to refuse. `settle` follows the commit.

    `settle` must do no harm when it is lost or done twice: the process can stop between the two. `undo` takes
    back what was prepared, when `run` refused or its transaction was undone; it too may be lost.
    """

    run: Callable[[WriteSession], T]
    settle: Callable[[], Awaitable[None]] | None = None
    undo: Callable[[], Awaitable[None]] | None = None


async def carry_out(storage: Storage, record_id: UUID, command: Command[T]) -> T:
    """What the command answers, done in a transaction of its own."""
    try:
        answer = await storage.write(record_id, command.run)
    except BaseException:
        if command.undo is not None:
            await command.undo()
        raise
    if command.settle is not None:
        await command.settle()
    return answer
