"""The served id of each item of an extract, and what its references become. Pure.

An id is a MAC under the record's key over organisation, type and the first thing on this ladder that the
source gives: its first identifier with a system, else its own id, else its content wherever it stands. A
re-send therefore finds the same items. Where entries of one extract share an identifier, all of them step
down: identifier with source id, then with the content too. Entries still alike are the same item sent twice.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, cast
from urllib.parse import unquote
from uuid import UUID

import msgspec

from server.intake.facts import EntryFacts, Identifier, reference_type, unversioned

Mac = Callable[..., bytes]
"""A keyed hash of text parts, 16 bytes, already bound to the record and the organisation."""
ContentKey = Callable[[int], str]
"""The content key of the entry at an index."""
ItemName = tuple[str, str]
"""(resource_type, logical_id)."""


class Names(msgspec.Struct, frozen=True):
    """The names given to an extract's entries.

    `ids` has one id per entry ("" for Patients). `references` maps what the extract's references say to the
    items meant. `repeats` are entries that send an item of the same extract again. `given` are all the names.
    """

    ids: tuple[str, ...]
    patient_id: str
    references: Mapping[str, ItemName]
    conditional: Mapping[tuple[str, Identifier], ItemName]
    repeats: frozenset[int]
    given: frozenset[ItemName]


def name_entries(
    entries: Sequence[EntryFacts], mac: Mac, content_key: ContentKey, *, patient_id: str, is_transaction: bool
) -> Names:
    """Names every entry; Patients are all the record's one Patient."""
    ids: list[str] = [""] * len(entries)
    repeats: set[int] = set()
    groups: dict[tuple[str, ...], list[EntryFacts]] = defaultdict(list)
    for entry in entries:
        if entry.resource_type != "Patient":
            groups[first_key(entry, content_key, is_transaction=is_transaction)].append(entry)
    for key, group in groups.items():
        for entry, own_key, is_repeat in _name_group(key, group, content_key):
            ids[entry.index] = served_id(mac, own_key)
            if is_repeat:
                repeats.add(entry.index)
    for entry in entries:
        if entry.resource_type == "Patient":
            ids[entry.index] = patient_id
    return Names(
        ids=tuple(ids),
        patient_id=patient_id,
        references=_reference_index(entries, ids),
        conditional=_conditional_index(entries, ids),
        repeats=frozenset(repeats),
        given=frozenset((entry.resource_type, ids[entry.index]) for entry in entries),
    )


def first_key(entry: EntryFacts, content_key: ContentKey, *, is_transaction: bool) -> tuple[str, ...]:
    """The first rung of the ladder this entry can stand on."""
    if entry.identifiers:
        return identifier_key(entry.resource_type, entry.identifiers[0])
    own_id = entry.source_id or _identity_in_url(entry.full_url, is_transaction=is_transaction)
    if own_id:
        return source_id_key(entry.resource_type, own_id)
    return (entry.resource_type, "content", content_key(entry.index))


def identifier_key(resource_type: str, identifier: Identifier) -> tuple[str, ...]:
    """What an item with this first identifier is named by."""
    return (resource_type, "identifier", *identifier)


def source_id_key(resource_type: str, source_id: str) -> tuple[str, ...]:
    """What an item without identifiers is named by."""
    return (resource_type, "id", source_id)


def served_id(mac: Mac, key: Iterable[str]) -> str:
    """The served id for a key: a UUID that says nothing of the source's names."""
    return str(UUID(bytes=mac(*key), version=4))


def content_key_of(resource: Mapping[str, Any]) -> str:
    """A key of what an item says, free of its place, ids and the temporary names of one transaction."""
    said = {name: value for name, value in resource.items() if name not in {"id", "meta", "text"}}
    return sha256(msgspec.json.encode(_without_temporary_names(said), order="sorted")).hexdigest()


def new_reference(reference: str, names: Names, mac: Mac, known: Mapping[str, ItemName]) -> str | None:
    """What a reference of the extract becomes in the served bytes; None leaves it as the source wrote it.

    A relative reference to something not in this extract gets the id its target has (`known`), or would have,
    so that it resolves when the target is sent. It can never name another organisation's item.
    """
    plain = unversioned(reference)
    found = names.references.get(plain) or known.get(plain)
    if found is not None:
        return "/".join(found)
    if "?" in plain:
        return _conditional(plain, names, mac)
    if plain.startswith(("#", "urn:")) or ":" in plain.split("/", 1)[0]:
        return None
    resource_type, _, source_id = plain.partition("/")
    if not source_id or "/" in source_id or not resource_type[:1].isupper():
        return None
    return f"{resource_type}/{served_id(mac, source_id_key(resource_type, source_id))}"


def _conditional(reference: str, names: Names, mac: Mac) -> str | None:
    resource_type = reference_type(reference)
    system, _, value = unquote(reference.partition("?identifier=")[2]).partition("|")
    if not system or not value or "&" in value:
        return None
    found = names.conditional.get((resource_type, (system, value)))
    if found is not None:
        return "/".join(found)
    return f"{resource_type}/{served_id(mac, identifier_key(resource_type, (system, value)))}"


def _name_group(
    key: tuple[str, ...], group: list[EntryFacts], content_key: ContentKey
) -> Iterator[tuple[EntryFacts, tuple[str, ...], bool]]:
    """Each entry of those that share a key, the key it gets, and whether it repeats an entry before it."""
    if len(group) == 1:
        yield group[0], key, False
        return
    for source_key, sharers in _grouped(group, lambda entry: (*key, "id", entry.source_id)).items():
        if len(sharers) == 1 and sharers[0].source_id:
            yield sharers[0], source_key, False
            continue
        alike = _grouped(sharers, lambda entry: (content_key(entry.index),))
        for (content,), same in alike.items():
            # One item sent several times keeps the name it would have had alone.
            is_all_one = len(same) == len(group)
            for place, entry in enumerate(same):
                yield entry, key if is_all_one else (*source_key, "content", content), place > 0


def _grouped(
    entries: Iterable[EntryFacts], key_of: Callable[[EntryFacts], tuple[str, ...]]
) -> dict[tuple[str, ...], list[EntryFacts]]:
    groups: dict[tuple[str, ...], list[EntryFacts]] = defaultdict(list)
    for entry in entries:
        groups[key_of(entry)].append(entry)
    return groups


def _reference_index(entries: Sequence[EntryFacts], ids: Sequence[str]) -> dict[str, ItemName]:
    """Later entries do not take a name from earlier ones: the first entry of a name is the one meant."""
    index: dict[str, ItemName] = {}
    for entry in entries:
        name = (entry.resource_type, ids[entry.index])
        if entry.full_url:
            index.setdefault(unversioned(entry.full_url), name)
        if entry.source_id:
            index.setdefault(f"{entry.resource_type}/{entry.source_id}", name)
    for entry in entries:
        if entry.full_url.startswith(("http://", "https://")):
            tail = "/".join(unversioned(entry.full_url).rsplit("/", 2)[-2:])
            index.setdefault(tail, (entry.resource_type, ids[entry.index]))
    return index


def _conditional_index(
    entries: Sequence[EntryFacts], ids: Sequence[str]
) -> dict[tuple[str, Identifier], ItemName]:
    index: dict[tuple[str, Identifier], ItemName] = {}
    for entry in entries:
        for identifier in entry.identifiers:
            index.setdefault((entry.resource_type, identifier), (entry.resource_type, ids[entry.index]))
    return index


def _identity_in_url(full_url: str, *, is_transaction: bool) -> str:
    """A `urn:uuid:` is an identity in a document or collection, and a passing name in a transaction."""
    if full_url.startswith("urn:") and is_transaction:
        return ""
    return unversioned(full_url)


def _without_temporary_names(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {
            name: "" if _is_temporary(name, inner) else _without_temporary_names(inner)
            for name, inner in members
        }
    if isinstance(value, list):
        return [_without_temporary_names(inner) for inner in cast("list[Any]", value)]
    return value


def _is_temporary(name: str, value: Any) -> bool:
    return name == "reference" and isinstance(value, str) and value.startswith("urn:")
