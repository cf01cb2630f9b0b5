"""One server at a time on a SQLite file, whatever became of the one before."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.ops.one_server import OneServer
from server.settings import read_settings
from server.storage.backend import StorageUnsafe
from server.storage.migrating import migrate
from tests.server_process import free_port, server_process


def test_a_second_server_waits_and_is_then_refused(tmp_path: Path) -> None:
    first, second = OneServer(tmp_path / "held.db"), OneServer(tmp_path / "held.db")
    first.take()
    with pytest.raises(StorageUnsafe, match="Another server"):
        second.take(seconds=0.2)
    first.release()
    second.take(seconds=0)
    second.release()


@pytest.mark.slow
async def test_a_worker_ends_when_its_server_was_killed(tmp_path: Path) -> None:
    await _prepare(tmp_path)
    async with server_process(tmp_path):
        [main] = [child for child in _children_of(os.getpid()) if b"serve" in _words_of(child)]
        workers = _children_of(main)
        assert workers
        os.kill(main, signal.SIGKILL)
        until = time.monotonic() + 10
        while any(_lives(worker) for worker in workers):
            assert time.monotonic() < until, "a worker outlived its server"


@pytest.mark.slow
async def test_a_second_server_on_the_same_data_says_why_it_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HELD_MODE", "development")
    port = str(free_port())
    await _prepare(tmp_path)
    async with server_process(tmp_path):
        second = subprocess.run(
            [sys.executable, "-c", _SERVE_IMPATIENTLY],
            env=os.environ | {"HELD_PORT": port, "HELD_BASE_URL": f"http://127.0.0.1:{port}"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "Another server is using this database." in second.stderr


_SERVE_IMPATIENTLY = """
import sys
from server.ops import one_server
one_server.OneServer.take.__kwdefaults__["seconds"] = 0
from server.cli import main
sys.exit(main(["serve"]))
"""


async def _prepare(folder: Path) -> None:
    settings = read_settings({"HELD_MODE": "development", "HELD_DATA_DIR": str(folder)})
    await migrate(settings.database_url)


def _children_of(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _words_of(process: int) -> list[bytes]:
    return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
