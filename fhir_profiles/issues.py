"""What is wrong with a resource or a request, as values, and as an OperationOutcome.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Severity = Literal["fatal", "error", "warning", "information"]


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    `code` is FHIR's issue type; `rule` our stable name of the rule broken; `pointer` the JSON pointer of the
    element, "" for the whole; `detail` a plain sentence that repeats nothing of what was sent but its place.
    """

    severity: Severity = "error"
    code: str
    rule: str
    pointer: str = ""
    detail: str


def has_errors(issues: Sequence[Issue]) -> bool:
    return any(issue.severity in {"fatal", "error"} for issue in issues)


def expression_of(pointer: str, resource_type: str = "") -> str:
    """The FHIRPath of a JSON pointer: `/code/coding/0` of an Observation is `Observation.code.coding[0]`."""
    path = resource_type
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        path += f"[{name}]" if name.isdigit() else f".{name}" if path else name
    return path


def operation_outcome(issues: Sequence[Issue], resource_type: str = "") -> dict[str, Any]:
    """An OperationOutcome of these issues; one that says all is well when there are none."""
    if not issues:
        well = {"severity": "information", "code": "informational", "details": {"text": "All is well."}}
        return {"resourceType": "OperationOutcome", "issue": [well]}
    return {"resourceType": "OperationOutcome", "issue": [_entry(issue, resource_type) for issue in issues]}


def _entry(issue: Issue, resource_type: str) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "details": {"text": issue.detail},
        "diagnostics": issue.rule,
    }
    if expression := expression_of(issue.pointer, resource_type):
        entry["expression"] = [expression]
    return entry
