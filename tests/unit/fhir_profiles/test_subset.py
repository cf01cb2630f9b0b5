from typing import Any

import pytest

from fhir_profiles.search_query import parse_query
from fhir_profiles.subset import SUBSETTED, is_subset, subset
from fhir_profiles.validate import validate
from tests.unit.fhir_profiles.minimal import as_read, minimal

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'
OBSERVATION = minimal(
    "Observation",
    id="o1",
    meta={"tag": [{"code": "mine"}]},
    text={"status": "generated", "div": DIV},
    note=[{"text": "x"}],
    _valueString={"id": "a"},
    valueString="x",
)


def cut_down(*pairs: tuple[str, str]) -> dict[str, Any]:
    return subset(as_read(OBSERVATION), parse_query("Observation", pairs))


@pytest.mark.parametrize(
    ("pair", "left"),
    [
        (("_elements", "note"), {"note"}),
        (("_elements", "valueString"), {"valueString", "_valueString"}),
        (("_summary", "text"), {"text"}),
        (("_summary", "data"), {"note", "valueString", "_valueString"}),
        (("_summary", "true"), {"valueString", "_valueString"}),
    ],
)
def test_what_is_left_is_a_tagged_resource(pair: tuple[str, str], left: set[str]) -> None:
    resource = cut_down(pair)
    assert resource.keys() == {"resourceType", "id", "meta", "status", "code"} | left
    assert resource["meta"]["tag"] == [{"code": "mine"}, SUBSETTED]
    assert validate(resource) == ()


def test_a_search_that_asks_for_no_part_gets_the_whole() -> None:
    assert cut_down(("_summary", "false")) == as_read(OBSERVATION)
    assert not is_subset(parse_query("Observation", [("_summary", "false")]))


def test_cutting_down_changes_nothing_of_the_whole() -> None:
    cut_down(("_elements", "note"))
    assert OBSERVATION["meta"] == {"tag": [{"code": "mine"}]}
