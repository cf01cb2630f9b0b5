"""Makes what is served: the stamped resource and its head at intake, and a reader's rendering of it (wall 5).

For a reader with less than the whole, references, contained resources, contact details and narrative may be
cut, and tags and extensions added; nothing else ever changes.
"""

import hashlib
from collections.abc import Collection
from typing import Any, cast

import msgspec

from fhir_profiles import references
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.closure import CONTACT, REDUCED
from fhir_profiles.currency import dated, is_current, title_of
from fhir_profiles.heads import Head, HeldReference
from fhir_profiles.labels import LABEL_RULES_VERSION, is_contact_element, labels_of
from fhir_profiles.narrative import sanitised
from fhir_profiles.parse import decode_checked, encode
from fhir_profiles.references import Key
from fhir_profiles.search_values import values_of
from fhir_profiles.shapes import Resource, objects_in, value_at

# Tags and extensions under this name are ours to add; a source's are dropped, so that nobody can forge one.
OWN_NAMESPACE = "urn:held:"
_MAY_NAME_US = frozenset({"tag", "extension", "modifierExtension"})
NHS_NUMBER_SYSTEM = "https://fhir.nhs.uk/Id/nhs-number"

_CANONICAL = msgspec.json.Encoder(order="sorted")
_FORMER_NAMES = frozenset({"old", "maiden", "temp", "anonymous", "nickname"})
_NAME_PARTS = ("use", "text", "family", "given", "prefix", "suffix")
# A reader may find the Patient by what the reduced Patient shows.
_REDUCED_SEARCH = frozenset({"birthdate", "gender"})


def stamp(resource: Resource, logical_id: str, version: int, last_updated: str) -> Resource:
    """The resource as it is served: our id and version, narrative made harmless, all else as it came."""
    content = _content(resource)
    said = cast("Resource", content.get("meta", {}))
    meta = {"versionId": str(version), "lastUpdated": last_updated, **said}
    first = {"resourceType": content["resourceType"], "id": logical_id, "meta": meta}
    return first | {name: child for name, child in content.items() if name not in first}


def content_hash(resource: Resource) -> bytes:
    """SHA-256 of what is served, but for id, version and date: equal for a resource and its stamped form."""
    return hashlib.sha256(_CANONICAL.encode(_content(resource))).digest()


def head_of(
    resource: Resource,
    *,
    version: int,
    last_updated: str,
    source: tuple[str, int, int] | None = None,
    organisation: str = "",
) -> Head:
    """The head of a stamped resource. Without a source it is the person's own."""
    return Head(
        resource_type=resource["resourceType"],
        logical_id=resource["id"],
        version=version,
        last_updated=last_updated,
        labels=labels_of(resource, self_recorded=source is None),
        rules_version=LABEL_RULES_VERSION,
        dated=dated(resource),
        is_current=is_current(resource),
        references=references.references_in(resource),
        search=values_of(resource),
        content_hash=content_hash(resource),
        title=title_of(resource),
        source=source,
        organisation=organisation,
    )


def render_for_reader(body: bytes, cut_keys: Collection[Key]) -> bytes:
    """The served bytes for a reader from whom `cut_keys` (closure.Visible.cut) are cut.

    Without any, the same bytes.
    The version and the date go too: a change to a hidden part would move them.
    """
    if not cut_keys:
        return body
    resource = decode_checked(body)
    if CONTACT in cut_keys:
        resource = without_contact(resource)
    if REDUCED in cut_keys:
        resource = reduce_patient(resource, show_contact=CONTACT not in cut_keys)
    cut = references.cut(resource, lambda kind, name: (kind, name) not in cut_keys)
    # The closure has already let go of every item that cannot stand without what is cut.
    assert cut.is_valid
    return encode(_without_version(references.without_narrative(cut.resource)))


def head_for_reader(head: Head, cut_keys: Collection[Key]) -> Head:
    """The head a reader's search may look at: nothing is found by what is cut.

    Its version, date of change and content hash are blank: all would move with a hidden part.
    """
    if not cut_keys:
        return head
    kept = tuple(r for r in head.references if (r.resource_type, r.logical_id) not in cut_keys)
    search = _search_of_patient(head) if REDUCED in cut_keys else _search_by(head, kept)
    return msgspec.structs.replace(
        head, search=search, references=kept, version=0, last_updated="", content_hash=b""
    )


def _search_of_patient(head: Head) -> dict[str, tuple[str, ...]]:
    nhs_number = tuple(
        value for value in head.search.get("identifier", ()) if value.startswith(f"{NHS_NUMBER_SYSTEM}|")
    )
    shown = {name: values for name, values in head.search.items() if name in _REDUCED_SEARCH}
    return shown | ({"identifier": nhs_number} if nhs_number else {})


def _search_by(head: Head, kept: tuple[HeldReference, ...]) -> dict[str, tuple[str, ...]]:
    """The search values left when only these references are: other values of an element that went go too."""
    shown = {f"{reference.resource_type}/{reference.logical_id}" for reference in kept}
    elements = {r.path.split(".")[1] for r in head.references if r not in kept}
    search: dict[str, tuple[str, ...]] = {}
    for name, values in head.search.items():
        param = CATALOGUE[head.resource_type].search.get(name)
        if param is None or param.kind == "reference":
            left = tuple(value for value in values if value in shown)
        elif any(path.partition(".")[0] in elements for path in param.paths):
            left = ()
        else:
            left = values
        if left:
            search[name] = left
    return search


def reduce_patient(patient: Resource, *, show_contact: bool) -> Resource:
    """What every reader sees of the person: name, birth date, gender, NHS number, shared contact details."""
    kept: Resource = {name: patient[name] for name in ("resourceType", "id") if name in patient}
    if profile := value_at(patient, "meta", "profile"):
        kept["meta"] = {"profile": profile}
    identifiers = [
        {"system": identifier["system"], "value": identifier["value"]}
        for identifier in objects_in(patient.get("identifier"))
        if identifier.get("system") == NHS_NUMBER_SYSTEM and "value" in identifier
    ]
    if identifiers:
        kept["identifier"] = identifiers
    names = _present_names(patient)
    if names:
        kept["name"] = names
    shown = ["gender", "birthDate", *(("telecom", "address", "contact") if show_contact else ())]
    return kept | {name: patient[name] for name in shown if name in patient}


def without_contact(value: Any) -> Any:
    """The value without any address, telephone number or the like, at whatever depth."""
    if isinstance(value, list):
        elements = [without_contact(element) for element in cast("list[Any]", value)]
        return [element for element in elements if not _is_hollow(element)]
    if not isinstance(value, dict):
        return value
    element = cast("Resource", value)
    kept = {
        name: without_contact(child) for name, child in element.items() if not is_contact_element(name, child)
    }
    return {name: child for name, child in kept.items() if not _is_hollow(child)}


def with_tag(resource: Resource, code: str, display: str) -> Resource:
    """The resource with one of our tags, such as "questioned by the person"."""
    meta = cast("Resource", resource.get("meta", {}))
    tag = {"system": f"{OWN_NAMESPACE}tag", "code": code, "display": display}
    return {**resource, "meta": {**meta, "tag": [*objects_in(meta.get("tag")), tag]}}


def with_extension(resource: Resource, name: str, value: Resource) -> Resource:
    """The resource with one of our extensions; `value` is its value or child extensions."""
    extension = {"url": f"{OWN_NAMESPACE}extension:{name}", **value}
    return {**resource, "extension": [*objects_in(resource.get("extension")), extension]}


def _content(resource: Resource) -> Resource:
    """What a source said, without what we set ourselves, in the harmless form in which it is served."""
    content = {name: child for name, child in sanitised(resource).items() if name not in {"id", "_id"}}
    meta = {
        name: child
        for name, child in cast("Resource", content.pop("meta", {})).items()
        if name.removeprefix("_") not in {"versionId", "lastUpdated"}
    }
    content, meta = _without_ours(content), _without_ours(meta)
    return content | ({"meta": meta} if meta else {})


def _without_ours(element: Resource) -> Resource:
    """The element without tags and extensions under our own name, which nobody else may say."""
    kept = dict(element)
    for name in _MAY_NAME_US & element.keys():
        kept[name] = [each for each in objects_in(element[name]) if not _is_ours(each)]
        if not kept[name]:
            del kept[name]
    return kept


def _is_ours(tag_or_extension: Resource) -> bool:
    name = tag_or_extension.get("system", tag_or_extension.get("url", ""))
    return str(name).casefold().startswith(OWN_NAMESPACE)


def _without_version(resource: Resource) -> Resource:
    hidden = {"versionId", "lastUpdated"}
    meta = {name: c for name, c in cast("Resource", resource.get("meta", {})).items() if name not in hidden}
    if meta:
        return {**resource, "meta": meta}
    return {name: child for name, child in resource.items() if name != "meta"}


def _present_names(patient: Resource) -> list[Resource]:
    """The names in use now: a former name can give away what nobody was told."""
    names = objects_in(patient.get("name"))
    present = [name for name in names if name.get("use") not in _FORMER_NAMES and not _has_ended(name)]
    return [{part: name[part] for part in _NAME_PARTS if part in name} for name in present or names[:1]]


def _has_ended(name: Resource) -> bool:
    period = name.get("period")
    return isinstance(period, dict) and "end" in period


def _is_hollow(value: Any) -> bool:
    """Whether nothing is left of an element: an extension with neither value nor extensions counts too."""
    if isinstance(value, dict):
        return not cast("Resource", value).keys() - {"id", "url"}
    return isinstance(value, list) and not value
