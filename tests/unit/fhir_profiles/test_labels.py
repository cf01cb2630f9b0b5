import base64
from time import process_time

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES
from fhir_profiles.labels import is_hidden_from_patient, labels_of
from fhir_profiles.labels_by_type import OWNER_ONLY_TYPES, SUPPORTING_TYPES, categories_of
from fhir_profiles.sensitive_words import TELLING_PLACES_MAX, classes_in_text
from fhir_profiles.terminology import rows_of

SNOMED = "http://snomed.info/sct"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def sensitive(resource: dict) -> tuple[str, ...]:
    return labels_of({"resourceType": "Observation", **resource}).sensitive


def coded(system: str, code: str) -> dict:
    return {"code": {"coding": [{"system": system, "code": code}]}}


def classes_of(text: str) -> set[str]:
    return {sensitive_class for sensitive_class, _ in classes_in_text(text)}


def test_each_type_belongs_to_the_category_the_catalogue_says() -> None:
    for name, entry in CATALOGUE.items():
        found = categories_of({"resourceType": name})
        if entry.category is not None:
            assert found == (entry.category,), name
        elif entry.kind != "clinical":
            assert found == (), name


def test_supporting_and_owner_only_types_are_those_of_the_catalogue() -> None:
    for name, entry in CATALOGUE.items():
        if name in {"Patient", "Provenance"}:
            continue
        assert (name in SUPPORTING_TYPES) == (entry.kind == "supporting"), name
        assert (name in OWNER_ONLY_TYPES) == (entry.kind == "authored"), name


def test_a_type_not_known_here_has_no_category() -> None:
    assert labels_of({"resourceType": "MolecularSequence"}).categories == ()


def test_own_readings_are_self_recorded_only_when_we_say_so() -> None:
    tagged = {
        "resourceType": "Observation",
        "meta": {"tag": [{"system": "urn:held:tag", "code": "self-recorded"}]},
    }
    assert labels_of(tagged).categories == ("results",)
    assert labels_of(tagged, self_recorded=True).categories == ("self-recorded",)


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("933361000000108", "medicines"),
        ("886921000000105", "allergies"),
        ("1103671000000101", "allergies"),
        ("1102181000000102", "immunisations"),
        ("717711000000103", "problems"),
        ("887191000000108", "results"),
        ("325851000000107", "consultations"),
        ("1", "consultations"),
    ],
)
def test_a_list_belongs_to_the_area_its_code_names(code: str, category: str) -> None:
    assert categories_of({"resourceType": "List", **coded(SNOMED, code)}) == (category,)


@pytest.mark.parametrize(
    ("system", "code", "sensitive_class"),
    [
        (SNOMED, "86406008", "hiv"),
        ("urn:oid:2.16.840.1.113883.6.96", "86406008", "hiv"),
        ("http://hl7.org/fhir/sid/icd-10", "B20", "hiv"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "F32.1", "mental-health"),
        ("http://hl7.org/fhir/sid/icd-10", "F48", "mental-health"),
        ("http://hl7.org/fhir/sid/icd-10", "F10.2", "drugs-alcohol"),
        ("http://read.info/readv2", "E2B0.", "mental-health"),
        ("http://loinc.org", "44261-6", "mental-health"),
        ("http://www.whocc.no/atc", "N06AB03", "mental-health"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm", "748962", "sexual-health"),
        ("http://loinc.org", "856AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "hiv"),
        (SNOMED, "706893006", "abuse-safeguarding"),
        ("http://hl7.org/fhir/sid/icd-10", "Z15.0", "genetics"),
    ],
)
def test_codes_reveal_a_class(system: str, code: str, sensitive_class: str) -> None:
    assert sensitive(coded(system, code)) == (sensitive_class,)


@pytest.mark.parametrize(
    ("system", "code"),
    [
        (SNOMED, "38341003"),
        ("http://hl7.org/fhir/sid/icd-10", "F17.2"),
        ("http://hl7.org/fhir/sid/icd-10", "F00"),
        ("http://hl7.org/fhir/sid/icd-10", "F49"),
        ("http://example.org/other", "86406008"),
        ("http://loinc.org", "718-7"),
    ],
)
def test_other_codes_reveal_nothing(system: str, code: str) -> None:
    assert sensitive(coded(system, code)) == ()


@pytest.mark.parametrize(
    ("text", "sensitive_class"),
    [
        ("Seen for DEPRESSION", "mental-health"),
        ("dépression légère", "mental-health"),
        ("de\u200bpression", "mental-health"),
        ("Lithium carbonate 400mg tablets", "mental-health"),
        ("PHQ-9 score", "mental-health"),
        ("alcohol dependence", "drugs-alcohol"),
        ("Methadone 1mg/ml oral solution", "drugs-alcohol"),
        ("HIV-1 viral load", "hiv"),
        ("Efavirenz / emtricitabine / tenofovir disoproxil", "hiv"),
        ("Chlamydia screening", "sexual-health"),
        ("Microgynon 30 tablets", "sexual-health"),
        ("disclosed domestic violence", "abuse-safeguarding"),
        ("Safeguarding concern", "abuse-safeguarding"),
        ("BRCA1 positive", "genetics"),
    ],
)
def test_words_reveal_a_class_whatever_their_case_and_accents(text: str, sensitive_class: str) -> None:
    assert sensitive_class in classes_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "ST depression in V5",
        "ST-segment depression",
        "respiratory depression",
        "alcohol-free hand gel",
        "cetostearyl alcohol",
        "Abuse-Deterrent 12 HR Oxycodone",
        "hearing aids fitted",
        "nirmatrelvir and ritonavir",
        "unilateral neglect after stroke",
        "Hyperactive bowel sounds",
        "thrive",
        "Essex",
        "Amlodipine 5mg tablets",
        "",
    ],
)
def test_words_that_only_look_alike_reveal_nothing(text: str) -> None:
    assert classes_of(text) == set()


def test_the_longest_row_wins_but_shields_only_what_it_spans() -> None:
    assert classes_of("ST depression; treated for depression") == {"mental-health"}


@pytest.mark.parametrize(
    "resource",
    [
        {"code": {"text": "HIV test"}},
        {"code": {"coding": [{"display": "HIV test"}]}},
        {"note": [{"text": "known HIV"}]},
        {"valueString": "HIV positive"},
        {"valueCodeableConcept": {"text": "HIV positive"}},
        {"component": [{"code": {"text": "HIV"}}]},
        {"performer": [{"display": "HIV clinic"}]},
        {"extension": [{"url": "http://example.org/x", "valueString": "hiv"}]},
        {"text": {"status": "generated", "div": "<div><p>H<b>i</b>v? HIV&#32;positive</p></div>"}},
        {"contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Truvada"}}]},
        {"_status": {"extension": [{"url": "http://example.org/x", "valueString": "HIV"}]}},
    ],
)
def test_words_are_found_wherever_a_person_could_read_them(resource: dict) -> None:
    assert sensitive(resource) == ("hiv",)


def test_attached_plain_text_is_read() -> None:
    data = base64.b64encode(b"Plan: start antiretroviral treatment").decode()
    letter = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
    }
    assert labels_of(letter).sensitive == ("hiv",)


def test_attached_pictures_are_not_read_as_text() -> None:
    data = base64.b64encode(b"hiv").decode()
    picture = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"contentType": "image/png", "data": data}}],
    }
    assert labels_of(picture).sensitive == ()


def test_names_of_people_and_places_do_not_count_but_a_clinic_does() -> None:
    assert (
        sensitive({"resourceType": "Practitioner", "name": [{"family": "Rape", "given": ["Crystal"]}]}) == ()
    )
    assert sensitive({"resourceType": "Location", "address": {"line": ["1 Refuge Street"]}}) == ()
    assert sensitive({"resourceType": "Organization", "name": "Leeds Sexual Health Clinic"}) == (
        "sexual-health",
    )


@pytest.mark.parametrize(
    ("code", "classes"),
    [
        ("MH", ("mental-health",)),
        ("BH", ("drugs-alcohol", "mental-health")),
        ("SUD", ("drugs-alcohol",)),
        ("HIV", ("hiv",)),
        ("STD", ("sexual-health",)),
        ("SDV", ("abuse-safeguarding",)),
        ("GDIS", ("genetics",)),
        ("NOPAT", ()),
    ],
)
@pytest.mark.parametrize("system", [ACT_CODE, "http://hl7.org/fhir/v3/ActCode"])
def test_security_labels_of_both_releases_are_taken_over(
    system: str, code: str, classes: tuple[str, ...]
) -> None:
    assert sensitive({"meta": {"security": [{"system": system, "code": code}]}}) == classes
    assert sensitive({"securityLabel": [{"coding": [{"system": system, "code": code}]}]}) == classes


def test_restricted_without_a_reason_stands_for_every_class() -> None:
    restricted = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    assert sensitive({"meta": {"security": [restricted]}}) == tuple(sorted(SENSITIVE_CLASSES))
    reason = {"system": ACT_CODE, "code": "MH"}
    assert sensitive({"meta": {"security": [restricted, reason]}}) == ("mental-health",)


def test_each_label_says_which_rule_set_it() -> None:
    labels = labels_of({"resourceType": "Condition", "code": {"text": "Depression"}})
    assert labels.fired == ("problems=type:Condition", "mental-health=word:depress*")


@pytest.mark.parametrize(
    "resource",
    [
        {"telecom": [{"system": "phone", "value": "x"}]},
        {"contained": [{"resourceType": "RelatedPerson", "telecom": [{"value": "x"}]}]},
        {"extension": [{"url": "http://example.org/birthPlace", "valueAddress": {"city": "Leeds"}}]},
        {"contact": [{"name": {"text": "A"}}]},
        {"text": {"div": "<div>Lives at LS1 4AP</div>"}},
        {"text": {"div": "<div>Ring 0113 496 0000</div>"}},
    ],
)
def test_an_item_that_carries_contact_details_is_marked(resource: dict) -> None:
    assert labels_of({"resourceType": "Observation", **resource}).parts == ("contact",)


def test_an_item_without_contact_details_is_not() -> None:
    reading = {
        "resourceType": "Observation",
        "text": {"div": "<div>BP 120/80 on 2024-01-05</div>"},
        "status": "final",
    }
    assert labels_of(reading).parts == ()


@pytest.mark.parametrize("system", [ACT_CODE, "http://hl7.org/fhir/v3/ActCode"])
def test_what_the_source_hides_from_the_person_is_recognised(system: str) -> None:
    label = {"system": system, "code": "NOPAT"}
    assert is_hidden_from_patient({"meta": {"security": [label]}})
    assert is_hidden_from_patient({"securityLabel": [{"coding": [{"code": "N"}, label]}]})
    assert is_hidden_from_patient({"contained": [{"meta": {"security": [label]}}]})


def test_other_labels_hide_nothing_from_the_person() -> None:
    assert not is_hidden_from_patient({})
    assert not is_hidden_from_patient(
        {"meta": {"security": [{"system": "http://example.org", "code": "NOPAT"}]}}
    )
    assert not is_hidden_from_patient({"meta": {"security": [{"system": ACT_CODE, "code": "MH"}]}})


def test_every_row_of_the_lists_names_a_class_we_have_and_a_reason() -> None:
    for name in ("sensitive_codes.csv", "sensitive_words.csv", "security_labels.csv"):
        for row in rows_of(name):
            assert row["class"] in {*SENSITIVE_CLASSES, "-", "*"}, row
            assert row["why"], row
    for row in rows_of("list_codes.csv"):
        assert row["category"] in CATEGORIES, row


def test_no_stem_is_too_short_to_be_found() -> None:
    first_words = [row["words"].split()[0] for row in rows_of("sensitive_words.csv")]
    assert [word for word in first_words if word.endswith("*") and len(word) < 5] == []


def test_a_text_too_long_to_be_read_word_by_word_is_taken_for_what_its_words_could_mean() -> None:
    shielded = "ST depression "
    assert classes_of(shielded * (TELLING_PLACES_MAX // 2)) == set()
    assert classes_of(shielded * TELLING_PLACES_MAX) == {"mental-health"}


@pytest.mark.parametrize("piece", ["<", "a", "depression ", "st ", "a@", "0 ", "\u200b", "<a "])
def test_a_hostile_text_is_read_in_good_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = process_time()
    labels_of({"resourceType": "Observation", "valueString": text, "text": {"div": text[:250_000]}})
    assert process_time() - began < 2
