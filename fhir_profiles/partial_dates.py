"""The days a FHIR date may mean: `2026` is the whole year (https://hl7.org/fhir/R4/datatypes.html#dateTime)."""

import calendar
import re
from datetime import date

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def first_day(text: str) -> date | None:
    """The earliest day a date or dateTime can mean, in its own time zone; None when it is not one."""
    return _day(text, last=False)


def last_day(text: str) -> date | None:
    """The latest day a date or dateTime can mean, in its own time zone; None when it is not one."""
    return _day(text, last=True)


def calendar_problem(text: str) -> bool:
    """Whether the text is anything but a year, a month or a day of the calendar."""
    return _DATE.fullmatch(text) is None or first_day(text) is None


def _day(text: str, *, last: bool) -> date | None:
    match = _DATE.fullmatch(text.partition("T")[0])
    if match is None:
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        month = month if month is not None else (12 if last else 1)
        day = day if day is not None else (calendar.monthrange(int(year or 0), month)[1] if last else 1)
        return date(int(year or 0), month, day)
    except (ValueError, calendar.IllegalMonthError):
        return None
