"""Which elements another element cannot stand without, where a cut reference may take them away.

Source: the R4 StructureDefinitions (minimum 1, type Reference or holding one). A test compares the two.
"""

import re

# Written as in JSON, so a choice such as `medication[x]` stands under each name that can hold a reference.
_NEEDED = frozenset(
    {
        "AllergyIntolerance.patient",
        "Appointment.participant",
        "AuditEvent.agent",
        "AuditEvent.source",
        "AuditEvent.source.observer",
        "CarePlan.subject",
        "Communication.payload.contentReference",
        "Composition.author",
        "Composition.relatesTo.targetReference",
        "Condition.subject",
        "Consent.provision.actor.reference",
        "Consent.provision.data.reference",
        "Coverage.beneficiary",
        "Coverage.payor",
        "DiagnosticReport.media.link",
        "DocumentReference.relatesTo.target",
        "Encounter.diagnosis.condition",
        "Encounter.location.location",
        "EpisodeOfCare.diagnosis.condition",
        "EpisodeOfCare.patient",
        "FamilyMemberHistory.patient",
        "Flag.subject",
        "Goal.subject",
        "Immunization.patient",
        "Immunization.performer.actor",
        "List.entry.item",
        "Media.content",
        "Medication.ingredient.itemReference",
        "MedicationAdministration.medicationReference",
        "MedicationAdministration.performer.actor",
        "MedicationAdministration.subject",
        "MedicationDispense.medicationReference",
        "MedicationDispense.performer.actor",
        "MedicationDispense.subject",
        "MedicationRequest.medicationReference",
        "MedicationRequest.subject",
        "MedicationStatement.medicationReference",
        "MedicationStatement.subject",
        "Patient.link.other",
        "Procedure.focalDevice.manipulated",
        "Procedure.performer.actor",
        "Procedure.subject",
        "Provenance.agent",
        "Provenance.agent.who",
        "Provenance.entity.agent.who",
        "Provenance.entity.what",
        "Provenance.target",
        "Questionnaire.item.answerOption.valueReference",
        "Questionnaire.item.enableWhen.answerReference",
        "Questionnaire.item.initial.valueReference",
        "RelatedPerson.patient",
        "ServiceRequest.subject",
        "Task.input.valueReference",
        "Task.output.valueReference",
    }
)
# May stand anywhere. A modifier extension is needed because its element reads wrongly without it.
_NEEDED_ANYWHERE = frozenset({"modifierExtension"})
_PROVISIONS = re.compile(r"(?:\.provision)+")
_SIGNATURES = (".signature", ".valueSignature")


def is_needed_element(path: str, name: str) -> bool:
    """Whether the element at `path` falls when its element `name` is gone.

    A contained resource at `X.contained(Type)` follows the rules of its own type.
    """
    if name in _NEEDED_ANYWHERE:
        return True
    if name == "who" and path.endswith(_SIGNATURES):
        return True
    return f"{_own_path(path)}.{name}" in _NEEDED


def _own_path(path: str) -> str:
    _, found, inner = path.rpartition(".contained(")
    own = inner.replace(")", "", 1) if found else path
    # A provision of a Consent holds further provisions of the same shape.
    return _PROVISIONS.sub(".provision", own) if own.startswith("Consent.") else own
