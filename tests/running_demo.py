"""A demo server for a test: `held serve --demo` in a process of its own, on a free port, in a folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 30
READY_LINE = "Ctrl-C stops the server"


class RunningDemo:
    """The server's process and the environment in which its other commands find it."""

    def __init__(self, folder: Path, port: int, more: dict[str, str]) -> None:
        self.folder = folder
        self.base_url = f"http://127.0.0.1:{port}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HELD_")}
        self.environment = clean | {
            "HELD_MODE": "development",
            "HELD_PORT": str(port),
            "HELD_DATA_DIR": str(folder),
            **more,
        }
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    @property
    def demo(self) -> dict[str, Any]:
        """What stands in demo.json."""
        return json.loads((self.folder / "demo.json").read_text())

    def start(self) -> None:
        """Starts the demo and waits until it is loaded."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve", "--demo"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watchdog = threading.Timer(START_SECONDS_MAX, self._process.kill)
        watchdog.start()
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self.lines.append(line.rstrip())
                if READY_LINE in line:
                    return
        finally:
            watchdog.cancel()
        raise AssertionError("The demo did not start:\n" + "\n".join(self.lines))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stops the demo; its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(how)
        output, _ = self._process.communicate(timeout=STOP_SECONDS_MAX)
        self.lines += output.splitlines()
        return self._process.returncode

    def held(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another `held` command beside the server."""
        return subprocess.run(
            [sys.executable, "-m", "server.cli", *words],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=200,
        )


@contextmanager
def running_demo(folder: Path, **more: str) -> Iterator[RunningDemo]:
    """A demo that is loaded; stopped at the end whatever happens."""
    demo = RunningDemo(folder, free_port(), more)
    try:
        demo.start()
        yield demo
    finally:
        demo.stop(signal.SIGTERM)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
