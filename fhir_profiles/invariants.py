"""The invariants of single types that neither definitions nor models check (STANDARDS section 1)."""

from collections.abc import Callable, Iterator
from typing import Any

from fhir_profiles.issues import Issue

Object = dict[str, Any]
Finding = tuple[str, str, str]
"""(rule, JSON pointer, plain sentence)"""

CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
VERIFICATION = {
    "AllergyIntolerance": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
    "Condition": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
}
CONDITION_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
CONDITION_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"


def broken_invariants(resource: Object) -> tuple[Issue, ...]:
    """The invariants a well-shaped resource breaks."""
    rule_of_type = _RULES.get(resource["resourceType"])
    if rule_of_type is None:
        return ()
    findings = rule_of_type(resource)
    return tuple(
        Issue(code="invariant", rule=rule, pointer=where, detail=text) for rule, where, text in findings
    )


def _allergy(allergy: Object) -> Iterator[Finding]:
    is_error = _is_entered_in_error(allergy)
    has_status = "clinicalStatus" in allergy
    if not is_error and not has_status:
        yield (
            "ait-1",
            "/clinicalStatus",
            "clinicalStatus is required unless the allergy was entered in error.",
        )
    if is_error and has_status:
        yield "ait-2", "/clinicalStatus", "An allergy entered in error must not have a clinicalStatus."


def _condition(condition: Object) -> Iterator[Finding]:
    is_error = _is_entered_in_error(condition)
    statuses = _codes(condition.get("clinicalStatus"), CONDITION_CLINICAL)
    has_abatement = any(name.removeprefix("_").startswith("abatement") for name in condition)
    if has_abatement and not statuses & {"inactive", "resolved", "remission"}:
        yield (
            "con-4",
            "/clinicalStatus",
            "A condition that has abated must be inactive, resolved or in remission.",
        )
    if is_error and "clinicalStatus" in condition:
        yield "con-5", "/clinicalStatus", "A condition entered in error must not have a clinicalStatus."


def _observation(observation: Object) -> Iterator[Finding]:
    if "dataAbsentReason" in observation and _has_value(observation):
        yield "obs-6", "/dataAbsentReason", "dataAbsentReason must not stand beside a value."
    for index, component in enumerate(observation.get("component", ())):
        if "dataAbsentReason" in component and _has_value(component):
            where = f"/component/{index}/dataAbsentReason"
            yield "obs-6", where, "dataAbsentReason must not stand beside a value."


def _consent(consent: Object) -> Iterator[Finding]:
    if "policy" not in consent and "policyRule" not in consent:
        yield "ppc-1", "/policy", "A consent needs a policy or a policyRule."
    if "patient-privacy" in _codes(consent.get("scope"), CONSENT_SCOPE) and "patient" not in consent:
        yield "ppc-2", "/patient", "A privacy consent needs a patient."


def _list(held: Object) -> Iterator[Finding]:
    if "emptyReason" in held and "entry" in held:
        yield "lst-1", "/emptyReason", "A list with entries must not have an emptyReason."
    if held.get("mode") != "changes":
        for index, entry in enumerate(held.get("entry", ())):
            if "deleted" in entry:
                yield (
                    "lst-2",
                    f"/entry/{index}/deleted",
                    "Only a list of changes may mark an entry as deleted.",
                )


def _composition(composition: Object) -> Iterator[Finding]:
    waiting = [(f"/section/{index}", section) for index, section in enumerate(composition.get("section", ()))]
    while waiting:
        where, section = waiting.pop()
        inner = section.get("section", ())
        waiting.extend((f"{where}/section/{index}", each) for index, each in enumerate(inner))
        if "emptyReason" in section and "entry" in section:
            yield "cmp-2", f"{where}/emptyReason", "A section with entries must not have an emptyReason."
        if not {"text", "entry", "section"} & section.keys():
            yield "cmp-1", where, "A section needs text, entries or sections."


def _has_value(held: Object) -> bool:
    return any(name.startswith("value") for name in held)


def _is_entered_in_error(resource: Object) -> bool:
    system = VERIFICATION[resource["resourceType"]]
    return "entered-in-error" in _codes(resource.get("verificationStatus"), system)


def _codes(concept: Object | None, system: str) -> set[str]:
    codings: list[Object] = (concept or {}).get("coding", [])
    return {coding["code"] for coding in codings if coding.get("system") == system and "code" in coding}


_RULES: dict[str, Callable[[Object], Iterator[Finding]]] = {
    "AllergyIntolerance": _allergy,
    "Condition": _condition,
    "Observation": _observation,
    "Consent": _consent,
    "List": _list,
    "Composition": _composition,
}
