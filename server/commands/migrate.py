"""`held migrate`: brings the database up to date. On PostgreSQL it runs as the owner (HELD_MIGRATE_URL)."""

import argparse
import asyncio
import os
import sys

from sqlalchemy.exc import SQLAlchemyError

from server.commands.problems import settings_or_none
from server.settings import Settings
from server.storage.backend import StorageUnsafe
from server.storage.migrating import migrate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001 - the commands are called alike.
    """0 once the database is at the newest step."""
    settings = settings_or_none(os.environ)
    if settings is None:
        return 1
    try:
        asyncio.run(migrate_database(settings))
    except StorageUnsafe as unsafe:
        print(unsafe, file=sys.stderr)
        return 1
    except (SQLAlchemyError, OSError) as failed:
        print(f"The database could not be brought up to date ({type(failed).__name__}).", file=sys.stderr)
        return 1
    print("The database is up to date.")
    return 0


async def migrate_database(settings: Settings) -> None:
    """Brings the settings' database up to date."""
    if settings.uses_sqlite:
        settings.data_folder.mkdir(parents=True, exist_ok=True)
        await migrate(settings.database_url)
        return
    if settings.migrate_url is None:
        raise StorageUnsafe(
            "Set HELD_MIGRATE_URL to the database's owner: the server itself may not migrate."
        )
    await migrate(settings.migrate_url, app_url=settings.database_url)
