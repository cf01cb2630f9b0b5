"""What the models of `fhir.resources` (R4B, equal to R4 for our types) say about a resource.

A model is imported when its type is first met. It checks and is thrown away: it never rewrites what we keep.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from typing import Any, cast

import msgspec
from pydantic import ValidationError

from fhir_profiles.issues import Issue
from fhir_profiles.walk import Path

ISSUES_MAX = 20
# FHIR lets a required choice be there only as `_name`; the models want a value, so they are shown this one.
STAND_IN = "1970-01-01"


@cache
def _model(resource_type: str) -> Any:
    from fhir.resources.R4B import get_fhir_model_class

    return get_fhir_model_class(resource_type)


def load_models(resource_types: Iterable[str]) -> None:
    """Imports the models now: one takes some 50 ms in which nothing else runs, too long when serving."""
    for resource_type in resource_types:
        _model(resource_type)


def second_opinion(
    resource: dict[str, Any], *, has_raw_numbers: bool, stand_ins: list[tuple[Path, str]]
) -> tuple[Issue, ...]:
    """The model's objections. It is given a copy where it cannot take what FHIR allows."""
    candidate = _model_copy(resource) if has_raw_numbers or stand_ins else resource
    for path, name in stand_ins:
        _object_at(candidate, path)[name] = STAND_IN
    try:
        _model(resource["resourceType"]).model_validate(candidate)
    except ValidationError as refused:
        return tuple(_issue(cast("dict[str, Any]", error)) for error in refused.errors()[:ISSUES_MAX])
    except KeyError:
        return (_general("contained-type", "A contained resource is of a type FHIR R4 does not know."),)
    except RecursionError:
        return (_general("too-deep", "The resource is nested too deeply."),)
    return ()


def _issue(error: dict[str, Any]) -> Issue:
    pointer = "".join(f"/{str(step)[:64].replace('~', '~0').replace('/', '~1')}" for step in error["loc"])
    rule = f"model-{error['type'].replace('_', '-').replace('.', '-')}"
    return Issue(
        code="value", rule=rule, pointer=pointer, detail="The FHIR model does not accept this value."
    )


def _general(rule: str, detail: str) -> Issue:
    return Issue(code="structure", rule=rule, detail=detail)


def _model_copy(value: Any) -> Any:
    """A copy in which numbers kept as sent are Decimals. Parsing has limited their digits and exponents."""
    if type(value) is dict:
        return {name: _model_copy(item) for name, item in cast("dict[str, Any]", value).items()}
    if type(value) is list:
        return [_model_copy(item) for item in cast("list[Any]", value)]
    return Decimal(bytes(value).decode()) if type(value) is msgspec.Raw else value


def _object_at(resource: dict[str, Any], path: Path) -> dict[str, Any]:
    steps: list[Any] = []
    while path is not None:
        path, step = path
        steps.append(step)
    found: Any = resource
    for step in reversed(steps):
        found = found[step]
    return found
