"""`held phone list|show`: the record as this phone holds it, with what was done here laid over it."""

import argparse
from collections.abc import Iterator
from typing import Any

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.naming import Read, everything, is_own, item_named, with_words
from server.commands.phone_app.opened import OpenPhone, opened, read_json
from server.commands.phone_app.refusals import DONE
from server.commands.phone_app.words import (
    SELF_RECORDED,
    TYPE_NAMES,
    counted,
    date_of,
    line_of,
    one_line,
    types_named,
)
from sync.overlay import Shown


async def list_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """The record, newest first."""
    with opened(folder) as phone:
        shown = _chosen(phone, arguments.what)
        medicines = {
            f"Medication/{item.id}": read_json(item.body) for item in phone.engine.shown("Medication")
        }
    for item, body in sorted(shown, key=_by_date, reverse=True):
        medicine = medicines.get(body.get("medicationReference", {}).get("reference", ""))
        print(line_of(body, medicine=medicine) + marks_of(item))
    if not shown:
        print("There is nothing like that on this phone.")
    return DONE


async def show_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """One item whole."""
    with opened(folder) as phone:
        item = item_named(phone, arguments.item)
        questions = [
            line_of(read_json(task.body)) for task in phone.engine.shown("Task") if _asks(task, item)
        ]
    for line in (*_whole(item), *questions):
        print(line)
    if arguments.versions:
        for line in await _versions(folder, item):
            print(line)
    return DONE


def marks_of(item: Shown) -> str:
    """What the person should know of an item beside what it says."""
    said = ("questioned by you" if item.questioned else "", "waiting to be sent" if item.waiting else "")
    found = ", ".join(filter(None, said))
    return f"  ({found})" if found else ""


def _chosen(phone: OpenPhone, what: str | None) -> list[Read]:
    if what is None:
        return list(everything(phone))
    if what == SELF_RECORDED:
        return [(item, body) for item, body in everything(phone) if is_own(item)]
    types = types_named(what)
    if types is None:
        return list(with_words(phone, what))
    return [(item, read_json(item.body)) for name in types for item in phone.engine.shown(name)]


def _by_date(line: Read) -> tuple[str, str, str]:
    item, body = line
    return date_of(body), item.type, item.id


def _asks(task: Shown, item: Shown) -> bool:
    """Whether a question is about this item."""
    focus = str(read_json(task.body).get("focus", {}).get("reference", ""))
    return focus.partition("/_history/")[0] == f"{item.type}/{item.id}"


def _whole(item: Shown) -> Iterator[str]:
    body = read_json(item.body)
    yield line_of(body) + marks_of(item)
    yield f"  kind      {TYPE_NAMES.get(item.type, item.type)}"
    yield f"  from      {'yourself' if item.by == 'self' else one_line(item.by) or 'Held'}"
    yield f"  version   {item.version or 'not yet sent'}"
    yield ""
    yield from _told(body, 1)


def _told(value: Any, depth: int) -> Iterator[str]:
    """Every element on a line of its own, indented by where it stands."""
    indent = "  " * depth
    pairs = value.items() if isinstance(value, dict) else ((f"{n}.", one) for n, one in enumerate(value, 1))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]
    for name, inner in pairs:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(inner, dict | list):
            yield f"{indent}{one_line(name)}"  # pyright: ignore[reportUnknownArgumentType]
            yield from _told(inner, depth + 1)
        else:
            yield f"{indent}{one_line(name)}: {one_line(inner, longest=4_000)}"  # pyright: ignore[reportUnknownArgumentType]


async def _versions(folder: PhoneFolder, item: Shown) -> list[str]:
    """Every version the server keeps; it is asked, for a phone holds the newest alone."""
    # The line costs half a second to import, and a look at what is on the phone needs none.
    from server.commands.phone_app.online import online

    async with online(folder) as phone:
        answer = await phone.call("GET", f"/fhir/{item.type}/{item.id}/_history")
    entries = read_json(answer.body).get("entry", [])
    versions = [entry["resource"] for entry in entries if "resource" in entry]
    lines = [f"\n{counted(len(versions), 'version')}, newest first:"]
    for resource in versions:
        meta = resource.get("meta", {})
        lines.append(
            f"  {meta.get('versionId', '?'):>4}  {meta.get('lastUpdated', '')[:16]}  {line_of(resource)}"
        )
    return lines
