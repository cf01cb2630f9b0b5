"""`held phone grants|narrow|end`: who may look, and who may look no longer, without a connection."""

import argparse
from datetime import UTC, datetime
from typing import Any

from server.commands.phone_app.attention import arguments_of
from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.opened import OpenPhone, opened, read_json
from server.commands.phone_app.refusals import DONE, NothingLikeIt, PhoneRefusal
from server.commands.phone_app.sharing_words import share_line
from sync.phone import Draft

EVERY_CATEGORY = (
    "medicines",
    "allergies",
    "problems",
    "results",
    "immunisations",
    "consultations",
    "documents",
    "procedures",
    "care-plan",
    "needs",
    "self-recorded",
    "contact",
)
EVERY_SENSITIVE_CLASS = (
    "mental-health",
    "sexual-health",
    "drugs-alcohol",
    "abuse-safeguarding",
    "hiv",
    "genetics",
)


LIVE = frozenset({"proposed", "active"})


class ShareUnclear(PhoneRefusal):
    """We cannot tell what is to be shared."""


async def grants_(folder: PhoneFolder, _arguments: argparse.Namespace) -> int:
    """Every share this phone knows of, and those that wait."""
    with opened(folder) as phone:
        shares = phone.engine.shown("Consent")
        for item in shares:
            waits = "  (a change waits to be sent)" if item.waiting else ""
            print(share_line(read_json(item.body)) + waits)
        waiting = [entry.mutation for entry in phone.engine.outbox()]
        waiting += [concern.mutation for concern in phone.engine.concerns()]
        drafts = [one for one in waiting if arguments_of(one).get("command") == "grant"]
        for mutation in drafts:
            print(f"{mutation.id}  draft     An offer that waits for you to sign in again.")
        if not shares and not drafts:
            print("You share with nobody.")
    return DONE


async def narrow_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Lets somebody see less. What stands and what is asked are both kept to, so that it works offline."""
    asked: dict[str, Any] = {"command": "narrow", "base_version": 0}
    if arguments.category or arguments.hide:
        asked["slice"] = {
            "current": not arguments.category,
            "categories": arguments.category or list(EVERY_CATEGORY),
            "sensitive": list(EVERY_SENSITIVE_CLASS),
            "hide": [name.strip("[]") for name in arguments.hide],
        }
    if arguments.until:
        asked["ends_at"] = instant(arguments.until)
    if len(asked) == 2:
        raise ShareUnclear("Say what they are to see less of: --category, --hide or --until.")
    with opened(folder) as phone:
        grant_id, _ = share_named(phone, arguments.grant_id)
        phone.engine.write(Draft(op="command", type="Consent", id=grant_id, args=asked))
    print("Narrowed here. It goes out at the next `held phone sync`, and always wins.")
    return DONE


async def end_(folder: PhoneFolder, arguments: argparse.Namespace) -> int:
    """Ends a look, here at once and everywhere as soon as it is sent."""
    args: dict[str, Any] = {"command": "end"}
    if arguments.reason:
        args["reason"] = arguments.reason
    with opened(folder) as phone:
        drafts = [one for one in phone.engine.concerns() if one.mutation.id == (arguments.grant_id or "")]
        offers = [one for one in drafts if arguments_of(one.mutation).get("command") == "grant"]
        if offers:
            phone.engine.discard(offers[0].mutation.mid)
            print("The draft is gone. It was never offered to anybody.")
            return DONE
        grant_id, _ = share_named(phone, arguments.grant_id)
        phone.engine.write(Draft(op="command", type="Consent", id=grant_id, args=args))
    print("Ended here. It goes out at the next `held phone sync`, and nothing undoes it.")
    return DONE


def share_named(phone: OpenPhone, grant_id: str | None) -> tuple[str, Any]:
    """A share's id and its Consent, empty while it waits to be sent. Without an id: the only live one."""
    if grant_id is None:
        return _only_share(phone)
    found = phone.engine.item("Consent", grant_id)
    if found is not None:
        return grant_id, read_json(found.body)
    if any(entry.mutation.id == grant_id for entry in phone.engine.outbox()):
        return grant_id, {}
    raise NothingLikeIt(f"This phone knows of no share called {grant_id[:60]}. See `held phone grants`.")


def _only_share(phone: OpenPhone) -> tuple[str, Any]:
    consents = [read_json(item.body) for item in phone.engine.shown("Consent")]
    live = [consent for consent in consents if consent.get("status") in LIVE]
    if len(live) == 1:
        return live[0]["id"], live[0]
    if not live:
        raise NothingLikeIt("You share with nobody.")
    lines = [f"  {share_line(consent)}" for consent in live]
    raise NothingLikeIt("\n".join(["You share more than once. Say which:", *lines]))


def instant(said: str) -> str:
    """A time a person wrote, as the server reads it; a day means its end."""
    try:
        found = datetime.fromisoformat(f"{said}T23:59" if len(said) == len("2026-11-20") else said)
    except ValueError as unclear:
        raise ShareUnclear("Write a time such as 2026-11-20 or 2026-11-20T17:00.") from unclear
    return found.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
