"""`held`: gathers the commands."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# Each module has `add_arguments(parser)` and `run(arguments) -> int`, and is imported only when asked for.
COMMANDS = {
    "serve": ("server.commands.serve", "serve the API and the pages"),
    "migrate": ("server.commands.migrate", "bring the database up to date"),
    "check": ("server.commands.check", "say what would stop a start, and change nothing"),
    "demo": ("server.commands.demo", "walk the whole journey over HTTP"),
    "import": ("server.commands.import_", "push extracts as the demo integrator"),
    "phone": ("server.commands.phone", "keep a record on this machine as a phone does, offline too"),
    "verify-log": ("server.commands.verify_log", "check that nobody altered the access logs"),
    "client": ("server.commands.client", "register an integrator or renew its key"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        return _usage(words)
    module = import_module(COMMANDS[words[0]][0])
    parser = argparse.ArgumentParser(prog=f"held {words[0]}", description=COMMANDS[words[0]][1])
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(words[1:])))


def _usage(words: Sequence[str]) -> int:
    print("usage: held COMMAND [options]\n")
    for name, (_, purpose) in COMMANDS.items():
        print(f"  {name:12} {purpose}")
    print("\n`held COMMAND --help` tells more.")
    return 0 if words in (["--help"], ["-h"]) else 2


if __name__ == "__main__":
    sys.exit(main())
