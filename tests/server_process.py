"""Held in processes of its own, as an operator runs it, for tests that need real sockets or workers."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

START_SECONDS_MAX = 60


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def server_process(folder: Path, **settings: str) -> AsyncIterator[str]:
    """Runs `held serve` with these settings; gives its address once it is ready."""
    port = settings.pop("HELD_PORT", None) or str(free_port())
    address = f"http://127.0.0.1:{port}"
    own = {
        "HELD_MODE": "development",
        "HELD_PORT": port,
        "HELD_BASE_URL": address,
        "HELD_DATA_DIR": str(folder),
    }
    environment = os.environ | own | settings
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "server.cli", "serve"], env=environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        await _ready(address, process, folder / "server.log")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


async def _ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async with httpx.AsyncClient() as http:
        for _ in range(START_SECONDS_MAX * 10):
            assert process.poll() is None, log.read_text()[-2000:]
            try:
                if (await http.get(f"{address}/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])
