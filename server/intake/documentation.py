"""How sending an extract looks in the OpenAPI document: the Bundle is read by hand, so it is told by hand."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Parameter, RequestBody, Schema

_BUNDLE = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "resourceType": Schema(const="Bundle"),
        "type": Schema(type=OpenAPIType.STRING, enum=["transaction", "collection", "document"]),
        "entry": Schema(type=OpenAPIType.ARRAY, items=Schema(type=OpenAPIType.OBJECT)),
    },
    required=["resourceType", "type"],
)
_EXTENT = Schema(type=OpenAPIType.STRING, enum=["full", "partial"])
_YES_OR_NO = Schema(type=OpenAPIType.STRING, enum=["true", "false"])
_KEY = Schema(type=OpenAPIType.STRING, min_length=1, max_length=200)


@dataclass
class SendExtractOperation(Operation):
    """POST /extracts."""

    def __post_init__(self) -> None:
        content = {"application/fhir+json": OpenAPIMediaType(schema=_BUNDLE)}
        self.request_body = RequestBody(content=content, required=True)
        self.parameters = [
            *(self.parameters or []),
            Parameter(name="extent", param_in="query", required=False, schema=_EXTENT),
            Parameter(name="dry_run", param_in="query", required=False, schema=_YES_OR_NO),
            Parameter(name="Idempotency-Key", param_in="header", required=False, schema=_KEY),
        ]
