"""Whether a JSON value is a proper value of a FHIR primitive type (https://hl7.org/fhir/R4/datatypes.html).

A check answers None when it is, else the fault: the rule's name and a plain sentence.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from typing import Any

import msgspec

from fhir_profiles.xhtml import narrative_fault

URI_CHARACTERS_MAX = 2048
INTEGER_MIN, INTEGER_MAX = -(2**31), 2**31 - 1

Fault = tuple[str, str]
Check = Callable[[Any], Fault | None]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
_CODE = re.compile(r"[^\s]+(?:[ \t\n\r][^\s]+)*\Z")
_URI = re.compile(r"\S+\Z")
_OID = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+\Z")
_UUID = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.IGNORECASE)
_BASE64 = re.compile(r"[0-9A-Za-z+/\s]+={0,2}\s*\Z")
_DATE = re.compile(r"(?!0000)[0-9]{4}(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01]))?)?\Z")
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]{1,12})?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_INSTANT = re.compile(rf"(?!0000)[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T{_CLOCK}{_ZONE}\Z")
_TIME = re.compile(rf"{_CLOCK}\Z")


def _boolean(value: Any) -> Fault | None:
    return None if value is True or value is False else ("boolean", "This must be true or false.")


def _whole(low: int) -> Check:
    def check(value: Any) -> Fault | None:
        if type(value) is int and low <= value <= INTEGER_MAX:
            return None
        return "integer", f"This must be a whole number from {low} to {INTEGER_MAX}."

    return check


def _decimal(value: Any) -> Fault | None:
    if type(value) is int or type(value) is msgspec.Raw:
        return None
    return "decimal", "This must be a number."


def _string(value: Any) -> Fault | None:
    if type(value) is not str:
        return "string", "This must be text."
    return None if value else ("empty", "This is empty; leave it out instead.")


def _pattern(rule: str, detail: str, expression: re.Pattern[str]) -> Check:
    match = expression.match

    def check(value: Any) -> Fault | None:
        return None if type(value) is str and match(value) else (rule, detail)

    return check


def _uri(value: Any) -> Fault | None:
    if type(value) is not str or not _URI.match(value):
        return "uri", "This must be a URI without spaces."
    if len(value) > URI_CHARACTERS_MAX:
        return "uri-too-long", f"This URI is longer than {URI_CHARACTERS_MAX} characters."
    return None


def _base64(value: Any) -> Fault | None:
    if type(value) is str and _BASE64.match(value) and len("".join(value.split())) % 4 == 0:
        return None
    return "base64", "This must be base64."


def _calendar(rule: str, detail: str, expression: re.Pattern[str]) -> Check:
    def check(value: Any) -> Fault | None:
        if type(value) is not str or not (found := expression.match(value)):
            return rule, detail
        month, day = found.groups()
        if day and int(day) > 28 and int(day) > monthrange(int(value[:4]), int(month))[1]:
            return "calendar", "There is no such day in the calendar."
        return None

    return check


_date = _calendar("date", "This must be a date: YYYY, YYYY-MM or YYYY-MM-DD.", _DATE)
_instant = _calendar("instant", "This must be a date and time with seconds and a time zone.", _INSTANT)


def _date_time(value: Any) -> Fault | None:
    if type(value) is str and "T" not in value:
        return _date(value)
    fault = _instant(value)
    if fault and fault[0] == "instant":
        return "date-time", "This must be a date, or a date and time with seconds and a time zone."
    return fault


CHECKS: dict[str, Check] = {
    "boolean": _boolean,
    "integer": _whole(INTEGER_MIN),
    "unsignedInt": _whole(0),
    "positiveInt": _whole(1),
    "decimal": _decimal,
    "string": _string,
    "markdown": _string,
    "xhtml": narrative_fault,
    "code": _pattern("code", "This must be a code: text without spaces at its ends.", _CODE),
    "id": _pattern("id", "This must be 1 to 64 letters, digits, dashes or dots.", _ID),
    "uri": _uri,
    "url": _uri,
    "canonical": _uri,
    "oid": _pattern("oid", "This must be an OID beginning urn:oid:.", _OID),
    "uuid": _pattern("uuid", "This must be a UUID beginning urn:uuid:.", _UUID),
    "base64Binary": _base64,
    "date": _date,
    "dateTime": _date_time,
    "instant": _instant,
    "time": _pattern("time", "This must be a time of day with seconds.", _TIME),
}
