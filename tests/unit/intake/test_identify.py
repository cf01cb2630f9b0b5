import pytest

from server.intake.facts import NHS_NUMBER_SYSTEM, PatientFacts, PersonClaims, SubjectClaim
from server.intake.identify import (
    Disagreement,
    KnownPerson,
    NamedByAlias,
    NamedByNumber,
    disagreement,
    named_person,
)

NUMBER = "9990000018"
OTHER = "9990000026"
ALIAS = ("https://hospital.example/mrn", "A1")
AMINA = KnownPerson(patient_id="p", nhs_number=NUMBER, birth_date="1980-02-03", aliases=(ALIAS,))


def patient(
    numbers: tuple[str, ...] = (NUMBER,),
    birth_date: str = "1980-02-03",
    identifiers: tuple[tuple[str, str], ...] = (),
    names: tuple[str, ...] = ("Patient/pat",),
) -> PatientFacts:
    stated = tuple((NHS_NUMBER_SYSTEM, number) for number in numbers) + identifiers
    return PatientFacts(names=names, nhs_numbers=numbers, identifiers=stated, birth_date=birth_date)


def claims(*patients: PatientFacts, subjects: tuple[SubjectClaim, ...] = ()) -> PersonClaims:
    return PersonClaims(patients=patients, subjects=frozenset(subjects))


def about(reference: str, *numbers: str) -> SubjectClaim:
    return SubjectClaim(reference=reference, nhs_numbers=numbers)


def test_a_person_is_named_by_their_nhs_number() -> None:
    assert named_person(claims(patient())) == NamedByNumber(NUMBER)


def test_a_person_without_number_is_named_by_the_other_identifiers() -> None:
    assert named_person(claims(patient((), identifiers=(ALIAS,)))) == NamedByAlias((ALIAS,))


@pytest.mark.parametrize(
    "unclear",
    [
        pytest.param(claims(), id="no Patient at all"),
        pytest.param(claims(patient(())), id="a Patient without identifiers"),
        pytest.param(claims(patient(("9990000019",))), id="a number whose check digit is wrong"),
        pytest.param(claims(patient(("9999999999",))), id="ten equal digits"),
        pytest.param(claims(patient(("999 000 0018",))), id="a number with spaces"),
        pytest.param(claims(patient((NUMBER, OTHER))), id="two numbers for one Patient"),
        pytest.param(claims(patient(), patient((OTHER,))), id="two Patients"),
        pytest.param(claims(patient(), subjects=(about("", OTHER),)), id="a subject with another number"),
        pytest.param(
            claims(patient(), subjects=(SubjectClaim(reference="#", contained=patient((OTHER,))),)),
            id="a contained Patient with another number",
        ),
    ],
)
def test_nobody_is_named_when_the_extract_is_unclear(unclear: PersonClaims) -> None:
    assert named_person(unclear) is None


@pytest.mark.parametrize(
    "agreeing",
    [
        pytest.param(claims(patient()), id="number and birth date"),
        pytest.param(claims(patient((), identifiers=(ALIAS,))), id="an accepted alias and birth date"),
        pytest.param(claims(patient(), subjects=(about("Patient/pat"),)), id="a relative subject"),
        pytest.param(
            claims(patient(names=("urn:uuid:1",)), subjects=(about("urn:uuid:1"),)), id="a urn:uuid subject"
        ),
        pytest.param(
            claims(
                patient(names=("https://a.example/Patient/1",)),
                subjects=(about("https://a.example/Patient/1"),),
            ),
            id="an absolute subject",
        ),
        pytest.param(claims(patient(), subjects=(about("", NUMBER),)), id="a subject by number alone"),
        pytest.param(
            claims(patient(), subjects=(about(f"Patient?identifier={NHS_NUMBER_SYSTEM}|{NUMBER}"),)),
            id="a conditional subject",
        ),
        pytest.param(
            claims(
                patient(), subjects=(about("Patient?identifier=https%3A%2F%2Fhospital.example%2Fmrn%7CA1"),)
            ),
            id="a conditional subject by alias, percent-encoded",
        ),
        pytest.param(
            claims(patient(), subjects=(SubjectClaim(reference="#", contained=patient(birth_date="")),)),
            id="a contained Patient with the number",
        ),
        pytest.param(
            claims(patient(), subjects=(SubjectClaim(reference="Device/1", is_person=False),)),
            id="a subject that is no person is the item's own fault",
        ),
        pytest.param(claims(patient(), patient(names=("Patient/2",))), id="the same person twice"),
    ],
)
def test_an_extract_that_agrees_in_everything_is_taken(agreeing: PersonClaims) -> None:
    assert disagreement(agreeing, AMINA) is None


@pytest.mark.parametrize(
    ("claimed", "because"),
    [
        pytest.param(claims(), Disagreement.NO_ONE_NAMED, id="no Patient"),
        pytest.param(claims(patient((OTHER,))), Disagreement.NUMBER, id="another number"),
        pytest.param(
            claims(patient((), identifiers=(("https://hospital.example/mrn", "A2"),))),
            Disagreement.NUMBER,
            id="an identifier nobody accepted",
        ),
        pytest.param(
            claims(patient((OTHER,), identifiers=(ALIAS,))),
            Disagreement.NUMBER,
            id="an accepted alias with another number",
        ),
        pytest.param(claims(patient(birth_date="1980-02-04")), Disagreement.BIRTH_DATE, id="another day"),
        pytest.param(claims(patient(birth_date="1980-02")), Disagreement.BIRTH_DATE, id="part of a date"),
        pytest.param(claims(patient(birth_date="")), Disagreement.BIRTH_DATE, id="no birth date"),
        pytest.param(
            claims(patient(), patient(birth_date="1990-01-01")),
            Disagreement.BIRTH_DATE,
            id="a second Patient",
        ),
        pytest.param(
            claims(patient(), subjects=(about("Patient/other"),)), Disagreement.SUBJECT, id="another subject"
        ),
        pytest.param(
            claims(patient(), subjects=(about("https://a.example/Patient/pat"),)),
            Disagreement.SUBJECT,
            id="the same id on a server the extract did not name",
        ),
        pytest.param(
            claims(patient(), subjects=(about("urn:uuid:unknown"),)),
            Disagreement.SUBJECT,
            id="an unknown urn",
        ),
        pytest.param(
            claims(patient(), subjects=(about("Patient/pat", OTHER),)),
            Disagreement.SUBJECT,
            id="a subject whose identifier says someone else",
        ),
        pytest.param(
            claims(patient(), subjects=(about(f"Patient?identifier={NHS_NUMBER_SYSTEM}|{OTHER}"),)),
            Disagreement.SUBJECT,
            id="a conditional subject with another number",
        ),
        pytest.param(
            claims(patient(), subjects=(about(f"Patient?identifier={NHS_NUMBER_SYSTEM}|{NUMBER}&name=x"),)),
            Disagreement.SUBJECT,
            id="a conditional subject asking for more",
        ),
        pytest.param(
            claims(patient(), subjects=(about(""),)),
            Disagreement.SUBJECT,
            id="a subject known by display alone",
        ),
        pytest.param(
            claims(patient(), subjects=(SubjectClaim(reference="#", contained=patient(())),)),
            Disagreement.SUBJECT,
            id="a contained Patient known by name alone",
        ),
        pytest.param(
            claims(
                patient(),
                subjects=(SubjectClaim(reference="#", contained=patient(birth_date="1990-01-01")),),
            ),
            Disagreement.SUBJECT,
            id="a contained Patient born another day",
        ),
    ],
)
def test_one_disagreement_is_enough(claimed: PersonClaims, because: Disagreement) -> None:
    assert disagreement(claimed, AMINA) is because


def test_a_record_without_birth_date_takes_no_extract() -> None:
    nobody = KnownPerson(patient_id="p", nhs_number=NUMBER, birth_date=None)
    assert disagreement(claims(patient(birth_date="")), nobody) is Disagreement.BIRTH_DATE
