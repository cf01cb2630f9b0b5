"""`held check`: says what would stop a start, and changes nothing."""

import argparse
import asyncio
import os

from server.commands.problems import settings_or_none, start_problems, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - the commands are called alike.
    """0 when `held serve` would start."""
    settings = settings_or_none(os.environ)
    if settings is None:
        return 1
    problems = asyncio.run(start_problems(settings))
    if problems:
        tell(problems)
        return 1
    print("Nothing would stop a start.")
    return 0
