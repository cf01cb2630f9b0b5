from uuid import UUID

import msgspec
import pytest

from server.audit.entry import LogEntry, Who, grant_key, open_entry, seal_entry
from server.storage.sealing import SealBroken, Sealer

RECORD = UUID(int=1)
SEALER = Sealer.of_record(RECORD, bytes(range(32)))
OTHER = Sealer.of_record(UUID(int=2), bytes(range(32)))
ENTRY = LogEntry(
    kind="search",
    who=Who(
        subject="cis2:1", name="Dr Asha Patel", role="GP", organisation="Beeston Practice", assurance="AAL3"
    ),
    sentence="Dr Asha Patel looked for your results.",
    grant_id=UUID(int=3),
    grant_version=2,
    purpose="TREAT",
    items=(("Observation", "a", "1"),),
    listed=12,
    query="code=4548-4",
)


def test_an_entry_opens_to_itself():
    assert open_entry(SEALER, 7, seal_entry(SEALER, 7, ENTRY)) == ENTRY


def test_an_entry_opens_in_its_own_place_and_record_alone():
    sealed = seal_entry(SEALER, 7, ENTRY)
    for sealer, n in ((SEALER, 6), (SEALER, 8), (OTHER, 7)):
        with pytest.raises(SealBroken):
            open_entry(sealer, n, sealed)


def test_the_same_entry_is_never_sealed_alike():
    assert seal_entry(SEALER, 1, ENTRY) != seal_entry(SEALER, 1, ENTRY)


def test_nothing_of_an_entry_shows_in_its_sealed_form():
    sealed = seal_entry(SEALER, 1, ENTRY)
    for word in (b"Patel", b"Observation", b"search", b"TREAT", UUID(int=3).bytes):
        assert word not in sealed


def test_a_very_long_list_of_items_is_sealed():
    items = tuple(("Observation", str(UUID(int=number)), "1") for number in range(5_000))
    entry = msgspec.structs.replace(ENTRY, kind="export", items=items)
    assert open_entry(SEALER, 1, seal_entry(SEALER, 1, entry)).items == items


def test_entries_of_one_grant_are_found_under_one_key():
    assert grant_key(SEALER, UUID(int=3)) == grant_key(SEALER, UUID(int=3))
    assert grant_key(SEALER, UUID(int=3)) != grant_key(SEALER, UUID(int=4))
    assert UUID(int=3).bytes != grant_key(SEALER, UUID(int=3))
