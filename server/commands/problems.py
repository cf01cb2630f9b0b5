"""What would stop a start, as a list of plain sentences."""

import sys
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from server.secret_files import Secrets, SecretsRefused, open_secrets
from server.settings import Settings, SettingsRefused, read_settings
from server.storage.backend import StorageUnsafe
from server.storage.engine import Storage
from server.storage.migrating import refuse_outdated
from server.storage.sqlite import database_path


def settings_or_none(environ: Mapping[str, str]) -> Settings | None:
    """The settings, or None once everything wrong with them has been told."""
    try:
        return read_settings(environ)
    except SettingsRefused as refused:
        tell(refused.problems)
        return None


async def start_problems(settings: Settings) -> list[str]:
    """Everything that would stop `held serve`; reads, and changes nothing."""
    try:
        secrets = open_secrets(settings)
    except SecretsRefused as refused:
        return refused.problems
    return await _database_problems(settings, secrets)


def tell(problems: Sequence[str]) -> None:
    """Writes the problems for the operator."""
    print("Held cannot start:", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)


async def _database_problems(settings: Settings, secrets: Secrets) -> list[str]:
    if settings.uses_sqlite and not database_path(settings.database_url).is_file():
        return ["There is no database yet. Run `held migrate`."]
    try:
        await refuse_outdated(settings.database_url)
        storage = await Storage.open(settings.database_url, secrets.keys)
    except StorageUnsafe as unsafe:
        return [str(unsafe)]
    except (SQLAlchemyError, OSError) as unreachable:
        return [f"The database cannot be reached ({type(unreachable).__name__})."]
    await storage.close()
    return []
