"""What can be asked of the phone."""

import argparse
from collections.abc import Callable
from pathlib import Path

from server.commands.phone_app.readings import KINDS

QUESTION_KINDS = ("wrong", "missing", "not-mine", "out-of-date")


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Every action with its options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _joining(actions.add_parser)
    _looking(actions.add_parser)
    _acting(actions.add_parser)
    _sharing(actions.add_parser)
    _logbook(actions.add_parser)


ITEM = "Type/id, or words that only its title holds"
ONLY = "needed when there is more than one"
AddAction = Callable[..., argparse.ArgumentParser]


def _joining(action: AddAction) -> None:
    init = action("init", help="make this folder a person's phone and load their record")
    init.add_argument(
        "--as", dest="who", required=True, metavar="WHO", help="a demo citizen: NHS number, name or subject"
    )
    init.add_argument("--name", default="Phone", help="what to call this phone; shown to its owner alone")
    init.add_argument("--demo-file", type=Path, metavar="FILE", help="demo.json, if not in HELD_DATA_DIR")
    sync = action("sync", help="send what waits and fetch what is new")
    sync.add_argument("--sign-in", action="store_true", help="sign in again, for what waits for that")
    action("status", help="how far this phone is, without asking the server")
    devices = action("devices", help="every phone on this record: asks the server")
    devices.add_argument("--end", metavar="DEVICE", help="end one of them")
    action("wipe", help="delete everything on this phone")


def _looking(action: AddAction) -> None:
    listing = action("list", help="what is in the record")
    listing.add_argument("what", nargs="?", metavar="WHAT", help="a type, a word such as medicines, a title")
    show = action("show", help="one item")
    show.add_argument("item", metavar="ITEM", help=ITEM)
    show.add_argument("--versions", action="store_true", help="its earlier versions too: asks the server")
    action("conflicts", help="what needs your attention")
    resolve = action("resolve", help="settle something that needs attention")
    resolve.add_argument("which", metavar="ID", help="as `held phone conflicts` names it")
    choice = resolve.add_mutually_exclusive_group(required=True)
    choice.add_argument("--keep-mine", action="store_true", help="make your words the ones that count")
    choice.add_argument("--keep-theirs", action="store_true", help="let the record stand as it is")


def _acting(action: AddAction) -> None:
    add = action("add", help="record something yourself")
    add.add_argument("kind", choices=sorted(KINDS), metavar="KIND", help=", ".join(sorted(KINDS)))
    add.add_argument("value", metavar="VALUE", help="128/82, 72.4, 5.6, 420 or words")
    add.add_argument("--at", metavar="TIME", help="when it was taken; now if not given")
    change = action("change", help="write another value into something you recorded")
    change.add_argument("item", metavar="ITEM", help=ITEM)
    change.add_argument("value", metavar="VALUE")
    remove = action("remove", help="take away something you recorded")
    remove.add_argument("item", metavar="ITEM", help=ITEM)
    question = action("question", help="say that an item is wrong, or that one is missing")
    question.add_argument("item", nargs="?", metavar="ITEM", help=ITEM)
    question.add_argument("--missing", action="store_true", help="something is not in the record at all")
    question.add_argument("--should-say", metavar="WORDS", help="what it should say")
    question.add_argument("--says", metavar="WORDS", help="what it says now, if its name does not tell")
    question.add_argument("--element", metavar="PATH", help="the part that is wrong, such as Condition.code")
    question.add_argument("--organisation", metavar="ODS", help="whom to ask about what is missing")
    question.add_argument("--kind", choices=QUESTION_KINDS, help="wrong, unless you say otherwise")


def _sharing(action: AddAction) -> None:
    share = action("share", help="offer somebody a look; nothing opens until you say yes")
    share.add_argument("--to", metavar="SUBJECT", help="a professional; whoever has the code if not given")
    share.add_argument("--category", action="append", default=[], metavar="NAME", help="may be repeated")
    share.add_argument("--sensitive", action="append", default=[], metavar="CLASS", help="may be repeated")
    share.add_argument("--hide", action="append", default=[], metavar="TYPE/ID", help="may be repeated")
    share.add_argument("--hours", type=float, default=24, metavar="N", help="how long, once used")
    action("grants", help="whom you share with")
    confirm = action("confirm", help="say yes, or no, to somebody who used your code")
    confirm.add_argument("grant_id", nargs="?", metavar="GRANT", help=ONLY)
    confirm.add_argument("match", metavar="DIGITS", help="the two digits they read out to you")
    confirm.add_argument("--refuse", action="store_true", help="it is not them, or you do not want it")
    narrow = action("narrow", help="let somebody see less, or for less long")
    narrow.add_argument("grant_id", nargs="?", metavar="GRANT", help=ONLY)
    narrow.add_argument("--category", action="append", default=[], metavar="NAME", help="all they keep")
    narrow.add_argument("--hide", action="append", default=[], metavar="TYPE/ID", help="may be repeated")
    narrow.add_argument("--until", metavar="TIME", help="when it is to end at the latest")
    extend = action("extend", help="let somebody look for longer")
    extend.add_argument("grant_id", nargs="?", metavar="GRANT", help=ONLY)
    extend.add_argument("--until", required=True, metavar="TIME")
    end = action("end", help="end somebody's look; works offline, and always wins")
    end.add_argument("grant_id", nargs="?", metavar="GRANT", help=ONLY)
    end.add_argument("--reason", metavar="WORDS")


def _logbook(action: AddAction) -> None:
    log = action("log", help="who looked, from the checked copy on this phone")
    log.add_argument("--last", type=int, default=20, metavar="N", help="how many; 20 if not given")
    action("verify", help="check the log's chain, signature and pin")
