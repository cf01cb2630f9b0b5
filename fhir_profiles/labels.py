"""The categories and sensitive classes of a resource, and whether its source hides it from the person.

The lists are in terminology/: sensitive_codes.csv, sensitive_words.csv, security_labels.csv, list_codes.csv.
When a list changes, LABEL_RULES_VERSION goes up and every head is labelled again.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

from fhir_profiles.heads import SENSITIVE_CLASSES, Labels
from fhir_profiles.labels_by_type import categories_of
from fhir_profiles.sensitive_codes import RESTRICTED, classes_of_code, classes_of_security_label
from fhir_profiles.sensitive_words import classes_in_text, text_in_attachment, text_in_narrative
from fhir_profiles.shapes import Resource, codings_in, elements_in, objects_in, value_at

LABEL_RULES_VERSION = 1

_NOPAT_SYSTEMS = frozenset(
    {"http://hl7.org/fhir/v3/ActCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode"}
)
# Words are looked for in every string but these, which hold no words of the record or the names of people.
_NOT_WORDS = frozenset(
    {
        "address",
        "contentType",
        "data",
        "family",
        "given",
        "hash",
        "id",
        "identifier",
        "lastUpdated",
        "meta",
        "prefix",
        "reference",
        "resourceType",
        "suffix",
        "system",
        "telecom",
        "unit",
        "versionId",
    }
)
_CONTACT_NAMES = frozenset({"address", "telecom", "contact", "position"})
_CONTACT_TYPES = ("Address", "ContactPoint", "ContactDetail")
_CONTACT_IN_TEXT = re.compile(
    r"\b[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][A-Z]{2}\b"
    r"|(?<![\d.])(?:\+44|0)(?: ?\d){9,10}(?![\d.])"
    r"|\w@[\w-]{1,63}\.\w"
)


def labels_of(resource: Resource, *, self_recorded: bool = False) -> Labels:
    """Everything sharing is decided by. `self_recorded` is said by us, never read from what was sent."""
    categories = categories_of(resource, self_recorded=self_recorded)
    origin = "self-recorded" if self_recorded else f"type:{resource.get('resourceType', '')}"
    content = _Content()
    content.read(resource)
    found: dict[str, str] = {}
    for sensitive_class, rule in _sensitive_marks(resource, content):
        found.setdefault(sensitive_class, rule)
    fired = [f"{category}={origin}" for category in categories]
    fired += [f"{sensitive_class}={rule}" for sensitive_class, rule in sorted(found.items())]
    parts = ("contact",) if content.has_contact else ()
    return Labels(categories, tuple(sorted(found)), tuple(fired), parts)


def is_hidden_from_patient(resource: Resource) -> bool:
    """Whether the source marks the item, or something in it, as not for the person to see (NOPAT)."""
    labels = [*codings_in(value_at(resource, "meta", "security"))]
    for concept in elements_in(resource.get("securityLabel")):
        labels += codings_in(value_at(concept, "coding"))
    if any(system in _NOPAT_SYSTEMS and code == "NOPAT" for system, code in labels):
        return True
    return any(is_hidden_from_patient(inner) for inner in objects_in(resource.get("contained")))


def is_contact_element(name: str, value: Any) -> bool:
    """Whether a property holds contact details: an Address, ContactPoint, ContactDetail or position."""
    if not isinstance(value, dict | list):
        return False
    return name.removeprefix("_") in _CONTACT_NAMES or name.endswith(_CONTACT_TYPES)


class _Content:
    """What a resource says, gathered in one walk: codes, text a person could read, contact details."""

    def __init__(self) -> None:
        self.codings: set[tuple[str, str]] = set()
        self.texts: set[str] = set()
        self.has_contact = False

    def read(self, element: Resource) -> None:
        code = element.get("code")
        if type(code) is str:
            self.codings.add((str(element.get("system", "")), code))
        if "data" in element:
            self.texts.add(text_in_attachment(element))
        for name, child in element.items():
            if isinstance(child, str):
                self._read_text(name, child)
            elif isinstance(child, dict | list):
                if is_contact_element(name, child):
                    self.has_contact = True
                self._read_inside(name, child)

    def _read_text(self, name: str, text: str) -> None:
        if name == "div":
            words = text_in_narrative(text)
            self.texts.add(words)
            self.has_contact = self.has_contact or _CONTACT_IN_TEXT.search(words) is not None
        elif name not in _NOT_WORDS:
            self.texts.add(text)

    def _read_inside(self, name: str, value: Any) -> None:
        if isinstance(value, dict):
            if name in _NOT_WORDS:
                self._read_codes_only(value)
            else:
                self.read(cast("Resource", value))
            return
        for element in cast("list[Any]", value):
            if isinstance(element, str):
                self._read_text(name, element)
            elif isinstance(element, dict | list):
                self._read_inside(name, element)

    def _read_codes_only(self, value: Any) -> None:
        """Of an identifier, an address or the like only the codes count: its words are names and places."""
        inner = _Content()
        inner.read(cast("Resource", value))
        self.codings |= inner.codings
        self.has_contact = self.has_contact or inner.has_contact


def _sensitive_marks(resource: Resource, content: _Content) -> Iterator[tuple[str, str]]:
    yield from _marks_of_security(resource)
    for system, code in sorted(content.codings):
        for sensitive_class in classes_of_code(system, code):
            yield sensitive_class, f"code:{system}|{code}"
    for text in sorted(content.texts):
        for sensitive_class, word in classes_in_text(text):
            yield sensitive_class, f"word:{word}"


def _marks_of_security(resource: Resource) -> Iterator[tuple[str, str]]:
    labels = codings_in(value_at(resource, "meta", "security"))
    for concept in elements_in(resource.get("securityLabel")):
        labels += codings_in(value_at(concept, "coding"))
    named = [(name, code) for system, code in labels for name in classes_of_security_label(system, code)]
    specific = [(name, code) for name, code in named if name != RESTRICTED]
    if named and not specific:
        # Restricted without saying why: nothing tells which class would have to be ticked, so all of them.
        specific = [(name, named[0][1]) for name in SENSITIVE_CLASSES]
    for sensitive_class, code in specific:
        yield sensitive_class, f"label:{code}"
    for inner in objects_in(resource.get("contained")):
        yield from _marks_of_security(inner)
