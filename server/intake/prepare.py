"""From one entry of an extract to one item: verdict, served bytes, head. No I/O; meant for a worker thread.

A fault in one entry is that entry's verdict and nobody else's: it is quarantined alone, with rule and
pointer.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import msgspec

from fhir_profiles import issues, parse, references, served
from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.heads import Head
from fhir_profiles.issues import Issue
from fhir_profiles.labels_by_type import SUPPORTING_TYPES
from fhir_profiles.validate import validate
from server.http.times import to_wire
from server.intake.facts import EntryFacts, is_about_another_thing, objects_of, reference_type, text_of
from server.intake.gather import Extract
from server.intake.naming import ItemName, Mac, Names, new_reference
from server.intake.wire import ItemVerdict, Verdict

# A source's own Consent would read as a grant of the citizen's, its Task as a correction of theirs.
ONLY_OURS: Final = frozenset({"Consent", "Task", "Communication", "AuditEvent"})
_NOT_CLINICAL: Final = SUPPORTING_TYPES | {"Patient"}


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What an extract's entries are prepared against.

    `hidden` are items their source hides, in this extract or before; `held_back` those of before. `known` are
    names its source used in earlier extracts, `living` items of the record that this one's references name.
    """

    extract: Extract
    extract_id: str
    names: Names
    mac: Mac
    organisation: str
    hidden: frozenset[ItemName]
    held_back: frozenset[ItemName]
    known: Mapping[str, ItemName]
    living: frozenset[ItemName]

    def resolves(self, name: ItemName) -> bool:
        """Whether the person will know of an item by this name once the extract is published."""
        return name not in self.hidden and (name in self.living or name in self.names.given)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A sound item, not yet compared with what is held."""

    index: int
    name: ItemName
    source_id: str
    resource: dict[str, Any]
    content_hash: bytes
    is_hidden: bool


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """An item's next version, ready to be sealed."""

    index: int
    name: ItemName
    base_version: int
    head: Head
    body: bytes

    @property
    def version(self) -> int:
        """What it is numbered when it is published on its base."""
        return self.base_version + 1


def as_if_absent(setting: Setting) -> Setting:
    """The setting in which what is hidden has no name.

    A reference to it becomes what it would be if its target had never been sent: the person, who may compare
    with the source's bytes, cannot tell the two apart (ADR 0027).
    """
    hidden = _hidden_with(setting)
    names, known = setting.names, setting.known
    seen = msgspec.structs.replace(
        names,
        references={text: name for text, name in names.references.items() if name not in hidden},
        conditional={text: name for text, name in names.conditional.items() if name not in hidden},
    )
    known = {text: name for text, name in known.items() if name not in hidden}
    return msgspec.structs.replace(setting, names=seen, known=known, hidden=hidden)


def _hidden_with(setting: Setting) -> frozenset[ItemName]:
    """What is hidden, and what cannot stand without it."""
    hidden, found = setting.hidden, set(setting.hidden)
    while found:
        fallen = [_fallen(setting, entry, hidden) for entry in setting.extract.entries]
        found = {name for name in fallen if name is not None}
        hidden |= found
    return hidden


def _fallen(setting: Setting, entry: EntryFacts, hidden: frozenset[ItemName]) -> ItemName | None:
    name = (entry.resource_type, setting.names.ids[entry.index])
    if name in hidden or entry.resource_type not in CATALOGUE:
        return None
    resource = setting.extract.resource(entry.index)
    rewritten = references.rewrite(resource, partial(_renamed, setting, frozenset[str]()))
    cut = references.cut(rewritten, lambda kind, logical_id: (kind, logical_id) not in hidden)
    return None if cut.is_valid else name


def examine(setting: Setting, index: int) -> Candidate | ItemVerdict:
    """The sound item of one entry, or the entry's verdict when nothing further is to be done with it."""
    entry = setting.extract.entries[index]
    verdict = _verdict_by_kind(setting, entry)
    if verdict is not None:
        return verdict
    resource = setting.extract.resource(index)
    found = [issue for issue in validate(resource) if issue.severity in {"error", "fatal"}]
    if found:
        return quarantined(entry, found)
    if is_about_another_thing(resource, setting.extract.types):
        return quarantined(entry, [_fault("subject-not-the-person", "The subject is not a person.")])
    return _candidate(setting, entry, resource)


def render(candidate: Candidate, setting: Setting, base_version: int, now: datetime) -> Rendered:
    """The item's next version: our id and meta on what the source said, and the head drawn from it."""
    start, end = setting.extract.places[candidate.index]
    version, last_updated = base_version + 1, to_wire(now)
    stamped = served.stamp(candidate.resource, candidate.name[1], version, last_updated)
    head = served.head_of(
        stamped,
        version=version,
        last_updated=last_updated,
        source=(setting.extract_id, start, end - start),
        organisation=setting.organisation,
    )
    return Rendered(
        index=candidate.index,
        name=candidate.name,
        base_version=base_version,
        head=head,
        body=parse.encode(stamped),
    )


def verdict_of(candidate: Candidate, verdict: Verdict, version: int) -> ItemVerdict:
    """The verdict on a sound item."""
    return ItemVerdict(
        pointer=pointer_of(candidate.index),
        type=candidate.name[0],
        source_id=candidate.source_id or None,
        id=candidate.name[1],
        version=version,
        verdict=verdict,
    )


def quarantined(entry: EntryFacts, found: Sequence[Issue]) -> ItemVerdict:
    """The verdict on an item that breaks a rule: where, which rule, and every issue found."""
    first = found[0].pointer
    return ItemVerdict(
        pointer=first if first.startswith("/entry/") else pointer_of(entry.index) + first,
        type=entry.resource_type,
        source_id=entry.source_id or None,
        verdict="quarantined",
        rule=found[0].rule,
        outcome=issues.operation_outcome(found, entry.resource_type),
    )


def pointer_of(index: int) -> str:
    """Where an entry's resource stands in its Bundle."""
    return f"/entry/{index}/resource"


def _verdict_by_kind(setting: Setting, entry: EntryFacts) -> ItemVerdict | None:
    """The verdict on entries that carry nothing to hold."""
    if faults := setting.extract.faults.get(entry.index):
        return quarantined(entry, faults)
    if not entry.resource_type:
        if entry.method in {"DELETE", "GET", "HEAD"}:
            return _closed(entry, "not-supported", f"request-{entry.method.lower()}")
        return quarantined(entry, [_fault("resource-type", "The entry has no resource with a resourceType.")])
    if entry.resource_type == "Patient":
        return _closed(entry, "unchanged", "patient-identity", setting.names.ids[entry.index])
    if entry.resource_type not in CATALOGUE or entry.resource_type in ONLY_OURS:
        return _closed(entry, "not-supported", "type-not-held")
    if entry.index in setting.names.repeats:
        return _closed(entry, "unchanged", "sent-twice", setting.names.ids[entry.index])
    return None


def _closed(entry: EntryFacts, verdict: Verdict, rule: str, logical_id: str | None = None) -> ItemVerdict:
    return ItemVerdict(
        pointer=pointer_of(entry.index),
        type=entry.resource_type,
        source_id=entry.source_id or None,
        id=logical_id,
        verdict=verdict,
        rule=rule,
    )


def _candidate(setting: Setting, entry: EntryFacts, resource: dict[str, Any]) -> Candidate | ItemVerdict:
    patients = _contained_patients(resource)
    rewritten = references.rewrite(resource, partial(_renamed, setting, patients))
    if patients:
        rewritten = _without_contained(rewritten, patients)
    name = (entry.resource_type, setting.names.ids[entry.index])
    is_hidden = name in setting.hidden
    if not is_hidden:
        rewritten = references.without_displays(rewritten, partial(_tells_of_nothing, setting))
    return Candidate(
        index=entry.index,
        name=name,
        source_id=entry.source_id,
        resource=rewritten,
        content_hash=served.content_hash(rewritten),
        is_hidden=is_hidden,
    )


def _renamed(setting: Setting, patients: frozenset[str], reference: str) -> str | None:
    if reference[:1] == "#" and reference[1:] in patients:
        return f"Patient/{setting.names.patient_id}"
    return new_reference(reference, setting.names, setting.mac, setting.known)


def _tells_of_nothing(setting: Setting, reference: str) -> bool:
    """Whether a display beside this reference could say what a hidden clinical item says.

    Of what is not there it could be the same, so that both lose it alike.
    """
    if reference.startswith("#") or setting.resolves(references.target_of(reference)):
        return False
    return reference_type(reference) not in _NOT_CLINICAL


def _contained_patients(resource: Mapping[str, Any]) -> frozenset[str]:
    """Ids of the Patients inside the item: they are the record's person, who is not copied into items."""
    return frozenset(
        text_of(inner.get("id"))
        for inner in objects_of(resource.get("contained"))
        if inner.get("resourceType") == "Patient"
    )


def _without_contained(resource: dict[str, Any], ids: frozenset[str]) -> dict[str, Any]:
    kept = [inner for inner in resource["contained"] if inner.get("id") not in ids]
    if kept:
        return {**resource, "contained": kept}
    return {name: value for name, value in resource.items() if name != "contained"}


def _fault(rule: str, detail: str) -> Issue:
    return Issue(severity="error", code="business-rule", rule=rule, pointer="", detail=detail)
