from datetime import date

import msgspec
import pytest

from fhir_profiles.closure import CONTACT, HEADS_IN_ONE_STEP, REDUCED, UNRESOLVED, Visible, close, closing
from fhir_profiles.heads import CATEGORIES, Head, Labels
from fhir_profiles.labels_by_type import categories_of
from fhir_profiles.references import references_in
from fhir_profiles.slices import Slice

TODAY = date(2024, 6, 15)
ALL = Slice(categories=CATEGORIES)


def head(name: str, *refers_to: str, sensitive: tuple[str, ...] = (), contact: bool = False) -> Head:
    """A head of an item named `Type/id`; `refers_to` are `path>Type/id`."""
    resource_type, _, logical_id = name.partition("/")
    resource: dict = {"resourceType": resource_type}
    for reference in refers_to:
        path, _, target = reference.partition(">")
        put(resource, path.split("."), {"reference": target})
    return Head(
        resource_type=resource_type,
        logical_id=logical_id,
        version=1,
        last_updated="",
        labels=Labels(categories_of(resource), sensitive, (), ("contact",) if contact else ()),
        rules_version=1,
        dated="2024-06-01",
        is_current=False,
        references=references_in(resource),
        search={},
        content_hash=b"",
        title="",
        source=("an-extract", 0, 1),
    )


def test_a_provenance_of_ours_is_the_owners_alone_for_it_names_all_that_an_extract_brought() -> None:
    ours = msgspec.structs.replace(head("Provenance/p", "target>Observation/o"), source=None)
    theirs = head("Provenance/q", "target>Observation/o")
    assert names(see(ALL, head("Observation/o"), ours, theirs)) == {"Observation/o", "Provenance/q"}


def put(element: dict, path: list[str], value: dict) -> None:
    if len(path) == 1:
        element.setdefault(path[0], []).append(value)
    else:
        inner: dict = {}
        element.setdefault(path[0], []).append(inner)
        put(inner, path[1:], value)


def see(shared: Slice, *heads: Head) -> Visible:
    return close({(h.resource_type, h.logical_id): h for h in heads}, shared, TODAY)


def names(visible: Visible) -> set[str]:
    return {f"{resource_type}/{logical_id}" for resource_type, logical_id in visible.kept}


def cut_from(visible: Visible, name: str) -> set[str]:
    resource_type, _, logical_id = name.partition("/")
    return {f"{kind}/{inner}" for kind, inner in visible.cut.get((resource_type, logical_id), frozenset())}


def test_a_supporting_item_is_visible_exactly_when_a_visible_item_refers_to_it() -> None:
    seen = see(
        Slice(current=False, categories=("results",)),
        head("Observation/o", "performer>Practitioner/seen"),
        head("Encounter/e", "participant.individual>Practitioner/unseen"),
        head("Practitioner/seen"),
        head("Practitioner/unseen"),
        head("Practitioner/alone"),
    )
    assert names(seen) == {"Observation/o", "Practitioner/seen"}
    assert seen.cut == {}


def test_what_supporting_items_refer_to_is_followed_too() -> None:
    seen = see(
        ALL,
        head("Observation/o", "performer>PractitionerRole/r"),
        head("PractitionerRole/r", "practitioner>Practitioner/p", "organization>Organization/a"),
        head("Practitioner/p"),
        head("Organization/a", "partOf>Organization/b"),
        head("Organization/b", "partOf>Organization/a"),
    )
    assert len(seen.kept) == 5


def test_supporting_items_do_not_keep_each_other_visible() -> None:
    seen = see(
        ALL,
        head("Organization/a", "partOf>Organization/b"),
        head("Organization/b", "partOf>Organization/a"),
    )
    assert seen.kept == frozenset()


def test_a_supporting_item_does_not_bring_a_clinical_one() -> None:
    seen = see(
        Slice(current=False, categories=("results",)),
        head("Observation/o", "device>Device/d"),
        head("Device/d", "extension.valueReference>Condition/c"),
        head("Condition/c"),
    )
    assert names(seen) == {"Observation/o", "Device/d"}
    assert cut_from(seen, "Device/d") == {"Condition/c"}


@pytest.mark.parametrize("hidden", [head("Encounter/e"), head("Encounter/e", sensitive=("hiv",)), None])
def test_a_reference_is_cut_alike_whether_its_target_is_hidden_or_absent(hidden: Head | None) -> None:
    shared = Slice(current=False, categories=("results",))
    observation = head("Observation/o", "encounter>Encounter/e")
    seen = see(shared, observation, *([hidden] if hidden else []))
    assert seen == Visible(
        frozenset({("Observation", "o")}), {("Observation", "o"): frozenset({("Encounter", "e")})}
    )


def test_a_reference_that_names_no_item_is_cut() -> None:
    seen = see(ALL, head("Observation/o", "focus>http://example.org/fhir/Patient/1"))
    assert seen.cut == {("Observation", "o"): frozenset({UNRESOLVED})}


def test_a_sensitive_supporting_item_needs_its_tick() -> None:
    heads = (
        head("Encounter/e", "serviceProvider>Organization/clinic"),
        head("Organization/clinic", sensitive=("hiv",)),
    )
    assert names(see(ALL, *heads)) == {"Encounter/e"}
    assert cut_from(see(ALL, *heads), "Encounter/e") == {"Organization/clinic"}
    ticked = msgspec.structs.replace(ALL, sensitive=("hiv",))
    assert names(see(ticked, *heads)) == {"Encounter/e", "Organization/clinic"}


def test_a_hidden_supporting_item_is_hidden() -> None:
    shared = msgspec.structs.replace(ALL, hide=("Organization/x",))
    seen = see(shared, head("Encounter/e", "serviceProvider>Organization/x"), head("Organization/x"))
    assert names(seen) == {"Encounter/e"}


def test_an_item_left_invalid_leaves_and_so_does_what_only_it_brought() -> None:
    seen = see(
        ALL,
        head("MedicationRequest/r", "medicationReference>Medication/m", "requester>Practitioner/p"),
        head("Medication/m", sensitive=("drugs-alcohol",)),
        head("Practitioner/p"),
        head("List/l", "entry.item>MedicationRequest/r"),
        head("Observation/o"),
    )
    assert names(seen) == {"List/l", "Observation/o"}
    assert cut_from(seen, "List/l") == {"MedicationRequest/r"}


def test_leaving_is_followed_until_nothing_changes() -> None:
    chain = [head(f"MedicationRequest/{n}", f"medicationReference>Medication/{n}") for n in range(5)]
    # Each medication stands on the next request through a modifier extension, the last on something hidden.
    medications = [
        head(f"Medication/{n}", f"modifierExtension.valueReference>MedicationRequest/{n + 1}")
        for n in range(4)
    ]
    last = head("Medication/4", "modifierExtension.valueReference>Encounter/hidden")
    assert see(ALL, *chain, *medications, last).kept == frozenset()
    sound = see(ALL, *chain, *medications, last, head("Encounter/hidden"))
    assert len(sound.kept) == 11


def test_an_item_stands_while_one_of_several_needed_references_does() -> None:
    shared = Slice(current=False, categories=("results",))
    seen = see(
        shared,
        head("Observation/a"),
        head(
            "Provenance/p",
            "target>Observation/a",
            "agent.who>Practitioner/here",
            "agent.who>Practitioner/gone",
        ),
        head("Practitioner/here"),
    )
    assert "Provenance/p" in names(seen)
    assert cut_from(seen, "Provenance/p") == {"Practitioner/gone"}


def test_provenance_is_visible_only_when_all_its_targets_are() -> None:
    shared = Slice(current=False, categories=("results",))
    heads = (
        head("Observation/o"),
        head("Condition/c"),
        head("Provenance/one", "target>Observation/o", "agent.who>Organization/x"),
        head("Provenance/both", "target>Observation/o", "target>Condition/c"),
        head("Provenance/elsewhere", "target>Observation/o", "target>urn:uuid:1"),
        head("Organization/x"),
    )
    assert names(see(shared, *heads)) == {"Observation/o", "Provenance/one", "Organization/x"}


def test_provenance_of_an_item_that_is_cut_is_not_visible() -> None:
    seen = see(
        ALL, head("Observation/o", "encounter>Encounter/hidden"), head("Provenance/p", "target>Observation/o")
    )
    assert names(seen) == {"Observation/o"}


def test_provenance_does_not_make_its_target_visible() -> None:
    seen = see(ALL, head("Provenance/p", "target>Organization/x"), head("Organization/x"))
    assert seen.kept == frozenset()


def test_provenance_of_a_supporting_item_follows_that_item() -> None:
    heads = (
        head("Provenance/p", "target>Organization/x", "agent.who>Organization/y"),
        head("Provenance/q", "target>Organization/y"),
        head("Organization/x"),
        head("Organization/y"),
        head("Encounter/e", "serviceProvider>Organization/x"),
    )
    assert len(see(ALL, *heads).kept) == 5


def test_sensitive_or_hidden_provenance_is_not_visible() -> None:
    observation = head("Observation/o")
    assert names(see(ALL, observation, head("Provenance/p", "target>Observation/o", sensitive=("hiv",)))) == {
        "Observation/o"
    }
    shared = msgspec.structs.replace(ALL, hide=("Provenance/p",))
    assert names(see(shared, observation, head("Provenance/p", "target>Observation/o"))) == {"Observation/o"}


@pytest.mark.parametrize("resource_type", ["Consent", "Task", "Communication", "AuditEvent"])
def test_grants_corrections_and_the_log_are_never_visible(resource_type: str) -> None:
    shared = msgspec.structs.replace(ALL, add=(f"{resource_type}/1",))
    seen = see(
        shared,
        head(f"{resource_type}/1"),
        head("Observation/o", f"extension.valueReference>{resource_type}/1"),
    )
    assert names(seen) == {"Observation/o"}


def test_an_added_item_is_shown_with_the_sensitive_medication_it_needs_and_nobody_elses() -> None:
    shared = Slice(current=False, categories=("medicines",), add=("MedicationRequest/added",))
    seen = see(
        shared,
        head("MedicationRequest/added", "medicationReference>Medication/m"),
        head("MedicationRequest/other", "medicationReference>Medication/m"),
        head("MedicationRequest/loose", "supportingInformation>Medication/m"),
        head("Medication/m", sensitive=("drugs-alcohol",)),
    )
    assert names(seen) == {"MedicationRequest/added", "MedicationRequest/loose", "Medication/m"}
    assert cut_from(seen, "MedicationRequest/loose") == {"Medication/m"}
    assert cut_from(seen, "MedicationRequest/added") == set()


def test_hiding_beats_an_added_items_need() -> None:
    shared = Slice(current=False, add=("MedicationRequest/a",), hide=("Medication/m",))
    seen = see(shared, head("MedicationRequest/a", "medicationReference>Medication/m"), head("Medication/m"))
    assert seen.kept == frozenset()


def test_the_patient_is_always_there_reduced_and_brings_nobody() -> None:
    heads = (head("Patient/p", "generalPractitioner>Practitioner/gp"), head("Practitioner/gp"))
    seen = see(Slice(current=False), *heads)
    assert names(seen) == {"Patient/p"}
    assert seen.cut == {("Patient", "p"): frozenset({REDUCED, CONTACT})}
    seen = see(Slice(current=False, categories=("contact",)), *heads)
    assert seen.cut == {("Patient", "p"): frozenset({REDUCED})}


def test_contact_details_are_cut_from_every_item_without_that_category() -> None:
    heads = (head("Encounter/e", "serviceProvider>Organization/x"), head("Organization/x", contact=True))
    without = Slice(current=False, categories=("consultations",))
    assert see(without, *heads).cut == {("Organization", "x"): frozenset({CONTACT})}
    assert see(Slice(current=False, categories=("consultations", "contact")), *heads).cut == {}


def test_the_work_is_done_in_steps() -> None:
    for count, least in [(HEADS_IN_ONE_STEP - 1, 0), (HEADS_IN_ONE_STEP, 3), (10 * HEADS_IN_ONE_STEP, 30)]:
        heads = {("Observation", str(n)): head(f"Observation/{n}") for n in range(count)}
        assert len(close(heads, ALL, TODAY).kept) == count
        assert len(list(closing(heads, ALL, TODAY))) >= least


def test_a_long_chain_of_provenance_is_followed_to_its_end() -> None:
    chain = [head(f"Provenance/{n}", f"target>Provenance/{n - 1}") for n in range(1, 3000)]
    seen = see(ALL, head("Observation/o"), head("Provenance/0", "target>Observation/o"), *chain)
    assert len(seen.kept) == 3001
