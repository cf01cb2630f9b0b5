"""How the FHIR searches look in the OpenAPI document: their parameters and their form.

The CapabilityStatement says which types take which; here stand those that clinicians use most.
"""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Parameter, RequestBody, Schema

FORM_TYPE = "application/x-www-form-urlencoded"
FHIR_TYPE = "application/fhir+json"
_TEXT = Schema(type=OpenAPIType.STRING)
_COUNT = Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=200)
_FORMAT = Schema(type=OpenAPIType.STRING, enum=["json", "application/fhir+json"])
_SUMMARY = Schema(type=OpenAPIType.STRING, enum=["true", "false", "text", "data"])
_TASK = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "resourceType": Schema(const="Task"),
        "id": Schema(type=OpenAPIType.STRING),
        "status": Schema(type=OpenAPIType.STRING, enum=["in-progress", "completed"]),
        "businessStatus": Schema(type=OpenAPIType.OBJECT),
    },
    required=["resourceType", "id", "status", "businessStatus"],
)
_SEARCH = {
    "_id": _TEXT,
    "_lastUpdated": _TEXT,
    "_count": _COUNT,
    "_sort": _TEXT,
    "_summary": _SUMMARY,
    "_format": _FORMAT,
    "patient": _TEXT,
    "code": _TEXT,
    "category": _TEXT,
    "status": _TEXT,
    "date": _TEXT,
}


@dataclass
class SearchOperation(Operation):
    """GET /fhir/{resource_type}."""

    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), *_parameters(_SEARCH)]


@dataclass
class SearchFormOperation(Operation):
    """POST /fhir/{resource_type}/_search."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.OBJECT, properties=dict(_SEARCH))
        self.request_body = RequestBody(content={FORM_TYPE: OpenAPIMediaType(schema=schema)}, required=False)


@dataclass
class EverythingOperation(Operation):
    """GET /fhir/Patient/{id}/$everything."""

    def __post_init__(self) -> None:
        own = {"_count": _COUNT, "_type": _TEXT, "_format": _FORMAT}
        self.parameters = [*(self.parameters or []), *_parameters(own)]


@dataclass
class AnswerTaskOperation(Operation):
    """PUT /fhir/Task/{id}."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(content={FHIR_TYPE: OpenAPIMediaType(schema=_TASK)}, required=True)
        self.parameters = [
            *(self.parameters or []),
            Parameter(name="If-Match", param_in="header", required=True, schema=_TEXT),
            *_parameters({"_format": _FORMAT}),
        ]


def _parameters(schemas: dict[str, Schema]) -> list[Parameter]:
    return [
        Parameter(name=name, param_in="query", required=False, schema=schema)
        for name, schema in schemas.items()
    ]
