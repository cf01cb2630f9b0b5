"""The Consent behind a grant: valid FHIR, and true to the grant."""

import json
from typing import Any

import msgspec
import pytest
from fhir.resources.R4B.consent import Consent

from fhir_profiles.heads import SENSITIVE_CLASSES
from fhir_profiles.parse import encode
from fhir_profiles.slices import Slice
from fhir_profiles.validate import validate
from server.sharing import rules
from server.sharing.consent import consent, stamped_consent
from server.sharing.grant import Grant, Recipient
from tests.unit.sharing.making import (
    GRANT_ID,
    NOW,
    PATEL,
    REDEMPTION_ID,
    active,
    ended,
    moved,
    offered,
    pending,
)

WIDE = Slice(
    categories=("medicines", "documents", "contact"),
    from_="2025-01-01",
    to="2025-12-31",
    add=("Observation/1",),
    hide=("Condition/2",),
    sensitive=("mental-health",),
)
ROLE = Recipient(kind="role", role_code="R0260", organisation="B86001")
LIVES = {
    "proposed": offered(slice=WIDE),
    "proposed while someone waits": pending(slice=WIDE),
    "active": active(slice=WIDE),
    "active for the current summary": active(),
    "inactive": ended(slice=WIDE),
    "rejected": moved(rules.reject(pending(), REDEMPTION_ID, NOW)),
    "proposed with an end": msgspec.structs.replace(offered(), ends_at=NOW),
    "proposed to a role": offered(to=ROLE),
    "proposed to a person": offered(to=Recipient(kind="professional", subject="cis2:patel")),
}


def stamped(grant: Grant) -> dict[str, Any]:
    return stamped_consent(grant, "patient-1", 1, "2026-11-23T09:00:00.000Z")


@pytest.mark.parametrize("life", LIVES)
def test_a_consent_is_valid_by_both_validators(life: str) -> None:
    resource = stamped(LIVES[life])
    assert validate(resource) == ()
    read = Consent.model_validate_json(encode(resource))
    assert read.status == life.partition(" ")[0]
    assert read.patient is not None
    assert read.patient.reference == "Patient/patient-1"
    assert read.id == str(GRANT_ID)


def test_a_consent_says_who_what_and_for_how_long() -> None:
    provision = consent(active(slice=WIDE), "patient-1")["provision"]
    assert provision["type"] == "permit"
    assert provision["period"] == {"start": "2026-11-23T09:00:00.000Z", "end": "2026-11-24T09:00:00.000Z"}
    assert provision["actor"][0]["reference"]["identifier"]["value"] == PATEL.subject
    assert provision["purpose"][0]["code"] == "TREAT"
    named = {coding["code"] for coding in provision["class"]}
    assert {"DocumentReference", "MedicationRequest", "Patient", "Condition"} <= named
    assert "Encounter" not in named
    assert provision["dataPeriod"] == {"start": "2025-01-01", "end": "2025-12-31"}


def test_a_consent_for_one_category_permits_its_types_alone() -> None:
    shared = Slice(current=False, categories=("immunisations",), sensitive=SENSITIVE_CLASSES)
    provision = consent(active(slice=shared), "patient-1")["provision"]
    assert [coding["code"] for coding in provision["class"]] == ["Immunization"]
    assert "provision" not in provision


def test_the_owners_consent_says_what_is_kept_back_and_what_was_added() -> None:
    exceptions = consent(active(slice=WIDE), "patient-1")["provision"]["provision"]
    denied = {label["code"] for one in exceptions for label in one.get("securityLabel", [])}
    assert denied == {"SEX", "SUD", "SDV", "VIO", "HIV", "GDIS"}
    data = {one["type"]: one["data"][0]["reference"]["reference"] for one in exceptions if "data" in one}
    assert data == {"deny": "Condition/2", "permit": "Observation/1"}


def test_an_ended_consent_ends_when_it_was_ended() -> None:
    assert consent(ended(), "patient-1")["provision"]["period"]["end"] == "2026-11-23T10:00:00.000Z"


def test_an_end_chosen_before_the_code_was_used_stands_alone() -> None:
    assert consent(LIVES["proposed with an end"], "patient-1")["provision"]["period"] == {
        "end": "2026-11-23T09:00:00.000Z"
    }
    assert "period" not in consent(offered(), "patient-1")["provision"]


def test_a_consent_names_the_version_of_its_grant() -> None:
    assert [stamped(grant)["extension"][0]["valueInteger"] for grant in (offered(), active(), ended())] == [
        1,
        3,
        4,
    ]


def test_an_open_offer_names_no_actor() -> None:
    assert "actor" not in consent(offered(), "patient-1")["provision"]


def test_words_in_a_name_are_not_markup() -> None:
    tricky = msgspec.structs.replace(PATEL, name="<script>alert(1)</script> & Co")
    text = json.dumps(stamped(msgspec.structs.replace(active(), redeemer=tricky))["text"])
    assert "<script" not in text
    assert "&lt;script&gt;" in text
