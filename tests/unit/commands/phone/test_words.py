"""What the phone says of an item, and that no text of a record can play tricks on a terminal."""

from datetime import UTC, datetime
from typing import Any

import pytest

from server.commands.phone_app.words import clock_time, counted, joined, line_of, one_line, types_named

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("resource", "line"),
    [
        (
            {
                "resourceType": "Observation",
                "id": "o1",
                "code": {"text": "Body weight"},
                "effectiveDateTime": "2026-11-20T08:00:00Z",
                "valueQuantity": {"value": "72.40", "unit": "kg"},
            },
            "2026-11-20  Body weight: 72.40 kg  [Observation/o1]",
        ),
        (
            {
                "resourceType": "Observation",
                "id": "o2",
                "code": {"coding": [{"display": "Blood pressure"}]},
                "component": [
                    {"valueQuantity": {"value": 128, "unit": "mmHg"}},
                    {"valueQuantity": {"value": 82, "unit": "mmHg"}},
                ],
            },
            "-           Blood pressure: 128/82 mmHg  [Observation/o2]",
        ),
        (
            {"resourceType": "MedicationRequest", "id": "m", "medicationReference": {"display": "Aspirin"}},
            "-           Aspirin  [MedicationRequest/m]",
        ),
        (
            {"resourceType": "Encounter", "id": "e", "period": {"start": "2025-01-02"}},
            "2025-01-02  consultation  [Encounter/e]",
        ),
        (
            {"resourceType": "Thing", "id": "x", "code": [None, 3], "component": "?"},
            "-           Thing  [Thing/x]",
        ),
        (
            {
                "resourceType": "Task",
                "id": "t",
                "authoredOn": "2026-11-22T06:11:44.562Z",
                "code": {"coding": [{"code": "medRecCxReq"}]},
                "owner": {"display": "Beeston Vale Surgery"},
                "businessStatus": {"coding": [{"code": "in-review"}]},
            },
            "2026-11-22  Question to Beeston Vale Surgery: in review  [Task/t]",
        ),
        (
            {"resourceType": "Communication", "id": "c", "payload": [{"contentString": "It was\n2011."}]},
            "-           message: It was 2011.  [Communication/c]",
        ),
        ({}, "-             [/]"),
    ],
)
def test_an_item_is_one_line(resource: dict[str, Any], line: str) -> None:
    assert line_of(resource) == line


def test_no_text_of_a_record_moves_the_cursor_or_turns_the_line_around() -> None:
    assert one_line("a\x1b[2Jb\r\n\u202ec\x9bd") == "a [2Jb c d"
    assert one_line("x" * 300, longest=10) == "xxxxxxx..."


def test_a_word_names_types() -> None:
    assert types_named("medicines") is not None
    assert types_named("condition") == types_named("problem") == types_named("Condition") == ("Condition",)
    assert types_named("BodyStructure") == ("BodyStructure",)
    assert types_named("drop table") is None


def test_times_and_counts_read_as_a_person_says_them() -> None:
    assert clock_time(datetime(2026, 11, 22, 14, 2, tzinfo=UTC), NOW, UTC) == "14:02"
    assert clock_time(datetime(2026, 11, 3, 9, 5, tzinfo=UTC), NOW, UTC) == "09:05 on 3 November"
    assert clock_time(datetime(2025, 11, 3, 9, 5, tzinfo=UTC), NOW, UTC) == "09:05 on 3 November 2025"
    assert (counted(1, "change"), counted(3, "change")) == ("1 change", "3 changes")
    assert joined(["a"]) == "a"
    assert joined(["a", "b", "c"]) == "a, b and c"
