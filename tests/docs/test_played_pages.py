"""The pages that say what to do, played as they are written on a server started as `make run` starts it."""

import ast
import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, blocks, page_id
from tests.server_process import free_port

PLAYED = [
    ROOT / "docs" / name
    for name in (
        "tutorial/first-shared-record.md",
        "tutorial/questioned-and-corrected.md",
        "how-to/push-an-extract.md",
        "how-to/redeem-an-offer.md",
        "how-to/change-or-end-a-grant.md",
        "how-to/use-the-phone.md",
        "how-to/register-an-integrator.md",
        "how-to/link-an-organisation.md",
    )
]
START_SECONDS_MAX = 120
# These two are what the fixture and the test itself are.
PLAYED_OTHERWISE = {"make run", ".venv/bin/python -m asyncio"}
CALLED_BY_MAKE = {"make demo": "held demo"}

_SETTING = re.compile(r"[A-Z_]+=")
# What a reader is told to put in place of the page's own: the code and the two digits that were just shown.
_CODE_ON_THE_PAGE, _DIGITS_ON_THE_PAGE = "7K3M-Q9TX2R", "confirm 47"
_CODE_SHOWN = re.compile(r"The code is (\S+)\.")
_DIGITS_SHOWN = re.compile(r"The two digits are (\d\d)")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A demo on a free port; the environment that its commands are to have."""
    folder = tmp_path_factory.mktemp("tutorial")
    port = str(free_port())
    environment = {
        **os.environ,
        "HELD_MODE": "development",
        "HELD_PORT": port,
        "HELD_BASE_URL": f"http://127.0.0.1:{port}",
        "HELD_DATA_DIR": str(folder / "var"),
    }
    output = folder / "server.log"
    with output.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "server.cli", "serve", "--demo"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(output, server)
            yield environment
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("page", PLAYED, ids=page_id)
async def test_each_step_of_the_page_answers_what_it_says(
    page: Path, demo: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELD_DATA_DIR", demo["HELD_DATA_DIR"])
    pasted: dict[str, Any] = {}
    said = ""
    try:
        for block in blocks(page):
            match block.language:
                case "sh":
                    said = _run(_with_what_was_shown(block.text, said), demo)
                case "python":
                    said = await _paste(_with_what_was_shown(block.text, said), pasted)
                case _:
                    assert _fits(block.text, said), f"The page says:\n{block.text}\nIt answers:\n{said}"
    finally:
        if "http" in pasted:
            await pasted["http"].aclose()


@pytest.mark.parametrize("page", PLAYED, ids=page_id)
def test_a_page_can_be_pasted_line_by_line(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            assert not any(line.startswith((" ", "\t")) or not line for line in block.text.splitlines())


async def _paste(text: str, pasted: dict[str, Any]) -> str:
    """Runs one block as `python -m asyncio` would; what it printed."""
    code = compile(text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = eval(code, pasted)
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


def _with_what_was_shown(text: str, said: str) -> str:
    for shown, place, written in (
        (_CODE_SHOWN, _CODE_ON_THE_PAGE, "{}"),
        (_DIGITS_SHOWN, _DIGITS_ON_THE_PAGE, "confirm {}"),
    ):
        if place in text and (found := shown.search(said)):
            text = text.replace(place, written.format(found[1]))
    return text


def _run(text: str, environment: dict[str, str]) -> str:
    """Runs each line; what the last one printed."""
    said = ""
    for line in text.splitlines():
        if line in PLAYED_OTHERWISE:
            continue
        words = shlex.split(CALLED_BY_MAKE.get(line, line))
        words = [re.sub("^var/", environment["HELD_DATA_DIR"] + "/", word) for word in words]
        own = dict(word.split("=", 1) for word in words if _SETTING.match(word))
        command = [word for word in words if not _SETTING.match(word)]
        assert Path(command[0]).name == "held", line
        done = subprocess.run(
            [sys.executable, "-m", "server.cli", *command[1:]],
            cwd=ROOT,
            env=environment | own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said = done.stdout
    return said


def _fits(expected: str, said: str) -> bool:
    return doctest.OutputChecker().check_output(expected, said, doctest.ELLIPSIS)


def _wait_for(output: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while "Held is ready" not in output.read_text():
        assert server.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.2)
