import json
from copy import deepcopy

import pytest

from fhir_profiles.needed_elements import is_needed_element
from fhir_profiles.references import cut, references_in, rewrite, target_of


def ref(target: str) -> dict:
    return {"reference": target}


def paths_of(resource: dict) -> list[tuple[str, str, bool]]:
    return [(r.path, f"{r.resource_type}/{r.logical_id}", r.is_needed) for r in references_in(resource)]


def without(resource: dict, *gone: str) -> dict | None:
    """The resource after cutting; the original must not have changed."""
    before = deepcopy(resource)
    done = cut(resource, lambda kind, name: f"{kind}/{name}" not in gone)
    assert resource == before
    assert done.was_cut == (done.resource != resource)
    return done.resource if done.is_valid else None


OBSERVATION = {
    "resourceType": "Observation",
    "id": "o",
    "text": {"status": "generated", "div": "<div>x</div>"},
    "status": "final",
    "code": {"text": "x"},
    "subject": ref("Patient/p"),
    "hasMember": [ref("Observation/a"), ref("Observation/b")],
}


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Patient/1", ("Patient", "1")),
        ("Patient/1/_history/2", ("Patient", "1")),
        ("https://example.org/fhir/Patient/1", ("", "")),
        ("urn:uuid:5d5e5f60-0000-4000-8000-000000000000", ("", "")),
        ("Patient?identifier=x|1", ("", "")),
        ("patient/1", ("", "")),
        ("Patient/", ("", "")),
        ("Patient/1/2", ("", "")),
        ("See the letter", ("", "")),
        ("", ("", "")),
    ],
)
def test_only_type_and_id_name_an_item_of_the_record(text: str, target: tuple[str, str]) -> None:
    assert target_of(text) == target


def test_references_are_found_at_any_depth() -> None:
    resource = {
        "resourceType": "MedicationRequest",
        "medicationReference": ref("#m"),
        "subject": ref("Patient/p") | {"identifier": {"assigner": ref("Organization/a")}},
        "contained": [{"resourceType": "Medication", "id": "m", "manufacturer": ref("Organization/o")}],
        "extension": [{"url": "u", "extension": [{"url": "v", "valueReference": ref("Device/d")}]}],
        "_status": {"extension": [{"url": "u", "valueReference": ref("urn:uuid:x")}]},
        "note": [{"authorReference": ref("Practitioner/w"), "text": "x"}],
        "requester": {"display": "Dr Patel"},
    }
    assert sorted(paths_of(resource)) == [
        ("MedicationRequest._status.extension.valueReference", "/", False),
        ("MedicationRequest.contained(Medication).manufacturer[2]", "Organization/o", False),
        ("MedicationRequest.extension.extension.valueReference", "Device/d", False),
        ("MedicationRequest.note.authorReference", "Practitioner/w", False),
        ("MedicationRequest.subject", "Patient/p", True),
        ("MedicationRequest.subject.identifier.assigner", "Organization/a", False),
    ]


def test_canonicals_urls_and_prose_are_not_references() -> None:
    resource = {
        "resourceType": "CarePlan",
        "instantiatesCanonical": ["PlanDefinition/1"],
        "instantiatesUri": ["Patient/1"],
        "note": [{"text": "Patient/1"}],
        "content": [{"attachment": {"url": "Binary/1"}}],
    }
    assert references_in(resource) == ()
    assert rewrite(resource, lambda text: "changed") == resource


def test_rewriting_replaces_references_and_nothing_else() -> None:
    sent = "urn:uuid:1"
    resource = {
        "resourceType": "Observation",
        "id": sent,
        "subject": {"reference": sent, "display": sent},
        "derivedFrom": [ref("#a")],
    }
    assert rewrite(resource, {sent: "Patient/p"}.get) == {
        "resourceType": "Observation",
        "id": sent,
        "subject": {"reference": "Patient/p", "display": sent},
        "derivedFrom": [ref("#a")],
    }
    assert resource["subject"]["reference"] == sent


def test_cutting_nothing_gives_back_the_same_resource() -> None:
    assert cut(OBSERVATION, lambda *_: True).resource is OBSERVATION


def test_a_cut_reference_goes_whole_and_narrative_with_it() -> None:
    resource = OBSERVATION | {"encounter": ref("Encounter/e") | {"display": "Clinic", "type": "Encounter"}}
    cut_off = without(resource, "Encounter/e")
    assert cut_off == {k: v for k, v in OBSERVATION.items() if k != "text"}
    assert "Clinic" not in json.dumps(cut_off)


def test_of_an_array_only_what_is_cut_goes_and_an_empty_one_goes_too() -> None:
    one = without(OBSERVATION, "Observation/a")
    assert one is not None
    assert one["hasMember"] == [ref("Observation/b")]
    none = without(OBSERVATION, "Observation/a", "Observation/b")
    assert none is not None
    assert "hasMember" not in none


def test_references_that_name_no_item_are_cut_when_they_are_asked_to_be() -> None:
    resource = OBSERVATION | {"focus": [ref("http://other/Patient/1"), ref("urn:uuid:x"), ref("Patient?x=1")]}
    cut_off = without(resource, "/")
    assert cut_off is not None
    assert "focus" not in cut_off


def test_a_reference_by_display_or_identifier_alone_stays() -> None:
    resource = OBSERVATION | {"performer": [{"display": "Dr Patel"}, {"identifier": {"value": "1"}}]}
    cut_off = without(resource, "Observation/a", "/")
    assert cut_off is not None
    assert cut_off["performer"] == resource["performer"]


def test_a_list_loses_the_entry() -> None:
    resource = {
        "resourceType": "List",
        "entry": [{"item": ref("Condition/a"), "flag": {"text": "new"}}, {"item": ref("Condition/b")}],
    }
    assert without(resource, "Condition/a") == {
        "resourceType": "List",
        "entry": [{"item": ref("Condition/b")}],
    }
    assert without(resource, "Condition/a", "Condition/b") == {"resourceType": "List"}


def test_an_encounter_loses_the_diagnosis() -> None:
    resource = {
        "resourceType": "Encounter",
        "diagnosis": [{"condition": ref("Condition/a"), "use": {"text": "x"}, "rank": 1}],
        "participant": [{"individual": ref("Practitioner/x")}],
        "location": [{"location": ref("Location/x"), "status": "active"}],
    }
    assert without(resource, "Condition/a", "Practitioner/x", "Location/x") == {"resourceType": "Encounter"}


@pytest.mark.parametrize(
    ("resource", "gone"),
    [
        ({"resourceType": "MedicationRequest", "medicationReference": ref("Medication/m")}, "Medication/m"),
        ({"resourceType": "Immunization", "patient": ref("Patient/p")}, "Patient/p"),
        ({"resourceType": "Provenance", "target": [ref("Observation/o")]}, "Observation/o"),
        (
            {
                "resourceType": "Provenance",
                "target": [ref("Observation/x")],
                "agent": [{"who": ref("Practitioner/a")}, {"who": ref("Practitioner/a")}],
            },
            "Practitioner/a",
        ),
        (
            {
                "resourceType": "Observation",
                "modifierExtension": [{"url": "u", "valueReference": ref("Device/d")}],
            },
            "Device/d",
        ),
        (
            {
                "resourceType": "Observation",
                "modifierExtension": [
                    {
                        "url": "u",
                        "extension": [
                            {"url": "a", "valueReference": ref("Device/d")},
                            {"url": "b", "valueCode": "x"},
                        ],
                    }
                ],
            },
            "Device/d",
        ),
        (
            {
                "resourceType": "Provenance",
                "target": [ref("#c")],
                "contained": [{"resourceType": "Immunization", "id": "c", "patient": ref("Patient/other")}],
            },
            "Patient/other",
        ),
    ],
)
def test_an_item_that_cannot_stand_without_it_falls(resource: dict, gone: str) -> None:
    assert without(resource, gone) is None
    assert any(is_needed for _, _, is_needed in paths_of(resource))


def test_another_agent_keeps_a_provenance_standing() -> None:
    resource = {
        "resourceType": "Provenance",
        "target": [ref("Observation/o")],
        "agent": [{"who": ref("Practitioner/a")}, {"who": {"display": "The practice"}}],
    }
    cut_off = without(resource, "Practitioner/a")
    assert cut_off is not None
    assert cut_off["agent"] == [{"who": {"display": "The practice"}}]
    assert ("Provenance.agent.who", "Practitioner/a", False) in paths_of(resource)


def test_an_extension_without_its_value_goes() -> None:
    resource = {
        "resourceType": "Observation",
        "extension": [{"url": "a", "valueReference": ref("Device/d")}, {"url": "b", "valueCode": "x"}],
    }
    assert without(resource, "Device/d") == {
        "resourceType": "Observation",
        "extension": [{"url": "b", "valueCode": "x"}],
    }


def test_extensions_of_primitives_keep_their_places() -> None:
    gone = {"extension": [{"url": "a", "valueReference": ref("Device/d")}]}
    stays = {"extension": [{"url": "a", "valueCode": "x"}]}
    resource = {"resourceType": "Patient", "name": [{"given": ["A", "B"], "_given": [gone, stays]}]}
    cut_off = without(resource, "Device/d")
    assert cut_off is not None
    assert cut_off["name"] == [{"given": ["A", "B"], "_given": [None, stays]}]
    resource = {"resourceType": "Patient", "name": [{"given": ["A", "B"], "_given": [gone, None]}]}
    cut_off = without(resource, "Device/d")
    assert cut_off is not None
    assert cut_off["name"] == [{"given": ["A", "B"]}]


def test_contained_resources_nothing_refers_to_any_more_go() -> None:
    resource = {
        "resourceType": "Observation",
        "contained": [
            {"resourceType": "PractitionerRole", "id": "r", "organization": ref("#o")},
            {"resourceType": "Organization", "id": "o", "name": "Clinic"},
            {"resourceType": "Device", "id": "d", "owner": ref("Organization/x")},
        ],
        "extension": [{"url": "u", "extension": [{"url": "a", "valueReference": ref("Device/d")}]}],
        "device": ref("#d"),
        "focus": [ref("#r") | {"identifier": {"assigner": ref("Organization/x")}}],
    }
    cut_off = without(resource, "Device/d")
    assert cut_off is not None
    assert [inner["id"] for inner in cut_off["contained"]] == ["r", "o", "d"]
    cut_off = without(resource | {"focus": [ref("Encounter/e")]}, "Encounter/e")
    assert cut_off is not None
    assert [inner["id"] for inner in cut_off["contained"]] == ["d"]


def test_a_contained_resource_that_falls_takes_references_to_it_along() -> None:
    resource = {
        "resourceType": "Observation",
        "contained": [
            {"resourceType": "MedicationStatement", "id": "s", "medicationReference": ref("Medication/m")},
            {"resourceType": "Observation", "id": "t", "derivedFrom": [ref("#s")]},
        ],
        "partOf": [ref("#s")],
        "hasMember": [ref("#t")],
    }
    assert without(resource, "Medication/m") == {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Observation", "id": "t"}],
        "hasMember": [ref("#t")],
    }


def test_narrative_of_contained_resources_and_sections_goes_too() -> None:
    narrative = {"status": "generated", "div": "<div>secret</div>"}
    resource = {
        "resourceType": "Composition",
        "contained": [{"resourceType": "Organization", "id": "o", "text": narrative}],
        "custodian": ref("#o"),
        "encounter": ref("Encounter/e"),
        "section": [{"title": "a", "text": narrative}],
    }
    assert "secret" not in json.dumps(without(resource, "Encounter/e"))


def test_a_signature_needs_its_signer() -> None:
    assert is_needed_element("Provenance.signature", "who")
    assert not is_needed_element("Provenance.signature", "onBehalfOf")


def test_a_contained_resource_follows_the_rules_of_its_own_type() -> None:
    assert is_needed_element("Observation.contained(Immunization).performer", "actor")
    assert not is_needed_element("Observation.contained(Immunization)", "encounter")


def test_a_contained_resource_that_may_fall_does_not_take_the_item_with_it() -> None:
    resource = {
        "resourceType": "Condition",
        "subject": ref("Patient/p"),
        "contained": [
            {
                "resourceType": "Provenance",
                "id": "c",
                "target": [ref("#")],
                "agent": [{"who": ref("Practitioner/a")}],
            }
        ],
    }
    assert without(resource, "Practitioner/a") == {"resourceType": "Condition", "subject": ref("Patient/p")}
    assert [path for path, _, is_needed in paths_of(resource) if is_needed] == ["Condition.subject"]
