"""A reference phone for a test: `held phone`, a process of its own for each command, as a person runs it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.opened import opened

SECONDS_MAX = 120
DONE, WRONG, MISUSED, OFFLINE, SIGN_IN, ENDED, ATTENTION = 0, 1, 2, 3, 4, 5, 6

Said = subprocess.CompletedProcess[str]


class PhoneInAFolder:
    """One phone. Commands run under `inside`, such as a network namespace, when it is given."""

    def __init__(self, folder: Path, data_folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HELD_")},
            "HELD_DATA_DIR": str(data_folder),
            "HELD_PHONE_DIR": str(folder),
            "TZ": "UTC",
        }
        self.inside: Sequence[str] = ()

    def run(self, *words: str) -> Said:
        """One command; what it said and how it ended."""
        return subprocess.run(
            self._command(words),
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )

    def do(self, *words: str, status: int = DONE) -> str:
        """One command that must end so; what it said, on both streams."""
        said = self.run(*words)
        assert said.returncode == status, f"{words} ended {said.returncode}:\n{said.stdout}\n{said.stderr}"
        assert "Traceback" not in said.stderr, said.stderr
        return said.stdout + said.stderr

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """One command in the background, to be killed."""
        return subprocess.Popen(
            self._command(words),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_during(self, seconds: float, *words: str) -> Said:
        """One command that is killed if it takes longer than this; as if the battery had gone."""
        process = self.begin(*words)
        try:
            said, complained = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            said, complained = process.communicate()
        assert "Traceback" not in complained, complained
        return Said(words, process.returncode, said, complained)

    def back_up(self, to: Path) -> None:
        """Copies the folder as a backup would: without what is this device's alone."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(
            self.folder, to, ignore=shutil.ignore_patterns("device.key", "signed-in.json", "phone.lock")
        )

    def put_back(self, backup: Path) -> None:
        """Puts a backup in place of what is here."""
        shutil.rmtree(self.folder)
        shutil.copytree(backup, self.folder)

    def _command(self, words: Sequence[str]) -> list[str]:
        return [*self.inside, sys.executable, "-m", "server.cli", "phone", *words]


def named_in(said: str, resource_type: str) -> list[str]:
    """The items of a type that a command named, in order."""
    return re.findall(rf"\[?({resource_type}/[A-Za-z0-9.-]+)", said)


def replica_of(phone: PhoneInAFolder) -> tuple[str | None, dict[tuple[str, str], int]]:
    """The digest's root and the version of every item that a phone holds."""
    with opened(PhoneFolder(phone.folder)) as held:
        return held.engine.root(), {(row.type, row.id): row.version for row in held.engine.rows()}


def sync_until_up_to_date(phone: PhoneInAFolder, *, tries: int) -> str:
    """Syncs as a person with a bad line does: again and again. What the last one said."""
    said = ""
    for _ in range(tries):
        ended = phone.run("sync")
        said = ended.stdout + ended.stderr
        assert "Traceback" not in said, said
        assert ended.returncode in {DONE, OFFLINE, SIGN_IN, ATTENTION}, said
        if ended.returncode in {DONE, ATTENTION} and "Up to date" in said:
            return said
    raise AssertionError(f"Not up to date after {tries} tries:\n{said}")
