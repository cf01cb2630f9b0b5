"""Reads what a source makes of a correction: the Task it sends back. Pure.

The source owns the status, the reason and its own messages; all else on the Task is the person's or ours.
"""

import re
from typing import Any, cast

import msgspec

from fhir_profiles.shapes import Resource, codings_in, objects_in, value_at
from fhir_profiles.validate import validate
from server.corrections import rules
from server.corrections.correction import State
from server.corrections.resources import BUSINESS_STATUS
from server.corrections.rules import Named, Refused

# What a source may leave out of what it sends back, but not change.
_NOT_THEIRS = (
    "focus",
    "for",
    "requester",
    "owner",
    "code",
    "intent",
    "priority",
    "input",
    "authoredOn",
    "reasonReference",
)
_NEVER = ("restriction", "encounter", "basedOn", "partOf")
_BLANKS = re.compile(r"[^\S\n]+")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Where the source moves the request, its words, and the item it says puts things right."""

    to: State
    text: str = ""
    resolved_by: Named | None = None


def read_answer(sent: Resource, standing: Resource) -> Answer | Refused:
    """The answer in a Task sent back for the one that stands, or what is wrong with it."""
    found = [issue for issue in validate(sent) if issue.severity in {"error", "fatal"}]
    if found:
        return Refused(found[0].detail, found[0].pointer)
    for name in _NEVER:
        if name in sent:
            return Refused(f"A correction has no {name}.", f"/{name}")
    for name in _NOT_THEIRS:
        if name in sent and sent[name] != standing.get(name):
            return Refused(f"You cannot change {name}.", f"/{name}")
    to = _state(sent)
    if isinstance(to, Refused):
        return to
    text = _text(sent, standing)
    too_long = rules.judge_text(text, "/contained", may_be_empty=True)
    return too_long or Answer(to=to, text=text, resolved_by=_resolved_by(sent))


def _state(sent: Resource) -> State | Refused:
    codes = [
        code
        for system, code in codings_in(value_at(sent, "businessStatus", "coding"))
        if system == BUSINESS_STATUS
    ]
    to = rules.state_of(codes[0]) if len(codes) == 1 else None
    if to is None:
        return Refused("Say one business status of the correction.", "/businessStatus")
    if sent["status"] != rules.STATUS[to][0]:
        return Refused("The status and the business status do not belong together.", "/status")
    return to


def _text(sent: Resource, standing: Resource) -> str:
    """The source's words: a contained Communication, else text put out, else the reason of the status."""
    said = [
        str(payload.get("contentString", ""))
        for inner in objects_in(sent.get("contained"))
        if inner.get("resourceType") == "Communication"
        for payload in objects_in(inner.get("payload"))
    ]
    said = [text for text in said if text.strip()] or [
        str(output["valueString"]) for output in objects_in(sent.get("output")) if "valueString" in output
    ]
    if not said and sent.get("statusReason") != standing.get("statusReason"):
        said = [str(value_at(sent, "statusReason", "text") or "")]
    return "\n\n".join(_plain(text) for text in said)


def _resolved_by(sent: Resource) -> Named | None:
    for output in objects_in(sent.get("output")):
        reference = cast("dict[str, Any]", output.get("valueReference") or {}).get("reference")
        named = rules.named_by(str(reference)) if reference else None
        if named is not None and named.resource_type != "Communication":
            return named
    return None


def _plain(text: str) -> str:
    """Words without characters that hide or reorder; line breaks stay."""
    visible = "".join(each if each == "\n" or each.isprintable() else " " for each in text)
    return _BLANKS.sub(" ", visible).strip()
