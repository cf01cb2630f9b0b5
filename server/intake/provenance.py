"""Says in the record itself where an extract's items came from.

https://hl7.org/fhir/R4/provenance.html
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from fhir.resources.R4B.provenance import Provenance

from server.http.times import to_wire

# A Provenance naming more would weigh on every View, which is decided from its references.
TARGETS_MAX: Final = 500

Activity = Literal["CREATE", "UPDATE"]
Target = tuple[str, str, int]
"""(resource_type, logical_id, version)."""


def provenances(
    targets: Sequence[Target],
    activity: Activity,
    *,
    organisation: str,
    name: str,
    extract_id: str,
    now: datetime,
) -> Iterator[dict[str, Any]]:
    """Provenance resources, without ids, for versions that one extract brought."""
    for start in range(0, len(targets), TARGETS_MAX):
        resource = _provenance(targets[start : start + TARGETS_MAX], activity, organisation, name)
        resource["recorded"] = to_wire(now)
        resource["entity"] = [
            {
                "role": "source",
                "what": {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{extract_id}"}},
            }
        ]
        Provenance.model_validate(resource)
        yield resource


def _provenance(
    targets: Sequence[Target], activity: Activity, organisation: str, name: str
) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "target": [{"reference": f"{kind}/{item}/_history/{version}"} for kind, item, version in targets],
        "recorded": "",
        "activity": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": activity}]
        },
        "agent": [
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                            "code": "custodian",
                        }
                    ]
                },
                "who": {
                    "identifier": {
                        "system": "https://fhir.nhs.uk/Id/ods-organization-code",
                        "value": organisation,
                    },
                    "display": name,
                },
            }
        ],
    }
