"""`held serve`: the API and the pages, in as many processes as the settings say."""

import argparse
import asyncio
import os
import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from server.commands.problems import settings_or_none, start_problems, tell
from server.log_lines import log_configuration
from server.ops.one_server import OneServer
from server.settings import Settings
from server.storage.backend import StorageUnsafe
from server.storage.sqlite import database_path

APPLICATION = "server.app:from_environment"
HEADER_READ_MILLISECONDS = 5_000
# A connection may hold a header block of 16 kB and the start of a body; no more is buffered ahead of the app.
BUFFER_BYTES_MAX = 128 * 1024
SHUTDOWN_SECONDS = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--demo", action="store_true", help="development only: make synthetic people and say how to be them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped; 1 when the settings, secrets or database are not safe to start with."""
    settings = settings_or_none(os.environ)
    if settings is None:
        return 1
    if arguments.demo:
        from server.commands.demo_server import serve_demo

        return serve_demo(settings)
    if settings.is_development:
        from server.secret_files import make_missing_secrets

        settings.data_folder.mkdir(parents=True, exist_ok=True)
        make_missing_secrets(settings)
    problems = asyncio.run(start_problems(settings))
    if problems:
        tell(problems)
        return 1
    return serve_alone(settings)


def serve_alone(settings: Settings) -> int:
    """Serves, on SQLite as the only server of its file; 1 when another one is using it."""
    if not settings.uses_sqlite:
        serve(settings)
        return 0
    right = OneServer(database_path(settings.database_url))
    try:
        right.take()
    except StorageUnsafe as taken:
        tell([str(taken)])
        return 1
    try:
        serve(settings)
    finally:
        right.release()
    return 0


def serve(settings: Settings, application: str = APPLICATION) -> None:
    """Runs the server in this process and its workers until a signal ends it."""
    granian = Granian(
        application,
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.workers,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_READ_MILLISECONDS, max_buffer_size=BUFFER_BYTES_MAX
        ),
        log_dictconfig=log_configuration(),
        log_access=False,
        workers_kill_timeout=SHUTDOWN_SECONDS,
    )
    print(f"Held is starting at {settings.base_url}", file=sys.stderr)
    granian.serve()
