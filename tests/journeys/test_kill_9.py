"""Phone and server are killed at random points: what was acknowledged is there, once, on both sides."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest

from server.commands.phone_app.folder import PhoneFolder
from server.commands.phone_app.opened import opened
from tests.journeys.busy_phone import number_in
from tests.phone_cli import PhoneInAFolder, replica_of, sync_until_up_to_date
from tests.running_demo import RunningDemo, running_demo

SEED = 20261122
BUSY_SECONDS = (0.01, 2.0)
SERVER_SHARE = 0.12
READY_SECONDS_MAX = 90


class Tally(msgspec.Struct):
    """What happened and what was found in the end."""

    seed: int
    kills: int
    phone_killed: int = 0
    server_killed: int = 0
    exchanges: int = 0
    acknowledged: int = 0
    notes: int = 0
    lost: int = 0
    doubled: int = 0
    attention: int = 0
    digests_equal: bool = False
    seconds: float = 0


class Server:
    """`held serve` in a process that can be killed and started again on the same database."""

    def __init__(self, demo: RunningDemo) -> None:
        self._demo = demo
        self._process: subprocess.Popen[bytes] | None = None

    async def be_up(self) -> None:
        """Starts it unless it runs, and waits until it answers."""
        if self._process is None or self._process.poll() is not None:
            log = (self._demo.folder / "server.log").open("ab")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "server.cli", "serve"],
                env=self._demo.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            log.close()
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(READY_SECONDS_MAX * 10):
                assert self._process.poll() is None, (self._demo.folder / "server.log").read_text()[-2000:]
                with suppress(httpx.TransportError):
                    if (await http.get(f"{self._demo.base_url}/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
        raise AssertionError("The server did not come back.")

    def kill(self) -> None:
        """Kills it with its worker, as when the machine loses its power."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> None:
        """Ends it as an operator does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)


class Busy:
    """`busy_phone` in a process, and what it said was kept."""

    def __init__(self, phone: PhoneInAFolder) -> None:
        self.acknowledged: dict[str, int] = {}
        self.exchanges = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.journeys.busy_phone", str(phone.folder)],
            env=phone.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid: int | None = None

    def be_up(self, seed: int) -> None:
        """Starts a phone unless one runs, and waits until it is at work."""
        if self._pid is not None:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(seed, file=self._process.stdin, flush=True)
        word, pid = self._process.stdout.readline().split()
        assert word == "ready"
        self._pid = int(pid)

    def kill(self) -> None:
        """Kills the phone, if one runs, and reads what it said until then."""
        if self._pid is None:
            return
        assert self._process.stdout is not None
        os.kill(self._pid, signal.SIGKILL)
        self._pid = None
        # Each line is one short write to a pipe: it is there whole or not at all.
        for line in self._process.stdout:
            match line.split():
                case ["kept", note, number]:
                    self.acknowledged[note] = int(number)
                case ["synced"]:
                    self.exchanges += 1
                case ["gone"]:
                    return
                case _:
                    continue
        raise AssertionError("The phone ended of itself.")

    def stop(self) -> None:
        """Ends it all."""
        self.kill()
        self._process.communicate(timeout=30)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[RunningDemo]:
    """A demo that was loaded and stopped."""
    with running_demo(tmp_path / "var") as running:
        running.stop()
        yield running


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_20_kills_lose_nothing_and_double_nothing(demo: RunningDemo, tmp_path: Path) -> None:
    _require_whole(await _killed(demo, tmp_path, kills=20))


@pytest.mark.prove
@pytest.mark.timeout(4 * 3600)
async def test_200_kills_lose_nothing_and_double_nothing(demo: RunningDemo, tmp_path: Path) -> None:
    _require_whole(await _killed(demo, tmp_path, kills=200))


def _require_whole(tally: Tally) -> None:
    print(json.dumps(msgspec.to_builtins(tally)))
    assert tally.phone_killed
    assert tally.server_killed
    assert tally.acknowledged
    assert tally.exchanges
    assert (tally.lost, tally.doubled, tally.attention) == (0, 0, 0)
    assert tally.digests_equal


async def _killed(demo: RunningDemo, folder: Path, *, kills: int, seed: int = SEED) -> Tally:
    tally, began = Tally(seed=seed, kills=kills), time.monotonic()
    chance = random.Random(seed)
    server = Server(demo)
    phone, tablet = (PhoneInAFolder(folder / name, demo.folder) for name in ("phone", "tablet"))
    busy: Busy | None = None
    try:
        await server.be_up()
        await asyncio.to_thread(phone.do, "init", "--as", "George Hartley")
        await asyncio.to_thread(tablet.do, "init", "--as", "George Hartley")
        busy = Busy(phone)
        for _ in range(kills):
            busy.be_up(chance.randrange(1 << 30))
            await asyncio.sleep(chance.uniform(*BUSY_SECONDS))
            if chance.random() < SERVER_SHARE:
                server.kill()
                tally.server_killed += 1
                await server.be_up()
            else:
                busy.kill()
                tally.phone_killed += 1
        busy.kill()
        for one in (phone, tablet, phone):
            await asyncio.to_thread(sync_until_up_to_date, one, tries=10)
    finally:
        if busy is not None:
            busy.stop()
        server.stop()
    assert busy is not None
    tally.exchanges = busy.exchanges
    _compare(phone, tablet, busy.acknowledged, tally)
    tally.seconds = round(time.monotonic() - began, 1)
    return tally


def _compare(
    phone: PhoneInAFolder, tablet: PhoneInAFolder, acknowledged: dict[str, int], tally: Tally
) -> None:
    """Counts what is lost or doubled. A number written but not acknowledged may be there or not."""
    found = [_numbers(one) for one in (phone, tablet)]
    tally.acknowledged, tally.notes = sum(acknowledged.values()), len(found[0])
    for numbers in found:
        tally.lost += sum(numbers.get(note, 0) < number for note, number in acknowledged.items())
        # At most one act that was not acknowledged was under way when the phone was killed. Each act
        # is a version of its note: one that took effect twice is a version too many.
        tally.doubled += max(0, len(numbers.keys() - acknowledged.keys()) - tally.phone_killed - 1)
    versions = replica_of(phone)[1]
    tally.doubled += sum(versions["Observation", note] > number for note, number in found[0].items())
    with opened(PhoneFolder(phone.folder)) as held:
        tally.attention = held.engine.status().attention
    tally.digests_equal = replica_of(phone) == replica_of(tablet) and replica_of(phone)[0] is not None


def _numbers(phone: PhoneInAFolder) -> dict[str, int]:
    with opened(PhoneFolder(phone.folder)) as held:
        return {row.id: number for row in held.engine.rows() if (number := number_in(row.body))}
