"""What PostgreSQL's failures mean to us (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

import asyncpg
from sqlalchemy import exc

_TRY_AGAIN = {"40001", "40P01"}
"""Serialisation failure, deadlock: the whole transaction was undone and may be run again."""

_BUSY = {"55P03", "57014", "57P01", "57P02", "57P03", "25P03"}
"""Lock or statement time-out, the server stopping or starting, a snapshot held too long."""

_BUSY_CLASSES = ("08", "53")
"""Connection lost; no room for connections, memory or disk."""


def is_worth_another_try(error: BaseException) -> bool:
    """Whether the transaction was undone for a reason that may be gone now."""
    return sqlstate(error) in _TRY_AGAIN


def is_busy(error: BaseException) -> bool:
    """Whether the database could not be had in time. What a lost connection was doing may have committed."""
    if isinstance(error, OSError | TimeoutError | asyncpg.InterfaceError | exc.TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    state = sqlstate(error) or ""
    return state in _BUSY or state in _TRY_AGAIN or state[:2] in _BUSY_CLASSES


def sqlstate(error: BaseException) -> str | None:
    """The five characters PostgreSQL names its failure by, whether the driver or SQLAlchemy raised it."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    found = getattr(cause, "sqlstate", None)
    return found if isinstance(found, str) else None
