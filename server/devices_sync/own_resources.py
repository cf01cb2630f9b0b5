"""What a resource of the person's own must be: about them, by them, under their phone's id for it. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from server.records.own_items import CONTACT_ELEMENTS
from sync.messages import Mutation
from sync.values import JsonObject, is_list, is_object

RESOURCE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
LIST_ELEMENTS_MAX = 200
VALUES_MAX = 5_000
_WRITTEN_BY = {"Observation": "performer", "DocumentReference": "author"}
# To a reader each of these would be the word of somebody else than the person, or about somebody else.
_BY_OTHERS = frozenset(
    {"custodian", "authenticator", "assigner", "authorString", "_authorString", "contained"}
)
_ABOUT_OTHERS = frozenset({"focus", "sourcePatientInfo"})
_META = frozenset({"versionId", "lastUpdated", "tag", "profile"})
_CONTENT_TYPES = frozenset({"text/plain", "application/pdf", "image/png", "image/jpeg"})
_BASE_PROFILES = "http://hl7.org/fhir/StructureDefinition/"


class Refused(Exception):
    """A mutation is not taken. `code` is stable, `detail` in plain words, `issue` an OperationOutcome."""

    def __init__(self, code: str, detail: str, *, issue: bytes = b"") -> None:
        self.code = code
        self.detail = detail
        self.issue = issue
        super().__init__(detail)


NOT_ABOUT_YOU = Refused("not-about-you", "What you record is about yourself.")
NOT_BY_YOU = Refused("not-by-you", "What you record is by yourself, and nothing in it says otherwise.")
TOO_MANY_PARTS = Refused(
    "invalid",
    f"We take at most {LIST_ELEMENTS_MAX} entries in a list, and {VALUES_MAX} parts in all.",
)


def own_resource(resource: JsonObject, mutation: Mutation, patient_id: str) -> JsonObject:
    """The resource with what it may leave out: its id, and that it is about and by the person.

    Raises Refused when it says otherwise.
    """
    if RESOURCE_ID.fullmatch(mutation.id) is None:
        raise Refused("bad-id", "The id is not a UUID in small letters.")
    if resource.get("resourceType", mutation.type) != mutation.type:
        raise Refused("other-type", "The content is of another type than the mutation says.")
    if resource.get("id", mutation.id) != mutation.id:
        raise Refused("other-id", "The content has another id than the mutation says.")
    person = {"reference": f"Patient/{patient_id}"}
    by = _WRITTEN_BY[mutation.type]
    named: JsonObject = {"resourceType": mutation.type, "id": mutation.id}
    filled = named | resource
    if filled.setdefault("subject", person) != person:
        raise NOT_ABOUT_YOU
    if filled.setdefault(by, [person]) != [person]:
        raise NOT_BY_YOU
    require_modest(filled)
    _require_own_words(filled, person)
    return filled


def require_modest(content: JsonObject) -> None:
    """Refused when it has so many parts that looking at it would keep others waiting."""
    count = 0
    for part in _parts(content):
        count += len(part)
        if count > VALUES_MAX or (is_list(part) and len(part) > LIST_ELEMENTS_MAX):
            raise TOO_MANY_PARTS


def _require_own_words(resource: JsonObject, person: JsonObject) -> None:
    """Refused when any part of it speaks in the name of somebody else, or about them."""
    meta = resource.get("meta", {})
    if is_object(meta) and not (meta.keys() <= _META and _are_base_profiles(meta.get("profile", []))):
        raise NOT_BY_YOU
    for part in _parts(resource):
        if not is_object(part):
            continue
        if part.keys() & _BY_OTHERS or part.get("authorReference", person) != person:
            raise NOT_BY_YOU
        if part.keys() & _ABOUT_OTHERS:
            raise NOT_ABOUT_YOU
        if is_object(attached := part.get("attachment")):
            _require_harmless(attached)


def _are_base_profiles(profiles: object) -> bool:
    return is_list(profiles) and all(str(profile).startswith(_BASE_PROFILES) for profile in profiles)


def _require_harmless(attached: JsonObject) -> None:
    if "url" in attached or attached.get("contentType") not in _CONTENT_TYPES:
        raise Refused(
            "invalid", "We take plain text, PDF, PNG and JPEG in the document itself, and no links."
        )


def _parts(value: JsonObject) -> Iterator[Any]:
    """The objects and lists in it, itself first, each before what is in it is looked at."""
    waiting: list[Any] = [value]
    while waiting:
        part = waiting.pop()
        yield part
        children: Iterable[Any] = part if is_list(part) else part.values() if is_object(part) else ()
        waiting += [child for child in children if is_list(child) or is_object(child)]


def contact_patch(patch: JsonObject) -> None:
    """Refused unless the patch is of contact preferences alone."""
    if not patch.keys() <= CONTACT_ELEMENTS:
        raise Refused("read-only", "Of this, only `telecom` and `communication` can be changed.")
