import msgspec
import pytest

from server.errors import BodyRefused, RuleBroken, TooLarge
from server.intake.gather import read_extract
from tests.extracts import NOPAT, bundle, condition, encoded, identified, observation, patient

PERSON = patient("9990000018")


def test_everything_an_extract_says_of_itself_is_gathered() -> None:
    extract = read_extract(
        encoded(
            bundle(
                [
                    PERSON,
                    identified(observation(performer=[{"reference": "Practitioner/1"}]), "i"),
                    condition(meta={"security": [NOPAT]}, encounter={"reference": "Condition/con-1"}),
                ]
            )
        )
    )
    assert extract.kind == "collection"
    assert [entry.resource_type for entry in extract.entries] == ["Patient", "Observation", "Condition"]
    assert extract.hidden == {2}
    assert extract.unresolved == {"Practitioner/1"}
    assert extract.claims.patients[0].birth_date == "1980-02-03"
    assert {claim.reference for claim in extract.claims.subjects} == {"Patient/pat"}
    assert extract.resource(1)["valueQuantity"]["value"] == msgspec.Raw(b"7.40")
    assert extract.faults == {}


def test_a_subject_that_the_extract_shows_to_be_a_thing_is_known_as_one() -> None:
    device = {"resourceType": "Device", "id": "d"}
    thing = bundle([PERSON, device, observation(subject={"reference": "urn:uuid:d"})])
    thing["entry"][1]["fullUrl"] = "urn:uuid:d"
    extract = read_extract(encoded(thing))
    assert [claim.is_person for claim in extract.claims.subjects] == [False]


def test_a_subject_that_says_nothing_is_not_taken_for_a_nameless_entry() -> None:
    extract = read_extract(encoded(bundle([observation(subject={"display": "Amina"}), PERSON])))
    assert [claim.is_person for claim in extract.claims.subjects] == [True]


def test_a_fault_of_one_entry_is_that_entrys_alone() -> None:
    twins = bundle([PERSON, observation("a"), observation("b"), condition()])
    for index in (1, 2):
        twins["entry"][index]["fullUrl"] = "urn:uuid:same"
    twins["entry"][3]["search"] = {"mode": "match"}
    faults = read_extract(encoded(twins)).faults
    assert {index: [issue.rule for issue in found] for index, found in faults.items()} == {
        2: ["bdl-7"],
        3: ["bdl-2"],
    }


@pytest.mark.parametrize(
    ("body", "refusal", "pointer"),
    [
        (b'{"a":1,"a":2}', BodyRefused, "/a"),
        (b"{", BodyRefused, None),
        (encoded(bundle([{"resourceType": "Basic"}] * 10_001)), TooLarge, "/entry/10000"),
        (encoded(PERSON), RuleBroken, "/resourceType"),
        (encoded(bundle([], "searchset")), RuleBroken, "/type"),
        (encoded(bundle([PERSON], "document")), RuleBroken, "/entry/0"),
    ],
)
def test_what_is_no_extract_is_refused_with_its_place(
    body: bytes, refusal: type[Exception], pointer: str | None
) -> None:
    with pytest.raises(refusal) as refused:
        read_extract(body)
    assert refused.value.pointer == pointer  # type: ignore[attr-defined]
