"""A real PostgreSQL server for the tests, started and stopped by them, and fresh databases cheaply.

Import the `postgres_server` fixture into a conftest. A database is a copy of a template that `migrate` made,
so that every test sees the schema users get. Skipped, visibly, only where no PostgreSQL is installed.
"""

import asyncio
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from server.storage.migrating import migrate

SUPERUSER = "postgres"
OWNER = "held_owner"
APP = "held_app"
TEMPLATE = "held_template"
START_SECONDS_MAX = 30

_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "150",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    # The cluster is thrown away after the run; what a commit waits for is tested elsewhere.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


class PostgresDatabase(NamedTuple):
    """One database, by who connects: the app's role, the owner of the tables, the superuser."""

    app_url: str
    owner_url: str
    superuser_url: str


class PostgresServer:
    """A server on a Unix socket in a folder of its own."""

    def __init__(self, programs: Path, *, settings: dict[str, str] | None = None) -> None:
        self.programs = programs
        self._settings = _SETTINGS | (settings or {})
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="held-pg-"))

    @property
    def data_folder(self) -> Path:
        """Where the server keeps everything."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """What the server said."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Makes the cluster, when there is none, and waits until it answers."""
        if not self.data_folder.exists():
            _hand_over(self.folder)
            options = [
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                f"--username={SUPERUSER}",
            ]
            self._run("initdb", "--pgdata", str(self.data_folder), *options)
        arguments = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [str(self.programs / "postgres"), "-D", str(self.data_folder), "-k", str(self.folder)]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *arguments], stdout=log, stderr=log, cwd=self.folder, **_as_someone_else()
            )
        self._wait_until_it_answers()

    def stop(self, *, how: signal.Signals = signal.SIGINT) -> None:
        """Stops the server: SIGINT ends sessions in order, SIGQUIT as a crash would."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=START_SECONDS_MAX)
            self._process = None

    def remove(self) -> None:
        """Stops the server and deletes its folder."""
        self.stop(how=signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str, user: str) -> str:
        """The address of a database for one user."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        """Runs statements as the superuser."""
        connection = await asyncpg.connect(host=str(self.folder), user=SUPERUSER, database=database)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def prepare(self) -> None:
        """Makes the owner and the migrated template."""
        await self.execute(
            f"CREATE ROLE {OWNER} LOGIN CREATEROLE", f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}"
        )
        await migrate(self.url(TEMPLATE, OWNER), app_url=self.url(TEMPLATE, APP))

    async def empty_database(self) -> PostgresDatabase:
        """A new database without tables."""
        return await self._new_database(f"OWNER {OWNER}")

    async def fresh_database(self) -> PostgresDatabase:
        """A new migrated database."""
        return await self._new_database(f"TEMPLATE {TEMPLATE} OWNER {OWNER}")

    async def drop(self, database: PostgresDatabase) -> None:
        """Deletes a database, whoever is still connected."""
        name = database.app_url.partition("@/")[2].partition("?")[0]
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _new_database(self, options: str) -> PostgresDatabase:
        name = f"held_{os.getpid()}_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} {options}")
        return PostgresDatabase(self.url(name, APP), self.url(name, OWNER), self.url(name, SUPERUSER))

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, check=False, **_as_someone_else()
        )
        assert done.returncode == 0, done.stderr.decode()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        stop_at = time.monotonic() + START_SECONDS_MAX
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(ready, check=False, cwd=self.folder).returncode != 0:
            assert self._process.poll() is None, self.log_file.read_text()
            assert time.monotonic() < stop_at, self.log_file.read_text()
            time.sleep(0.05)


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL installed, or None."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    # What is on the path may be a link into the folder that holds the rest.
    on_path = [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    usable = [folder for folder in [*on_path, *reversed(debian)] if (folder / "pg_isready").exists()]
    return usable[0] if usable else None


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine on a loop of its own thread, whatever the test's loop is doing."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: nothing was tested on it")
    server = PostgresServer(programs)
    try:
        server.start()
        run_apart(server.prepare())
        yield server
    finally:
        server.remove()


def _as_someone_else() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, so that root runs it as the user made for it."""
    if os.geteuid() != 0:
        return {}
    account = _unprivileged()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _hand_over(folder: Path) -> None:
    if os.geteuid() == 0:
        account = _unprivileged()
        os.chown(folder, account.pw_uid, account.pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("There is no unprivileged user to run PostgreSQL as.")
