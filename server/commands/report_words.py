"""An extract's report as a table a person can read. Pure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

KINDS_SHOWN_MAX = 40
_COUNTS = ("received", "new", "changed", "unchanged", "ended_at_source", "not_supported", "quarantined")


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """The state, the counts, and each kind of thing that was not taken in."""
    yield f"  extract {report['extract_id']}: {report['state']}"
    if detail := report.get("detail"):
        yield f"  {detail}"
    counts: dict[str, int] = report["counts"]
    for name in _COUNTS:
        yield f"  {name.replace('_', ' '):>16}  {counts[name]:>7,}"
    yield from _left_out(report.get("items") or [])


def _left_out(items: list[dict[str, Any]]) -> Iterator[str]:
    kinds: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], str] = {}
    for item in items:
        if item["verdict"] in {"quarantined", "not-supported"}:
            kind = (item["verdict"], item["type"], item.get("rule") or "")
            kinds[kind] += 1
            first.setdefault(kind, item["pointer"])
    for (verdict, resource_type, rule), count in kinds.most_common(KINDS_SHOWN_MAX):
        because = f" by rule {rule}" if rule else ""
        where = first[verdict, resource_type, rule]
        yield f"  {verdict}: {count:,} {resource_type}{because}, the first at {where}"
    if len(kinds) > KINDS_SHOWN_MAX:
        yield f"  and {len(kinds) - KINDS_SHOWN_MAX} further kinds"
