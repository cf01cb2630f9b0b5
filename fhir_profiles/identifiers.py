"""Identifiers of the National Health Service (STANDARDS section 7)."""

import re
from collections.abc import Iterator
from typing import Any, cast

NHS_NUMBER_SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"
ODS_ORGANISATION_SYSTEM = "https://fhir.nhs.uk/Id/ods-organization-code"
ODS_SITE_SYSTEM = "https://fhir.nhs.uk/Id/ods-site-code"

_TEN_DIGITS = re.compile(r"[0-9]{10}\Z")


def is_nhs_number(text: str) -> bool:
    """Whether these are ten digits with the right last one, not all the same."""
    if not _TEN_DIGITS.match(text) or len(set(text)) == 1:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:9], range(10, 1, -1), strict=True))
    return (11 - total % 11) % 11 == int(text[9])


def identifiers_in(resource: dict[str, Any], system: str) -> Iterator[str]:
    """The values of a resource's identifiers in this system."""
    listed = resource.get("identifier", [])
    for identifier in cast("list[Any]", listed) if type(listed) is list else [listed]:
        if type(identifier) is dict:
            found = cast("dict[str, Any]", identifier)
            if found.get("system") == system and type(found.get("value")) is str:
                yield found["value"]


def nhs_numbers_in(resource: dict[str, Any]) -> list[str]:
    """The NHS numbers a resource names, without the blanks people write between their digits."""
    return [value.replace(" ", "") for value in identifiers_in(resource, NHS_NUMBER_SYSTEM)]
