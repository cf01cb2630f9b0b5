"""`held phone share|confirm|extend`: letting somebody look, which wants a recent sign-in."""

import argparse
from typing import Any

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.online import OnlinePhone, online
from server.commands.phone_app.refusals import DONE, NothingLikeIt
from server.commands.phone_app.sharing import ShareUnclear, instant, share_named
from server.commands.phone_app.sharing_words import grant_version
from server.commands.phone_app.telling import tell
from server.commands.phone_app.words import one_line
from sync.phone import Draft
from sync.ports import NoAnswer, SignInNeeded

HOUR_SECONDS = 3_600
DRAFT_WORDS = "There is no connection. Your offer is a draft that waits for you to sign in again."


async def share_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Offers a look. With a connection the code is shown; without one the offer is a draft."""
    slice_: dict[str, Any] = {
        "current": not arguments.category,
        "categories": arguments.category,
        "sensitive": arguments.sensitive,
        "hide": [name.strip("[]") for name in arguments.hide],
    }
    to = {"professional": {"subject": arguments.to}} if arguments.to else {"open": True}
    if not 0 < arguments.hours <= 366 * 24:
        raise ShareUnclear("Say with --hours for how long, up to a year.")
    args: dict[str, Any] = {
        "command": "grant",
        "to": to,
        "slice": slice_,
        "seconds": int(arguments.hours * HOUR_SECONDS),
    }
    async with online(folder) as phone:
        phone.engine.write(Draft(op="command", type="Consent", args=args))
        return await _send_signed_in(phone, DRAFT_WORDS)


async def confirm_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Says yes, or no, to somebody who used the code."""
    async with online(folder) as phone:
        grant = await _waiting(phone, arguments.grant_id)
        pending, path = grant["pending"], f"grants/{grant['grant_id']}"
        who = one_line(f"{pending['name']} ({pending['role']}, {pending['organisation']})")
        answer = {
            "redemption": pending["redemption"],
            "match": arguments.match,
            "allow": not arguments.refuse,
        }
        told = await phone.ask("POST", f"{path}/confirm", answer)
        print(f"You said no to {who}." if arguments.refuse else one_line(told["sentence"], longest=600))
        return tell(phone, await phone.engine.sync())


async def extend_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Lets somebody look for longer."""
    async with online(folder) as phone:
        grant_id, standing = share_named(phone, arguments.grant_id)
        args = {
            "command": "extend",
            "base_version": grant_version(standing),
            "ends_at": instant(arguments.until),
        }
        phone.engine.write(Draft(op="command", type="Consent", id=grant_id, args=args))
        return await _send_signed_in(phone, "There is no connection. It waits for you to sign in again.")


async def _waiting(phone: OnlinePhone, grant_id: str | None) -> Any:
    """The share that somebody waits for a yes to."""
    listed = (await phone.ask("GET", "grants"))["grants"]
    waiting = [one for one in listed if one["state"] == "pending" and grant_id in {None, one["grant_id"]}]
    if len(waiting) > 1:
        ids = ", ".join(one["grant_id"] for one in waiting)
        raise NothingLikeIt(f"People wait for your yes to several shares. Say which: {ids}.")
    if not waiting:
        raise NothingLikeIt("Nobody is waiting for your yes.")
    found = await phone.ask("GET", f"grants/{waiting[0]['grant_id']}")
    if not found.get("pending"):
        raise NothingLikeIt("Nobody is waiting for your yes any more.")
    return found


async def _send_signed_in(phone: OnlinePhone, otherwise: str) -> int:
    """Signs in again and sends what waits; says what waits for that when there is no connection."""
    try:
        await phone.line.be_freshly_signed_in()
        report = await phone.engine.sync()
    except (NoAnswer, SignInNeeded):
        print(otherwise)
        return DONE
    if report.trouble == "no-answer":
        print(otherwise)
        return DONE
    return tell(phone, report)
