"""Whose record it is, as the verified identity said; sealed in the record's own row."""

import msgspec


class RecordProfile(msgspec.Struct, frozen=True, kw_only=True):
    """The person the record belongs to. `birth_date` is FHIR `date` text; `nhs_number` ten digits."""

    patient_id: str
    name: str
    family_name: str = ""
    given_name: str = ""
    nhs_number: str | None = None
    birth_date: str | None = None


def patient_resource(profile: RecordProfile) -> dict[str, object]:
    """The record's one Patient (FHIR R4), made from the verified identity alone."""
    resource: dict[str, object] = {"resourceType": "Patient", "id": profile.patient_id}
    if profile.nhs_number:
        resource["identifier"] = [
            {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": profile.nhs_number}
        ]
    name: dict[str, object] = {"use": "official", "text": profile.name}
    if profile.family_name:
        name["family"] = profile.family_name
    if profile.given_name:
        name["given"] = [profile.given_name]
    resource["name"] = [name]
    if profile.birth_date:
        resource["birthDate"] = profile.birth_date
    return resource
