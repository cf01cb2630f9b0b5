"""`held phone add|change|remove|question`: what a person does, kept before the command ends, sent later."""

import argparse
from typing import Any

import msgspec

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.naming import is_own, item_named
from server.commands.phone_app.opened import OpenPhone, opened, read_json
from server.commands.phone_app.questions import how_questions_stand
from server.commands.phone_app.readings import reading, taken_at
from server.commands.phone_app.refusals import DONE, PhoneRefusal
from server.commands.phone_app.words import line_of, title_of, value_of
from sync.overlay import Shown
from sync.phone import Draft, NotPossible
from sync.values import JsonObject
from sync.values import read_json as read_exactly

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_KIND_BY_CODE = {
    "85354-9": "blood-pressure",
    "29463-7": "weight",
    "14743-9": "glucose",
    "19935-6": "peak-flow",
}
_NOTE = "51855-5"
WAITS = "It waits to be sent."


class NotYours(PhoneRefusal):
    """Only what you recorded yourself can be changed here. Say what is wrong with `held phone question`."""


class QuestionUnclear(PhoneRefusal):
    """We cannot tell what is wrong."""


async def add_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Records a reading."""
    with opened(folder) as phone:
        at = taken_at(arguments.at, phone.now, phone.now.tzinfo)
        new_id, patient_id = phone.new_id(), phone.facts.patient_id
        made = reading(arguments.kind, arguments.value, at=at, logical_id=new_id, patient_id=patient_id)
        kept = _write(phone, Draft(op="create", type="Observation", id=new_id, body=_exact(made)))
        print(f"{line_of(read_json(kept.body))}\n{WAITS}")
    return DONE


async def change_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Writes another value into a reading of one's own."""
    with opened(folder) as phone:
        item = _own(phone, arguments.item)
        standing = read_json(item.body)
        at: str = standing.get("effectiveDateTime", "")
        made = reading(
            _kind_of(standing), arguments.value, at=at, logical_id=item.id, patient_id=phone.facts.patient_id
        )
        patch = {name: made[name] for name in ("valueQuantity", "valueString", "component") if name in made}
        kept = _write(phone, Draft(op="patch", type=item.type, id=item.id, patch=_exact(patch)))
        print(f"{line_of(read_json(kept.body))}\n{WAITS}")
    return DONE


async def remove_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Takes a reading of one's own away; its earlier versions stay with the server."""
    with opened(folder) as phone:
        item = _own(phone, arguments.item)
        _draft(phone, Draft(op="delete", type=item.type, id=item.id))
        print(f"Removed here: {line_of(read_json(item.body))}\n{WAITS}")
    return DONE


async def question_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Asks the source to put something right; asked nothing, says how each question stands."""
    if not (arguments.item or arguments.missing or arguments.should_say):
        return await how_questions_stand(folder)
    with opened(folder) as phone:
        asked = _missing(arguments) if arguments.missing else _about(phone, arguments)
        args = {name: value for name, value in asked.items() if value}
        _draft(phone, Draft(op="command", type="Task", args={"command": "question", **args}))
        print(f"Your question is kept. {WAITS}")
        if "target" in args:
            print("The item is marked as questioned by you from now on.")
    return DONE


def _missing(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.item or arguments.kind not in (None, "missing"):
        raise QuestionUnclear("Name an item, or say --missing: not both.")
    if not arguments.should_say:
        raise QuestionUnclear("Say with --should-say what is missing.")
    return {
        "kind": "missing",
        "should_say": arguments.should_say,
        "organisation": arguments.organisation,
    }


def _about(phone: OpenPhone, arguments: argparse.Namespace) -> dict[str, Any]:
    kind = arguments.kind or "wrong"
    if not arguments.item or kind == "missing":
        raise QuestionUnclear("Name the item that is wrong, or say --missing.")
    if not arguments.should_say and kind != "not-mine":
        raise QuestionUnclear("Say with --should-say what it should say.")
    item = item_named(phone, arguments.item)
    if item.by == "self" or not item.version:
        raise QuestionUnclear("You recorded this yourself: change it, or remove it.")
    standing = read_json(item.body)
    says = ": ".join(filter(None, (title_of(standing), value_of(standing))))
    return {
        "kind": kind,
        "target": f"{item.type}/{item.id}/_history/{item.version}",
        "element": arguments.element,
        "says": arguments.says or says,
        "should_say": arguments.should_say,
    }


def _own(phone: OpenPhone, name: str) -> Shown:
    item = item_named(phone, name, only_own=True)
    if not is_own(item):
        raise NotYours
    return item


def _kind_of(observation: Any) -> str:
    codes = {coding.get("code") for coding in observation.get("code", {}).get("coding", [])}
    found = [kind for code, kind in _KIND_BY_CODE.items() if code in codes]
    if not found:
        raise NotYours("This phone does not know how to change such an item.")
    return found[0]


def _write(phone: OpenPhone, draft: Draft) -> Shown:
    """Keeps an act on an item; the item as it is now seen."""
    mutation_type, logical_id = _draft(phone, draft)
    return item_named(phone, f"{mutation_type}/{logical_id}")


def _draft(phone: OpenPhone, draft: Draft) -> tuple[str, str]:
    try:
        mutation = phone.engine.write(draft)
    except NotPossible as refused:
        raise PhoneRefusal(str(refused)) from refused
    return mutation.type, mutation.id


def _exact(resource: dict[str, Any]) -> JsonObject:
    """The resource with every number as it was written."""
    return read_exactly(_ENCODER.encode(resource))
