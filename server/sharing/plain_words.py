"""Names, times and lists in plain words, the way a person in England would say them. Pure."""

import unicodedata
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
NAME_CHARACTERS_MAX = 80

CATEGORY_WORDS = {
    "medicines": "medicines",
    "allergies": "allergies",
    "problems": "health problems",
    "results": "test results",
    "immunisations": "vaccinations",
    "consultations": "appointments",
    "documents": "letters and documents",
    "procedures": "operations and procedures",
    "care-plan": "care plan and goals",
    "needs": "needs",
    "self-recorded": "own readings",
    "contact": "contact details",
}
SENSITIVE_WORDS = {
    "mental-health": "mental health",
    "sexual-health": "sexual and reproductive health",
    "drugs-alcohol": "drugs and alcohol",
    "abuse-safeguarding": "abuse and safeguarding",
    "hiv": "HIV",
    "genetics": "genetics",
}

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_LENGTHS = ((365 * 86_400, "year"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def at_words(instant: datetime, *, said_in: int | None = None) -> str:
    """`5pm on Friday 27 November`, with the year when it is not the year it is said in."""
    local = instant.astimezone(LONDON)
    return f"{_clock_words(local)} on {_day_words(local.date(), said_in)}"


def until_words(instant: datetime, *, said_in: int | None = None) -> str:
    """As at_words, but midnight is said as the end of the day before: nobody can mistake which night."""
    local = instant.astimezone(LONDON)
    if (local.hour, local.minute) == (0, 0):
        return f"the end of {_day_words(local.date() - timedelta(days=1), said_in)}"
    return at_words(instant, said_in=said_in)


def date_words(text: str) -> str:
    """`1 January 2025`, `January 2025` or `2025` for a FHIR date; the text itself when it is none."""
    parts = text[:10].split("-")
    if not all(part.isdigit() for part in parts):
        return text
    numbers = [int(part) for part in parts]
    if len(numbers) == 1:
        return text[:10]
    if not 1 <= numbers[1] <= 12:
        return text
    month = f"{_MONTHS[numbers[1] - 1]} {numbers[0]}"
    return month if len(numbers) == 2 else f"{numbers[2]} {month}"


def length_words(seconds: int) -> str:
    """`24 hours`, `7 days`, `1 year`: the largest unit that says the length exactly."""
    if seconds == 86_400:
        return "24 hours"
    unit_seconds, unit = next(pair for pair in _LENGTHS if seconds % pair[0] == 0 and seconds >= pair[0])
    return count_words(seconds // unit_seconds, unit)


def count_words(count: int, noun: str) -> str:
    """`1 item`, `2 items`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; a comma before the last when a name holds an `and` of its own."""
    if len(names) < 2:
        return "".join(names)
    has_inner = any(" and " in name for name in names)
    comma = "," if has_inner and len(names) > 2 else ""
    return f"{', '.join(names[:-1])}{comma} {conjunction} {names[-1]}"


def plain_name(text: str) -> str:
    """A name without characters that hide, reorder or break lines, and not too long to read."""
    visible = text
    # Names are said on every look, and nearly all are printable as they stand.
    if not text.isprintable():
        visible = "".join(" " if _is_unseen(character) else character for character in text)
    return " ".join(visible.split())[:NAME_CHARACTERS_MAX].strip()


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _clock_words(local: datetime) -> str:
    if (local.hour, local.minute) == (12, 0):
        return "midday"
    if (local.hour, local.minute) == (0, 0):
        return "midnight"
    hour = local.hour % 12 or 12
    minutes = f":{local.minute:02}" if local.minute else ""
    return f"{hour}{minutes}{'am' if local.hour < 12 else 'pm'}"


def _day_words(day: date, said_in: int | None) -> str:
    year = f" {day.year}" if said_in is not None and day.year != said_in else ""
    return f"{_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]}{year}"
