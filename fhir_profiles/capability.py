"""The CapabilityStatement, drawn from the catalogue (https://hl7.org/fhir/R4/capabilitystatement.html)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fhir_profiles.catalogue import CATALOGUE, TypeEntry

FHIR_VERSION = "4.0.1"
INTERACTIONS = ("read", "vread", "history-instance", "search-type")
# What an organisation that was asked for a correction may send back.
UPDATED_BY_INTEGRATORS = "Task"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
# Every type has these beside its own parameters (DESIGN section 4).
_COMMON = (
    ("_id", "token", "http://hl7.org/fhir/SearchParameter/Resource-id"),
    ("_lastUpdated", "date", "http://hl7.org/fhir/SearchParameter/Resource-lastUpdated"),
)
_RESULT_PARAMETERS = ("_count", "_sort", "_include", "_elements", "_summary", "_format")


class Operation(msgspec.Struct, frozen=True):
    """An operation offered on a resource type: its name without the dollar, and the URL of its definition."""

    resource_type: str
    name: str
    definition: str


PATIENT_OPERATIONS = (
    Operation("Patient", "everything", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
)


def capability_statement(
    base_url: str, version: str, *, published: str, operations: Sequence[Operation] = PATIENT_OPERATIONS
) -> dict[str, Any]:
    """What `/fhir` at this base URL can do. `published` is the date of this release, as YYYY-MM-DD."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": published,
        "kind": "instance",
        "software": {"name": "Held", "version": version},
        "implementation": {"description": "Held, the health record you hold", "url": f"{base_url}/fhir"},
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "documentation": _documentation(),
                "security": _security(base_url),
                "resource": [_resource(entry, operations) for entry in CATALOGUE.values()],
            }
        ],
    }


def _documentation() -> str:
    return (
        f"Read only, but for the {UPDATED_BY_INTEGRATORS} of a correction, "
        f"which the organisation that is asked finds by owner and _lastUpdated and sends back with If-Match. "
        f"Every other search also takes {', '.join(_RESULT_PARAMETERS)}."
    )


def _security(base_url: str) -> dict[str, Any]:
    uris = (("authorize", "/oauth/authorize"), ("token", "/oauth/token"), ("revoke", "/oauth/revoke"))
    return {
        "extension": [
            {
                "url": OAUTH_URIS,
                "extension": [{"url": name, "valueUri": base_url + path} for name, path in uris],
            }
        ],
        "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}],
        "description": "DPoP-bound access tokens for one record each; every read is logged for the citizen.",
    }


def _resource(entry: TypeEntry, operations: Sequence[Operation]) -> dict[str, Any]:
    is_updated = entry.name == UPDATED_BY_INTEGRATORS
    interactions = (*INTERACTIONS, "update") if is_updated else INTERACTIONS
    resource: dict[str, Any] = {
        "type": entry.name,
        "interaction": [{"code": code} for code in interactions],
        "versioning": "versioned-update" if is_updated else "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [*_search_params(entry)],
    }
    references = [name for name, param in entry.search.items() if param.kind == "reference"]
    if references:
        resource["searchInclude"] = [f"{entry.name}:{name}" for name in references]
    offered = [each for each in operations if each.resource_type == entry.name]
    if offered:
        resource["operation"] = [{"name": each.name, "definition": each.definition} for each in offered]
    return resource


def _search_params(entry: TypeEntry) -> list[dict[str, Any]]:
    listed = [(name, param.kind, param.definition) for name, param in entry.search.items()]
    return [{"name": name, "definition": url, "type": kind} for name, kind, url in (*_COMMON, *listed)]
