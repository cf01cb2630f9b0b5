"""FHIR dates as ranges of time that compare as text (https://hl7.org/fhir/R4/search.html#date).

A bound is UTC with microseconds, always of one width. LOWEST and HIGHEST stand for an open start and end.
A partial date without a zone is taken as UTC.
"""

import re
from datetime import UTC, datetime, timedelta

LOWEST, HIGHEST = "", "~"
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST_MONTH = datetime(9999, 12, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)

_PARTS = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:T(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]{1,12}))?)?"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?)?)?\Z"
)
Range = tuple[str, str]
"""The first instant of a date and the first one after it."""


def range_of(text: str) -> Range | None:
    """The range a date, dateTime or instant covers by its precision; None when it is not one."""
    bounds = _bounds(text)
    return None if bounds is None else (_wire(bounds[0]), _wire(bounds[1]))


def range_around(text: str) -> Range | None:
    """The range of a date, widened on both sides by its own width: what `ap` takes for "about then"."""
    bounds = _bounds(text)
    if bounds is None:
        return None
    start, end = bounds
    width = max(end - start, timedelta(minutes=1))
    return _wire(_moved(start, -width)), _wire(_moved(end, width))


def _bounds(text: str) -> tuple[datetime, datetime] | None:
    found = _PARTS.match(text)
    if found is None:
        return None
    try:
        start = _start(found)
    except ValueError:
        return None
    return start, _end(start, found)


def _start(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    start = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
        # A leap second is the last second that Python knows of its minute.
        min(int(second or 0), 59), int((fraction or "0")[:6].ljust(6, "0")), tzinfo=UTC,
    )  # fmt: skip
    if not zone or zone == "Z":
        return start
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
    return _moved(start, offset if zone[0] == "-" else -offset)


def _end(start: datetime, found: re.Match[str]) -> datetime:
    if found["fraction"]:
        return _moved(start, timedelta(microseconds=10 ** max(0, 6 - len(found["fraction"]))))
    if found["hour"]:
        return _moved(start, timedelta(seconds=1) if found["second"] else timedelta(minutes=1))
    if found["day"]:
        return _moved(start, timedelta(days=1))
    if found["month"]:
        next_month = _moved(start, timedelta(days=31)).replace(day=1)
        return next_month if start < _LAST_MONTH else _LAST
    return start.replace(year=start.year + 1) if start.year < 9999 else _LAST


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta(0) else _FIRST


def _wire(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")[:26]
