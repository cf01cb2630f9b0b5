"""`held phone`: the reference phone, which keeps a person's whole record and works offline."""

import argparse
import asyncio
import os
import sqlite3
import sys
from importlib import import_module
from pathlib import Path

from server.commands.phone_app.arguments import add_actions
from server.commands.phone_app.folder import PhoneFolder, folder_path
from server.commands.phone_app.refusals import DONE, WRONG, PhoneRefusal

# Each module has an async function of the action's name: (folder, arguments) -> exit status.
MODULES = {
    "joining": ("init", "sync", "devices"),
    "standing": ("status", "wipe"),
    "looking": ("list", "show"),
    "attention": ("conflicts", "resolve"),
    "acting": ("add", "change", "remove", "question"),
    "sharing": ("grants", "narrow", "end"),
    "offering": ("share", "confirm", "extend"),
    "logbook": ("log", "verify"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--phone", type=Path, metavar="DIR", help="the phone's folder; HELD_PHONE_DIR if not given"
    )
    add_actions(parser)


def run(arguments: argparse.Namespace) -> int:
    """0 when it was done; docs/reference/commands.md lists the others."""
    module = next(name for name, actions in MODULES.items() if arguments.action in actions)
    carry_out = getattr(import_module(f"server.commands.phone_app.{module}"), arguments.action + "_")
    folder = PhoneFolder(folder_path(arguments.phone, os.environ))
    try:
        with folder.held():
            return asyncio.run(carry_out(folder, arguments))
    except PhoneRefusal as refused:
        print(refused, file=sys.stderr)
        return refused.status
    except BrokenPipeError:
        # Whoever read our words has heard enough; what was done is done.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (OSError, sqlite3.Error) as broken:
        print(f"This phone's folder cannot be used: {broken}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped. What was kept is kept.", file=sys.stderr)
    return WRONG
