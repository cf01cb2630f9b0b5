"""A report as a person reads it."""

from typing import Any

from server.commands.report_words import KINDS_SHOWN_MAX, report_lines

COUNTS = {
    "received": 1204,
    "new": 1,
    "changed": 0,
    "unchanged": 0,
    "ended_at_source": 0,
    "not_supported": 1,
    "quarantined": 2,
}


def item(verdict: str, resource_type: str, pointer: str, rule: str | None = None) -> dict[str, Any]:
    return {"verdict": verdict, "type": resource_type, "pointer": pointer, "rule": rule}


def test_each_kind_that_was_not_taken_in_is_named_with_its_rule_count_and_first_place() -> None:
    report = {
        "extract_id": "e-1",
        "state": "done",
        "counts": COUNTS,
        "items": [
            item("new", "Condition", "/entry/0/resource"),
            item("quarantined", "Condition", "/entry/3/resource", "con-4"),
            item("quarantined", "Condition", "/entry/9/resource", "con-4"),
            item("not-supported", "Claim", "/entry/5/resource"),
        ],
    }
    lines = list(report_lines(report))
    assert lines[0] == "  extract e-1: done"
    assert "          received    1,204" in lines
    assert "  quarantined: 2 Condition by rule con-4, the first at /entry/3/resource" in lines
    assert "  not-supported: 1 Claim, the first at /entry/5/resource" in lines
    assert not any("1 Condition" in line for line in lines)


def test_a_held_extract_says_why_nothing_happened() -> None:
    report = {"extract_id": "e-1", "state": "held", "detail": "We hold it.", "counts": COUNTS, "items": []}
    assert "  We hold it." in report_lines(report)


def test_a_very_mixed_bag_is_cut_short_and_says_so() -> None:
    items = [item("not-supported", f"Type{place}", "/entry/0") for place in range(KINDS_SHOWN_MAX + 3)]
    lines = list(report_lines({"extract_id": "e", "state": "done", "counts": COUNTS, "items": items}))
    assert lines[-1] == "  and 3 further kinds"
