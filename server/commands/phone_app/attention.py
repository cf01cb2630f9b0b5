"""`held phone conflicts|resolve`: what was refused or clashed, kept whole until the person decides."""

import argparse
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.naming import item_named
from server.commands.phone_app.opened import OpenPhone, opened, read_json
from server.commands.phone_app.refusals import ATTENTION, DONE, NothingLikeIt, PhoneRefusal
from server.commands.phone_app.sharing_words import grant_version, share_line
from server.commands.phone_app.words import line_of, one_line, value_of
from sync.kept import Concern
from sync.messages import Clash, Mutation
from sync.phone import Draft, NotPossible
from sync.values import is_object

SHORT_ID = 8
"""Enough of a mutation's random end to name it to a person."""

_DEEDS = {
    "create": "What you recorded",
    "patch": "Your change",
    "replace": "Your change",
    "delete": "Your removal",
}
_COMMANDS = {
    "grant": "Your offer to share",
    "extend": "Your longer share",
    "narrow": "Your narrower share",
    "end": "Your end of a share",
    "question": "Your question",
    "message": "Your message",
    "withdraw": "Your taking back of a question",
}


class CannotResolve(PhoneRefusal):
    """This cannot be settled so."""


async def conflicts_(folder: PhoneFolder, _arguments: argparse.Namespace) -> int:
    """What needs attention."""
    with opened(folder) as phone:
        concerns = phone.engine.concerns()
        for concern in concerns:
            for line in concern_lines(phone, concern):
                print(line)
    if not concerns:
        print("Nothing needs your attention.")
    return ATTENTION if concerns else DONE


async def resolve_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Settles one of them."""
    with opened(folder) as phone:
        concern = _named(phone, arguments.which)
        mid = concern.mutation.mid
        try:
            if arguments.keep_theirs:
                phone.engine.discard(mid)
                print("The record stands as it is. What you had done is let go.")
                return DONE
            _send_again(phone, concern)
        except NotPossible as refused:
            raise CannotResolve(str(refused)) from refused
    print("Yours is to count. It goes out at the next `held phone sync`.")
    return DONE


def concern_lines(phone: OpenPhone, concern: Concern) -> Iterator[str]:
    """One concern in plain words, its short id first."""
    mutation, result = concern.mutation, concern.result
    yield f"{short_id(mutation)}  {_deed(mutation)}: {_what(phone, mutation)}"
    match result.outcome:
        case "needs-step-up":
            yield "          waits for you to sign in again: `held phone sync --sign-in`."
        case "blocked":
            yield "          was not done, for it builds on something that was not."
        case _:
            why = result.detail or "It was not taken."
            yield f"          was not done. {one_line(why)}"
    for clash in result.conflicts:
        if clash.path:
            mine, theirs = _sides(phone, concern, clash)
            yield f"          You wrote {mine}. The record says {theirs}."


def short_id(mutation: Mutation) -> str:
    """How a person names an act."""
    return mutation.mid[-SHORT_ID:]


def arguments_of(mutation: Mutation) -> dict[str, Any]:
    """What a command was given."""
    return read_json(bytes(mutation.args)) if mutation.args else {}


def _named(phone: OpenPhone, which: str) -> Concern:
    found = [one for one in phone.engine.concerns() if which and one.mutation.mid.endswith(which)]
    if len(found) != 1:
        raise NothingLikeIt(f"Nothing that needs attention is called {which[:60]}.")
    return found[0]


def _send_again(phone: OpenPhone, concern: Concern) -> None:
    """Sends it again. A change of a share is made of the share as it now stands, or it would clash again."""
    mutation = concern.mutation
    said = arguments_of(mutation)
    if mutation.type != "Consent" or "base_version" not in said:
        phone.engine.send_again(mutation.mid)
        return
    standing = read_json(item_named(phone, f"Consent/{mutation.id}").body)
    draft = Draft(
        op="command",
        type="Consent",
        id=mutation.id,
        args=said | {"base_version": grant_version(standing)},
    )
    phone.engine.write(draft)
    phone.engine.discard(mutation.mid)


def _deed(mutation: Mutation) -> str:
    if mutation.op == "command":
        return _COMMANDS.get(arguments_of(mutation).get("command", ""), "Something you asked for")
    return _DEEDS.get(mutation.op, "Something you did")


def _what(phone: OpenPhone, mutation: Mutation) -> str:
    if mutation.op == "command":
        said = arguments_of(mutation)
        target = said.get("target")
        if target:
            return one_line(f"{target}: {said.get('should_say', '')}")
        seen = phone.engine.item(mutation.type, mutation.id)
        if seen is not None and mutation.type == "Consent":
            return share_line(read_json(seen.body))
        return one_line(said.get("should_say") or mutation.id)
    raw = mutation.body or mutation.patch
    if mutation.op == "create" and raw:
        return line_of(read_json(bytes(raw)))
    seen = phone.engine.item(mutation.type, mutation.id)
    now = line_of(read_json(seen.body)) if seen is not None else f"{mutation.type}/{mutation.id}"
    mine = value_of(read_json(bytes(raw))) if raw else ""
    return f"{now}, you: {mine}" if mine else now


def _sides(phone: OpenPhone, concern: Concern, clash: Clash) -> tuple[str, str]:
    """What the person wrote of one element and what the record says, digit for digit as each wrote it."""
    mutation = concern.mutation
    mine: Any = read_json(bytes(mutation.patch or mutation.body or b"{}"))
    seen = phone.engine.item(mutation.type, mutation.id)
    theirs: Any = {} if seen is None else read_json(seen.body)
    members = {name for side in (clash.mine, clash.theirs) if is_object(side) for name in side}
    return _said(mine, members), _said(theirs, members)


def _said(resource: Mapping[str, Any], members: Collection[str]) -> str:
    part = {name: resource[name] for name in members if resource.get(name) is not None}
    return f"'{value_of(part) or one_line(part, longest=80)}'" if part else "nothing"
