"""The process's settings: read once, checked once, refused at the start when they are not safe."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

Mode = Literal["production", "development"]

PORT_MAX = 65_535


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the process was told. Paths are absolute."""

    mode: Mode
    host: str
    port: int
    workers: int
    base_url: str
    data_folder: Path
    database_url: str
    migrate_url: str | None
    key_file: Path
    token_key_file: Path
    log_key_file: Path
    providers_file: Path | None
    clock_offset: timedelta = timedelta(0)

    @property
    def is_development(self) -> bool:
        """True only where keys, people and providers may be made up."""
        return self.mode == "development"

    @property
    def uses_sqlite(self) -> bool:
        """True for the embedded database: one process, one household."""
        return self.database_url.startswith("sqlite")

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files that must be private."""
        return (self.key_file, self.token_key_file, self.log_key_file)


class SettingsRefused(Exception):
    """The settings are not safe to start with."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings in these environment variables; SettingsRefused lists everything wrong with them."""
    problems: list[str] = []
    settings = _gather(environ, problems)
    problems += _address_problems(settings) + _production_problems(settings, environ)
    if problems:
        raise SettingsRefused(problems)
    return settings


def _gather(environ: Mapping[str, str], problems: list[str]) -> Settings:
    mode = environ.get("HELD_MODE", "production")
    if mode not in ("production", "development"):
        problems.append(f"HELD_MODE is '{mode}'. It must be production or development.")
        mode = "production"
    folder = Path(environ.get("HELD_DATA_DIR", "var")).absolute()
    port = _whole_number(environ, "HELD_PORT", 8000, problems)
    return Settings(
        mode=mode,
        host=environ.get("HELD_HOST", "127.0.0.1"),
        port=port,
        workers=_whole_number(environ, "HELD_WORKERS", 1, problems),
        base_url=environ.get("HELD_BASE_URL", f"http://127.0.0.1:{port}").rstrip("/"),
        data_folder=folder,
        database_url=environ.get("HELD_DATABASE_URL", f"sqlite:///{folder}/held.db"),
        migrate_url=environ.get("HELD_MIGRATE_URL"),
        key_file=Path(environ.get("HELD_KEY_FILE", folder / "keys" / "root.key")).absolute(),
        token_key_file=Path(environ.get("HELD_TOKEN_KEY_FILE", folder / "keys" / "token.pem")).absolute(),
        log_key_file=Path(environ.get("HELD_LOG_KEY_FILE", folder / "keys" / "log.pem")).absolute(),
        providers_file=Path(value).absolute() if (value := environ.get("HELD_PROVIDERS_FILE")) else None,
        clock_offset=timedelta(seconds=_whole_number(environ, "HELD_CLOCK_OFFSET_SECONDS", 0, problems)),
    )


def _whole_number(environ: Mapping[str, str], name: str, default: int, problems: list[str]) -> int:
    text = environ.get(name, str(default))
    if text.removeprefix("-").isdigit():
        return int(text)
    problems.append(f"{name} is '{text}'. It must be a whole number.")
    return default


def _address_problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    parts = urlsplit(settings.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        problems.append("HELD_BASE_URL must be a web address such as https://held.example.org.")
    if not settings.database_url.startswith(("sqlite", "postgresql")):
        problems.append("HELD_DATABASE_URL must name a SQLite file or a PostgreSQL server.")
    if not 1 <= settings.port <= PORT_MAX:
        problems.append(f"HELD_PORT is {settings.port}. It must be 1 to {PORT_MAX}.")
    if settings.workers < 1:
        problems.append(f"HELD_WORKERS is {settings.workers}. It must be 1 or more.")
    if settings.uses_sqlite and settings.workers > 1:
        problems.append("SQLite runs in one process. Set HELD_WORKERS to 1 or use PostgreSQL.")
    return problems


def _production_problems(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    if settings.is_development:
        return []
    problems: list[str] = []
    if "HELD_BASE_URL" not in environ or not settings.base_url.startswith("https://"):
        problems.append("HELD_BASE_URL must be set to an https address in production.")
    if "HELD_KEY_FILE" not in environ:
        problems.append("HELD_KEY_FILE must be set in production.")
    if settings.providers_file is None:
        problems.append("HELD_PROVIDERS_FILE must be set in production: it says who proves identity.")
    if settings.clock_offset:
        problems.append("HELD_CLOCK_OFFSET_SECONDS is for tests. It must not be set in production.")
    return problems
