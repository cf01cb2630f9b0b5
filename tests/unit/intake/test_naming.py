from functools import partial
from uuid import UUID

from server.intake.facts import EntryFacts
from server.intake.naming import Names, content_key_of, name_entries, new_reference
from server.storage.sealing import Sealer

SEALER = Sealer.of_record(UUID(int=1), bytes(32))
MAC = partial(SEALER.mac, "served-id", "A1")
PATIENT = "11111111-1111-4111-8111-111111111111"


def entry(
    index: int,
    source_id: str = "",
    identifier: str = "",
    full_url: str = "",
    resource_type: str = "Observation",
) -> EntryFacts:
    identifiers = (("s", identifier),) if identifier else ()
    return EntryFacts(index, resource_type, source_id, full_url, identifiers)


def named(*entries: EntryFacts, contents: str = "", is_transaction: bool = False) -> Names:
    keys = contents or "abcdefgh"
    return name_entries(
        entries, MAC, lambda index: keys[index], patient_id=PATIENT, is_transaction=is_transaction
    )


def test_a_patient_is_the_records_own() -> None:
    assert named(entry(0, "p", resource_type="Patient")).ids == (PATIENT,)


def test_the_identifier_names_an_item_wherever_it_stands() -> None:
    first = named(entry(0, "x", "i1"), entry(1, "y", "i2")).ids
    again = named(entry(0, "other", "i2"), entry(1, "another", "i1")).ids
    assert first == (again[1], again[0])


def test_the_source_id_names_an_item_without_identifier() -> None:
    assert named(entry(0, "x"), contents="a").ids == named(entry(0, "x"), contents="b").ids


def test_the_content_names_an_item_without_any_name() -> None:
    assert named(entry(0), contents="a").ids == named(entry(0), contents="a").ids
    assert named(entry(0), contents="a").ids != named(entry(0), contents="b").ids


def test_names_differ_by_type_and_by_organisation_and_record() -> None:
    observation = named(entry(0, "x")).ids
    assert observation != named(entry(0, "x", resource_type="Condition")).ids
    other_sender = partial(SEALER.mac, "served-id", "A2")
    other_record = partial(Sealer.of_record(UUID(int=1), bytes([1]) * 32).mac, "served-id", "A1")
    for mac in (other_sender, other_record):
        names = name_entries([entry(0, "x")], mac, lambda _: "", patient_id=PATIENT, is_transaction=False)
        assert names.ids != observation


def test_a_urn_is_an_identity_in_a_collection_and_a_passing_name_in_a_transaction() -> None:
    one, two = entry(0, full_url="urn:uuid:1"), entry(0, full_url="urn:uuid:2")
    assert named(one, contents="a").ids != named(two, contents="a").ids
    assert (
        named(one, contents="a", is_transaction=True).ids == named(two, contents="a", is_transaction=True).ids
    )


def test_entries_that_share_an_identifier_are_told_apart_by_source_id() -> None:
    names = named(entry(0, "x", "i"), entry(1, "y", "i"))
    assert len(set(names.ids)) == 2
    assert names.ids == tuple(reversed(named(entry(0, "y", "i"), entry(1, "x", "i")).ids))
    assert not names.repeats


def test_entries_that_share_identifier_and_id_are_told_apart_by_content() -> None:
    names = named(entry(0, "x", "i"), entry(1, "x", "i"), contents="ab")
    assert len(set(names.ids)) == 2
    assert not names.repeats


def test_the_same_item_sent_twice_keeps_its_lone_name_and_is_a_repeat() -> None:
    names = named(entry(0, "x", "i"), entry(1, "x", "i"), contents="aa")
    assert names.ids == (named(entry(0, "x", "i")).ids[0],) * 2
    assert names.repeats == {1}


def test_a_repeat_among_others_is_found() -> None:
    names = named(entry(0, "x", "i"), entry(1, "y", "i"), entry(2, "y", "i"), contents="abb")
    assert names.ids[1] == names.ids[2]
    assert len(set(names.ids)) == 2
    assert names.repeats == {2}


def test_references_inside_the_extract_lead_to_served_items() -> None:
    names = named(entry(0, "x", "i", "urn:uuid:1"), entry(1, "p", resource_type="Patient"))
    served = f"Observation/{names.ids[0]}"
    for reference in (
        "urn:uuid:1",
        "Observation/x",
        "Observation/x/_history/3",
        "Observation?identifier=s|i",
    ):
        assert new_reference(reference, names, MAC, {}) == served
    assert new_reference("Patient/p", names, MAC, {}) == f"Patient/{PATIENT}"


def test_the_tail_of_an_absolute_url_is_a_relative_name() -> None:
    names = named(entry(0, full_url="https://a.example/fhir/Observation/9"))
    served = f"Observation/{names.ids[0]}"
    assert new_reference("https://a.example/fhir/Observation/9", names, MAC, {}) == served
    assert new_reference("Observation/9", names, MAC, {}) == served


def test_a_reference_out_of_the_extract_gets_the_id_its_target_has_or_would_have() -> None:
    later = f"Practitioner/{named(entry(0, 'g', resource_type='Practitioner')).ids[0]}"
    names = named(entry(0, "x"))
    assert new_reference("Practitioner/g", names, MAC, {}) == later
    assert (
        new_reference("Practitioner/g", names, MAC, {"Practitioner/g": ("Practitioner", "k")})
        == "Practitioner/k"
    )
    by_identifier = named(entry(0, "any", "npi", resource_type="Practitioner")).ids[0]
    assert new_reference("Practitioner?identifier=s%7Cnpi", names, MAC, {}) == f"Practitioner/{by_identifier}"


def test_what_cannot_be_ours_is_left_as_the_source_wrote_it() -> None:
    names = named(entry(0, "x"))
    local = ("#inner", "urn:uuid:9", "Observation?code=1", "prose", "a/b/c")
    for reference in (*local, "https://b.example/Observation/x", "mailto:x/y"):
        assert new_reference(reference, names, MAC, {}) is None


def test_a_source_cannot_point_at_a_served_id_it_was_not_given() -> None:
    names = named(entry(0, "x"))
    stolen = "Observation/22222222-2222-4222-8222-222222222222"
    assert new_reference(stolen, names, MAC, {}) != stolen


def test_the_content_key_forgets_place_names_and_narrative() -> None:
    one = {
        "resourceType": "Condition",
        "id": "1",
        "meta": {"lastUpdated": "x"},
        "text": {"div": "a"},
        "subject": {"reference": "urn:uuid:1"},
        "code": {"text": "Asthma"},
    }
    two = {
        "code": {"text": "Asthma"},
        "resourceType": "Condition",
        "subject": {"reference": "urn:uuid:2"},
        "id": "2",
    }
    assert content_key_of(one) == content_key_of(two)
    assert content_key_of(one) != content_key_of(two | {"code": {"text": "Eczema"}})
    assert content_key_of(one) != content_key_of(two | {"subject": {"reference": "Patient/2"}})
