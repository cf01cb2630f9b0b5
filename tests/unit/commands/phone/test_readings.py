"""A reading becomes the Observation that says it, digit for digit; nonsense is refused plainly."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from fhir_profiles import parse
from fhir_profiles.validate import validate
from server.commands.phone_app.readings import KINDS, ReadingUnclear, reading, taken_at

NOW = datetime(2026, 11, 22, 14, 2, 3, 500, tzinfo=UTC)


def written(kind: str, said: str) -> str:
    made = reading(kind, said, at="2026-11-22", logical_id="3f0c", patient_id="p1")
    return msgspec.json.Encoder(decimal_format="number").encode(made).decode()


@pytest.mark.parametrize(
    ("kind", "said", "part"),
    [
        ("weight", "72.40", '"value":72.40,"unit":"kg"'),
        ("weight", "0.2", '"value":0.2,'),
        ("weight", "700", '"value":700,'),
        ("glucose", "5.6", '"value":5.6,"unit":"mmol/L"'),
        ("peak-flow", "420", '"value":420,"unit":"L/min"'),
        ("note", "  Slept badly.  ", '"valueString":"Slept badly."'),
        ("blood-pressure", "128/82", '"value":128,"unit":"mmHg","system":"http://unitsofmeasure.org"'),
    ],
)
def test_a_reading_keeps_the_digits_that_were_written(kind: str, said: str, part: str) -> None:
    assert part in written(kind, said)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_reading_is_about_the_person_and_by_the_person(kind: str) -> None:
    said = "128/82" if kind == "blood-pressure" else "25"
    made = reading(kind, said, at="2026-11-22", logical_id="3f0c", patient_id="p1")
    assert made["subject"] == {"reference": "Patient/p1"}
    assert made["performer"] == [{"reference": "Patient/p1"}]
    assert made["status"] == "final"
    assert not validate(parse.decode_checked(written(kind, said).encode()))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("weight", "0.1"),
        ("weight", "701"),
        ("weight", "heavy"),
        ("weight", "-72"),
        ("weight", "7e1"),
        ("weight", "NaN"),
        ("weight", "72,4"),
        ("weight", "72.4000000"),
        ("weight", "\u0667\u0662"),
        ("weight", ""),
        ("glucose", "61"),
        ("peak-flow", "19"),
        ("note", "   "),
        ("note", "x" * 4_001),
        ("blood-pressure", "128"),
        ("blood-pressure", "82/128"),
        ("blood-pressure", "128/82/60"),
        ("blood-pressure", "128/"),
    ],
)
def test_nonsense_is_refused(kind: str, said: str) -> None:
    with pytest.raises(ReadingUnclear) as refused:
        written(kind, said)
    assert str(refused.value).endswith((".", "'."))


def test_a_time_is_a_day_or_an_instant_with_its_offset() -> None:
    summer = timezone(timedelta(hours=1))
    assert taken_at(None, NOW, UTC) == "2026-11-22T14:02:03+00:00"
    assert taken_at("2026-11-20", NOW, UTC) == "2026-11-20"
    assert taken_at("2026-11-20T08:15", NOW, summer) == "2026-11-20T08:15:00+01:00"
    assert taken_at("2026-11-20T08:15:00Z", NOW, summer) == "2026-11-20T08:15:00+00:00"


@pytest.mark.parametrize("said", ["2026-11-23", "2026-11-22T14:03Z", "yesterday", "2026-13-01", "20/11/2026"])
def test_a_time_that_is_unclear_or_in_the_future_is_refused(said: str) -> None:
    with pytest.raises(ReadingUnclear):
        taken_at(said, NOW, UTC)
