"""Looks a code up in the list of codes that reveal a sensitive class (terminology/sensitive_codes.csv).

A row's code is whole, a beginning ("F32*"), or a range of beginnings of one length ("F20..F48"). System "*"
is any system: some senders write a code under the wrong one.
"""

from functools import cache
from typing import NamedTuple

from fhir_profiles.terminology import rows_of

# What a security label stands for that restricts without saying why.
RESTRICTED = "*"
# The same code list arrives under several names.
_SYSTEM_NAMES = {
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "urn:oid:2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-cm": "http://hl7.org/fhir/sid/icd-10",
    "http://hl7.org/fhir/sid/icd-10-uk": "http://hl7.org/fhir/sid/icd-10",
    "https://fhir.hl7.org.uk/Id/icd-10": "http://hl7.org/fhir/sid/icd-10",
    "http://read.info/ctv3": "http://read.info/readv2",
    "https://dmd.nhs.uk": "http://snomed.info/sct",
    "http://hl7.org/fhir/v3/ActCode": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "http://hl7.org/fhir/v3/Confidentiality": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
}


class _Ranges(NamedTuple):
    first: str
    last: str
    sensitive_class: str


class _CodeList(NamedTuple):
    whole: dict[tuple[str, str], tuple[str, ...]]
    ranges: dict[str, tuple[_Ranges, ...]]


def classes_of_code(system: str, code: str) -> tuple[str, ...]:
    """The sensitive classes a code reveals."""
    codes = _code_list()
    system = _SYSTEM_NAMES.get(system, system)
    found = codes.whole.get((system, code), ()) + codes.whole.get(("*", code), ())
    for row in codes.ranges.get(system, ()):
        if row.first <= code[: len(row.first)] <= row.last:
            found += (row.sensitive_class,)
    return found


def classes_of_security_label(system: str, code: str) -> tuple[str, ...]:
    """The sensitive classes a security label stands for, or RESTRICTED when it does not say why."""
    return _security_labels().get((_SYSTEM_NAMES.get(system, system), code), ())


@cache
def _code_list() -> _CodeList:
    whole: dict[tuple[str, str], tuple[str, ...]] = {}
    ranges: dict[str, tuple[_Ranges, ...]] = {}
    for row in rows_of("sensitive_codes.csv"):
        system, code, sensitive_class = row["system"], row["code"], row["class"]
        first, is_range, last = code.partition("..")
        if is_range or code.endswith("*"):
            first = first.removesuffix("*")
            beginning = _Ranges(first, last or first, sensitive_class)
            ranges[system] = (*ranges.get(system, ()), beginning)
        else:
            whole[system, code] = (*whole.get((system, code), ()), sensitive_class)
    return _CodeList(whole, ranges)


@cache
def _security_labels() -> dict[tuple[str, str], tuple[str, ...]]:
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows_of("security_labels.csv"):
        key = row["system"], row["code"]
        found[key] = (*found.get(key, ()), row["class"])
    return found
