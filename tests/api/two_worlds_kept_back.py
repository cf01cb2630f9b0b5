"""Why a slice keeps an item back (DESIGN section 5), written as the making of such items."""

from collections.abc import Sequence
from random import Random

from tests.api.two_worlds_items import (
    CATEGORY,
    MARKS,
    NEVER_CUT_BY_DATES,
    Resource,
    Shape,
    of_class,
    said,
)
from tests.api.two_worlds_pointing import pointing

_CURRENT = frozenset(
    {
        "AllergyIntolerance",
        "Condition",
        "DiagnosticReport",
        "MedicationRequest",
        "MedicationStatement",
        "Observation",
    }
)
_DATES = (
    "effectiveDateTime",
    "recordedDate",
    "authoredOn",
    "occurrenceDateTime",
    "performedDateTime",
    "period",
    "date",
)
_NEEDS_ITS_DATE = frozenset({"Immunization"})
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"


def kept_from(shape: Shape, item: Resource, known: Sequence[str], rng: Random) -> Resource:
    """The item as this slice keeps it back, for one of the reasons a slice has; it may point at `known`."""
    if rng.random() < 0.5:
        out = _out_of_the_slice(shape, item, rng)
        if out is not None:
            # Links to a condition that is shared would bring an item in.
            fit = [name for name in known if not shape.slice.conditions or not name.startswith("Condition/")]
            return pointing(out, rng, fit, rng.randint(0, 3))
    marked = of_class(pointing(item, rng, known, rng.randint(0, 3)), rng, rng.choice(shape.kept_back))
    ticked = list(shape.slice.sensitive)
    if ticked and rng.random() < 0.5:
        # Of two classes one is ticked: that is not enough.
        word, _, _ = MARKS[rng.choice(ticked)]
        marked |= {"extension": [*marked.get("extension", ()), said(f"And {word}.")]}
    return marked


def _out_of_the_slice(shape: Shape, item: Resource, rng: Random) -> Resource | None:
    """The item as one of no shared category or outside the dates; None when the slice could still show it."""
    resource_type = str(item["resourceType"])
    category = CATEGORY.get(resource_type)
    if category is None:
        # Nothing the reader sees refers to a supporting item of a new name.
        return item if str(item["id"]).startswith("kept-") else None
    if shape.slice.current and resource_type in _CURRENT:
        if category == "allergies":
            return None
        item = _past(item)
    if category not in shape.slice.categories:
        return item
    if category in NEVER_CUT_BY_DATES or not (shape.slice.from_ or shape.slice.to):
        return None
    return _dated_outside(item, shape, rng)


def _dated_outside(item: Resource, shape: Shape, rng: Random) -> Resource:
    outside: list[str | None] = ["2019-05-05", "2018", "2017-03"]
    if shape.slice.from_ == "2024-03":
        outside += ["2024", "2024-02-29"]
    if shape.slice.to is not None:
        outside += ["2026-11-01", "2026"]
    if item["resourceType"] not in _NEEDS_ITS_DATE and not shape.slice.current:
        outside += [None, None]
    return _dated(item, rng.choice(outside))


def _past(item: Resource) -> Resource:
    """The item as no current one: a problem resolved, a medicine stopped, a result of long ago."""
    match item["resourceType"]:
        case "Condition":
            return item | {"clinicalStatus": {"coding": [{"system": _CLINICAL, "code": "resolved"}]}}
        case "MedicationRequest" | "MedicationStatement":
            return item | {"status": "completed"}
        case _:
            return _dated(item, "2019-05-05")


def _dated(item: Resource, date: str | None) -> Resource:
    """The item with this clinical date, or with none."""
    changed = dict(item)
    for name in _DATES:
        if name not in changed:
            continue
        if date is None:
            del changed[name]
        elif name == "period":
            changed[name] = {"start": date}
        elif item["resourceType"] == "DocumentReference":
            changed[name] = f"{(date + '-01-01')[:10]}T10:00:00Z"
        else:
            changed[name] = date
    return changed
