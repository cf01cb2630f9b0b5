"""Whether a resource is one we can hold: its R4 definition, our own rules, and the models' second opinion."""

from typing import Any

from fhir_profiles.invariants import broken_invariants
from fhir_profiles.issues import Issue
from fhir_profiles.schema import resource_types
from fhir_profiles.second_opinion import second_opinion
from fhir_profiles.walk import Walk


def validate(resource: dict[str, Any]) -> tuple[Issue, ...]:
    """What is wrong with a resource made by `parse.decode`; empty when nothing is.

    Errors come first. A resource with warnings alone can be held.
    """
    resource_type = resource.get("resourceType")
    if type(resource_type) is not str:
        missing = "resourceType is required."
        return (Issue(code="required", rule="resource-type", pointer="/resourceType", detail=missing),)
    if resource_type not in resource_types():
        unknown = "This type of resource is not supported."
        return (Issue(code="not-supported", rule="resource-type", pointer="/resourceType", detail=unknown),)
    walk = Walk()
    try:
        walk.resource(resource, None)
    except RecursionError:
        return (Issue(code="structure", rule="too-deep", detail="The resource is nested too deeply."),)
    errors = tuple(walk.issues) or broken_invariants(resource)
    if not errors:
        errors = second_opinion(resource, has_raw_numbers=walk.has_raw_numbers, stand_ins=walk.stand_ins)
    return (*errors, *walk.warnings)
