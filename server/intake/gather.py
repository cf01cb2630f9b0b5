"""Opens an uploaded Bundle and reads from it all that must be known before any item is looked at.

Heavy and synchronous: meant for a worker thread. Keeps the bytes and small facts, never the decoded items.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from fhir_profiles.bundles import EntryResource, envelope_issues, kind_of
from fhir_profiles.issues import Issue
from fhir_profiles.labels import is_hidden_from_patient
from fhir_profiles.parse import BundleScan, EntrySlice, JsonRefused, decode_checked, scan_bundle
from server.errors import BodyRefused, HeldError, RuleBroken, TooLarge
from server.intake.facts import (
    EntryFacts,
    PatientFacts,
    PersonClaims,
    SubjectClaim,
    entry_facts,
    objects_of,
    patient_facts,
    subject_claims,
    text_of,
    unversioned,
)
from server.intake.naming import content_key_of

# bdl-11 is about the first entry and yet about the document.
WHOLE_BUNDLE_RULES: Final = frozenset({"bdl-11"})
TOO_LARGE_CODES: Final = frozenset({"body-too-large", "array-too-long", "too-many-values"})

# Names are all that is wanted of these, so that a string that only looks like a reference does no harm.
_RELATIVE_REFERENCE = re.compile(rb'"reference"\s*:\s*"([A-Z][A-Za-z]{1,63}/[A-Za-z0-9\-.]{1,64})"')


class Extract(msgspec.Struct, frozen=True, kw_only=True):
    """An uploaded Bundle, sound as JSON: its bytes, where its resources stand, and what it says of itself.

    `faults` are what is wrong with single entries, apart from their resources. `hidden` are the entries their
    source hides from the person; `unresolved` are relative references that lead outside the extract.
    """

    raw: bytes
    kind: str
    places: tuple[tuple[int, int], ...]
    entries: tuple[EntryFacts, ...]
    claims: PersonClaims
    types: Mapping[str, str]
    hidden: frozenset[int]
    unresolved: frozenset[str]
    faults: Mapping[int, tuple[Issue, ...]]

    def resource(self, index: int) -> dict[str, Any]:
        """The entry's resource, decoded afresh; empty when the entry has none."""
        start, end = self.places[index]
        return decode_checked(self.raw[start:end]) if end > start else {}

    def content_key(self, index: int) -> str:
        """What the entry's item says, free of its place and names."""
        return content_key_of(self.resource(index))


def read_extract(raw: bytes) -> Extract:
    """The extract in these bytes; BodyRefused, TooLarge or RuleBroken with the rule and the pointer."""
    try:
        scan = scan_bundle(raw)
        return _gathered(raw, scan, _refuse_other_kinds(scan))
    except JsonRefused as refused:
        raise _refusal(refused) from refused


def _refuse_other_kinds(scan: BundleScan) -> str:
    if scan.envelope.get("resourceType") != "Bundle":
        raise RuleBroken("An extract is one FHIR Bundle.", pointer="/resourceType")
    kind = kind_of(scan)
    if kind is None:
        raise RuleBroken("We take Bundles of type transaction, collection and document.", pointer="/type")
    return kind


def _envelope_faults(scan: BundleScan, resources: Sequence[EntryResource]) -> dict[int, tuple[Issue, ...]]:
    """What is wrong with single entries. RuleBroken for what is wrong with the Bundle as a whole."""
    faults: dict[int, tuple[Issue, ...]] = {}
    for issue in envelope_issues(scan, resources):
        step = issue.pointer.split("/")[1:3]
        if len(step) < 2 or step[0] != "entry" or issue.rule in WHOLE_BUNDLE_RULES:
            raise RuleBroken(f"{issue.detail} (rule {issue.rule})", pointer=issue.pointer or None)
        faults[int(step[1])] = (*faults.get(int(step[1]), ()), issue)
    return faults


class _Gathering:
    """What is read from the entries, one after the other."""

    def __init__(self) -> None:
        self.entries: list[EntryFacts] = []
        self.patients: list[PatientFacts] = []
        self.subjects: set[SubjectClaim] = set()
        self.types: dict[str, str] = {}
        self.hidden: set[int] = set()
        self.relative: set[str] = set()
        self.resources: list[EntryResource] = []

    def take(self, raw: bytes, entry: EntrySlice) -> None:
        resource = _opened(raw, entry)
        facts = entry_facts(entry.index, resource, entry.full_url or "", _method(entry))
        self.entries.append(facts)
        self.resources.append(EntryResource(facts.resource_type, _version_id(resource)))
        if facts.resource_type == "Patient":
            self.patients.append(patient_facts(resource, facts.full_url))
        self.subjects.update(subject_claims(resource))
        # A reference that says nothing must find nothing, so that entries without a name leave no mark here.
        if facts.full_url:
            self.types.setdefault(unversioned(facts.full_url), facts.resource_type)
        if facts.source_id:
            self.types.setdefault(f"{facts.resource_type}/{facts.source_id}", facts.resource_type)
        if is_hidden_from_patient(resource):
            self.hidden.add(entry.index)
        for found in _RELATIVE_REFERENCE.finditer(raw, entry.start, entry.end):
            self.relative.add(found[1].decode())

    def claims(self) -> PersonClaims:
        subjects = frozenset(_knowing_types(claim, self.types) for claim in self.subjects)
        return PersonClaims(patients=tuple(self.patients), subjects=subjects)


def _gathered(raw: bytes, scan: BundleScan, kind: str) -> Extract:
    gathering = _Gathering()
    for entry in scan.entries:
        gathering.take(raw, entry)
    return Extract(
        raw=raw,
        kind=kind,
        places=tuple((entry.start, entry.end) for entry in scan.entries),
        entries=tuple(gathering.entries),
        claims=gathering.claims(),
        types=gathering.types,
        faults=_envelope_faults(scan, gathering.resources),
        hidden=frozenset(gathering.hidden),
        unresolved=frozenset(gathering.relative - gathering.types.keys()),
    )


def _opened(raw: bytes, entry: EntrySlice) -> dict[str, Any]:
    if entry.end == entry.start:
        return {}
    try:
        return decode_checked(raw[entry.start : entry.end])
    except JsonRefused as refused:
        pointer = f"/entry/{entry.index}/resource{refused.pointer}"
        raise JsonRefused(refused.code, refused.detail, pointer=pointer) from refused


def _knowing_types(claim: SubjectClaim, types: Mapping[str, str]) -> SubjectClaim:
    if types.get(claim.reference, "Patient") != "Patient":
        return msgspec.structs.replace(claim, is_person=False)
    return claim


def _method(entry: EntrySlice) -> str:
    return next((text_of(request.get("method")) for request in objects_of(entry.envelope.get("request"))), "")


def _version_id(resource: Mapping[str, Any]) -> str:
    return next((text_of(meta.get("versionId")) for meta in objects_of(resource.get("meta"))), "")


def _refusal(refused: JsonRefused) -> HeldError:
    refusal = TooLarge if refused.code in TOO_LARGE_CODES else BodyRefused
    return refusal(f"{refused.detail} (rule {refused.code})", pointer=refused.pointer or None)
