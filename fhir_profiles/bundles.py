"""What a Bundle's envelope must be, apart from the resources in it (https://hl7.org/fhir/R4/bundle.html)."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import msgspec

from fhir_profiles.issues import Issue
from fhir_profiles.parse import BundleScan, EntrySlice
from fhir_profiles.walk import Walk

BundleKind = Literal["transaction", "collection", "document"]
KINDS: frozenset[str] = frozenset({"transaction", "collection", "document"})


class EntryResource(msgspec.Struct, frozen=True):
    """What the rules of an envelope need to know of the resource in an entry; empty when there is none."""

    resource_type: str = ""
    version_id: str = ""


def kind_of(scan: BundleScan) -> BundleKind | None:
    """The kind of Bundle this is, when it is one of those we take as an extract."""
    kind = scan.envelope.get("type")
    is_taken = scan.envelope.get("resourceType") == "Bundle" and isinstance(kind, str) and kind in KINDS
    return cast("BundleKind", kind) if is_taken else None


def envelope_issues(scan: BundleScan, resources: Sequence[EntryResource]) -> tuple[Issue, ...]:
    """What is wrong with the envelope; `resources` are told in the order of the entries."""
    assert len(resources) == len(scan.entries)
    walk = Walk()
    walk.resource(scan.envelope, None)
    for entry in scan.entries:
        if entry.envelope:
            walk.element(entry.envelope, "Bundle.entry", (((None, "entry")), entry.index))
    if walk.issues:
        return tuple(walk.issues)
    if kind_of(scan) is None:
        detail = "We take Bundles of type transaction, collection and document."
        return (Issue(code="not-supported", rule="bundle-type", pointer="/type", detail=detail),)
    return (
        *_entry_rules(scan, resources),
        *_document_rules(scan, resources),
        *_repeated_urls(scan, resources),
    )


def positions_by_reference(entries: Sequence[EntrySlice], names: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Where each thing stands that a reference in the Bundle can name: by `fullUrl`, and by `Type/id`.

    `names` are the (type, id) of each entry's resource, "" where there is none. The first of several wins;
    the Bundle's own rules refuse two alike.
    """
    positions: dict[str, int] = {}
    for entry, (resource_type, logical_id) in zip(entries, names, strict=True):
        if entry.full_url:
            positions.setdefault(entry.full_url, entry.index)
        if resource_type and logical_id:
            positions.setdefault(f"{resource_type}/{logical_id}", entry.index)
    return positions


def _entry_rules(scan: BundleScan, resources: Sequence[EntryResource]) -> Iterator[Issue]:
    is_transaction = scan.envelope["type"] == "transaction"
    for entry, resource in zip(scan.entries, resources, strict=True):
        if is_transaction and "request" not in entry.envelope:
            yield _broken(entry, "bdl-3", "An entry of a transaction needs a request.")
        if not is_transaction and "request" in entry.envelope:
            yield _broken(entry, "bdl-3", "Only an entry of a transaction may have a request.")
        if "response" in entry.envelope:
            yield _broken(entry, "bdl-4", "Only an entry of an answer may have a response.")
        if "search" in entry.envelope:
            yield _broken(entry, "bdl-2", "Only an entry of a search result may have a search part.")
        if not resource.resource_type and "request" not in entry.envelope:
            yield _broken(entry, "bdl-5", "An entry needs a resource or a request.")
        if entry.full_url and "/_history/" in entry.full_url:
            yield _broken(entry, "bdl-8", "A fullUrl must not name a version.")


def _document_rules(scan: BundleScan, resources: Sequence[EntryResource]) -> Iterator[Issue]:
    if scan.envelope["type"] != "document":
        return
    if not resources or resources[0].resource_type != "Composition":
        detail = "The first entry of a document must be a Composition."
        yield Issue(code="invariant", rule="bdl-11", pointer="/entry/0", detail=detail)
    identifier: dict[str, Any] = scan.envelope.get("identifier", {})
    if not {"system", "value"} <= identifier.keys():
        detail = "A document needs an identifier with a system and a value."
        yield Issue(code="invariant", rule="bdl-9", pointer="/identifier", detail=detail)
    if "timestamp" not in scan.envelope:
        detail = "A document needs a timestamp."
        yield Issue(code="invariant", rule="bdl-10", pointer="/timestamp", detail=detail)


def _repeated_urls(scan: BundleScan, resources: Sequence[EntryResource]) -> Iterator[Issue]:
    seen: set[tuple[str, str]] = set()
    for entry, resource in zip(scan.entries, resources, strict=True):
        if entry.full_url:
            name = (entry.full_url, resource.version_id)
            if name in seen:
                yield _broken(entry, "bdl-7", "Two entries have the same fullUrl and version.")
            seen.add(name)


def _broken(entry: EntrySlice, rule: str, detail: str) -> Issue:
    return Issue(code="invariant", rule=rule, pointer=f"/entry/{entry.index}", detail=detail)
