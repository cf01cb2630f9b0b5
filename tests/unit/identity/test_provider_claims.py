"""Who is let in on a provider's word, and who is not."""

from typing import Any

import pytest

from server.identity.provider_claims import SignInRefused, person_from
from server.identity.providers import Provider, ProviderKind
from server.identity.signing_keys import new_signing_key

KEY = new_signing_key()
CITIZEN = {
    "sub": "alex",
    "identity_proofing_level": "P9",
    "vot": "P9.Cp.Cd",
    "nhs_number": "9990000018",
    "birthdate": "1980-02-29",
    "family_name": "Green",
}
CITIZEN_INFO = {"sub": "alex", "given_name": "Alex", "family_name": "Green", "nhs_number": "9990000018"}
ROLE = {"person_roleid": "1", "org_code": "A81001", "role_code": "S8000:G8000:R0260", "role_name": "GP"}
DOCTOR = {
    "sub": "555",
    "nhsid_useruid": "555",
    "name": "Asha Patel",
    "selected_roleid": "1",
    "nhsid_nrbac_roles": [ROLE, {**ROLE, "person_roleid": "2", "org_code": "B82001"}],
}


def provider(kind: ProviderKind) -> Provider:
    return Provider(
        provider_id="its-id",
        kind=kind,
        issuer="https://provider.test",
        client_id="held",
        key=KEY,
        authorization_endpoint="https://provider.test/authorize",
        token_endpoint="https://provider.test/token",
        userinfo_endpoint="https://provider.test/userinfo",
        jwks_uri="https://provider.test/jwks",
        id_token_algorithm="ES256",
        organisation="C83001",
        organisation_name="The Pharmacy",
    )


def citizen(changes: dict[str, Any], info_changes: dict[str, Any] | None = None) -> Any:
    return person_from(provider("nhs-login"), CITIZEN | changes, CITIZEN_INFO | (info_changes or {}))


def doctor(changes: dict[str, Any], id_changes: dict[str, Any] | None = None) -> Any:
    return person_from(provider("cis2"), {"sub": "555"} | (id_changes or {}), DOCTOR | changes)


def test_citizen_at_p9_is_let_in() -> None:
    person = citizen({})
    assert (person.subject, person.kind, person.name) == ("its-id:alex", "citizen", "Alex Green")
    assert (person.nhs_number, person.birth_date, person.assurance) == ("9990000018", "1980-02-29", "P9")


@pytest.mark.parametrize(
    "changes",
    [
        {"identity_proofing_level": "P5"},
        {"identity_proofing_level": "P0"},
        {"identity_proofing_level": ""},
        {"identity_proofing_level": "P90"},
        {"vot": "P5.Cp.Cd"},
        {"vot": "P9"},
        {"vot": "P90.Cp"},
        {"vot": "Cp.P9.Cd"},
        {"nhs_number": None},
        {"nhs_number": "9990000019"},
        {"nhs_number": "not a number"},
        {"birthdate": None},
        {"birthdate": "1980-02-30"},
        {"birthdate": "29/02/1980"},
        {"birthdate": "19800229"},
        {"vot": 9},
    ],
)
def test_citizen_who_has_not_proved_enough_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignInRefused):
        citizen(changes)


@pytest.mark.parametrize(
    "info", [{"sub": "sam"}, {"sub": None}, {"nhs_number": "9990000026"}, {"birthdate": "1980-03-01"}]
)
def test_userinfo_that_disagrees_is_refused(info: dict[str, Any]) -> None:
    with pytest.raises(SignInRefused):
        citizen({}, info)


def test_citizen_without_a_name_is_refused() -> None:
    with pytest.raises(SignInRefused):
        citizen({"family_name": ""}, {"family_name": "", "given_name": ""})


def test_professional_acts_in_the_role_they_chose() -> None:
    person = doctor({})
    assert (person.role_code, person.organisation, person.role) == ("R0260", "A81001", "GP")
    assert doctor({"selected_roleid": "2"}).organisation == "B82001"


def test_professional_may_have_no_role() -> None:
    person = doctor({"selected_roleid": None, "nhsid_nrbac_roles": []})
    assert (person.role_code, person.organisation) == (None, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"selected_roleid": "3"},
        {"selected_roleid": None},
        {"selected_roleid": "1", "nhsid_nrbac_roles": []},
        {"nhsid_nrbac_roles": [ROLE, ROLE]},
        {"nhsid_useruid": ""},
        {"name": ""},
        {"name": "x" * 201},
        {"sub": "556"},
        {"nhsid_nrbac_roles": [{"person_roleid": "1"}]},
    ],
)
def test_professional_without_one_role_of_their_own_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SignInRefused):
        doctor(changes)


def test_roles_that_disagree_are_refused() -> None:
    with pytest.raises(SignInRefused):
        doctor({}, {"selected_roleid": "2"})


def test_organisation_is_the_registered_one_whatever_the_token_says() -> None:
    info = {"sub": "7", "name": "Bo Reed", "organisation": "Z99999", "org_code": "Z99999"}
    person = person_from(provider("organisation"), {"sub": "7"}, info)
    assert (person.organisation, person.organisation_name) == ("C83001", "The Pharmacy")
