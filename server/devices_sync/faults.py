"""A fault of ours met on one mutation: that one is refused, so that it keeps nothing else back."""

import structlog

from sync.messages import Result

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger("held.sync")

# What code raises that meets content it did not expect; a database that does not answer is none of these.
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def refused_for(mid: str, error: Exception) -> Result:
    """The refusal of the mutation. The kind is logged, but not the text: that may quote a record."""
    _LOG.error("mutation_failed", kind=type(error).__qualname__, exc_info=False)
    return Result(mid=mid, outcome="rejected", code="invalid", detail="We could not deal with this.")
