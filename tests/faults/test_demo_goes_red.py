"""`held demo` goes red when something it walks through is broken: patches with a line `Demo: red` prove it.

Each is applied to a copy of the tree, whose demo is then served and played as a person would. It takes some
ten seconds a patch, so that it belongs to `make prove`.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.test_faults import copy_of_the_tree, patches
from tests.server_process import free_port

READY_SECONDS_MAX = 90
PLAY_SECONDS_MAX = 120
UNBROKEN = Path("unbroken")


def _walked_through() -> list[Path]:
    return [UNBROKEN, *(patch for patch in patches() if "\nDemo: red\n" in patch.read_text())]


@pytest.mark.prove
@pytest.mark.parametrize("patch", _walked_through(), ids=lambda patch: patch.stem)
def test_the_demo_goes_red(patch: Path, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    if patch is not UNBROKEN:
        subprocess.run(["git", "apply", "--whitespace=nowarn", str(patch)], cwd=tree, check=True)
    assert (_play(tree, tmp_path / "var") == 0) is (patch is UNBROKEN)


def test_the_demo_walks_through_what_most_faults_break() -> None:
    assert len(_walked_through()) >= 12


def _play(tree: Path, data_folder: Path) -> int:
    """The exit status of the demo, or of a server that does not even become ready."""
    port = str(free_port())
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "HELD_MODE": "development",
        "HELD_PORT": port,
        "HELD_BASE_URL": f"http://127.0.0.1:{port}",
        "HELD_DATA_DIR": str(data_folder),
    }
    held = [sys.executable, "-m", "server.cli"]
    server = subprocess.Popen(
        [*held, "serve", "--demo"],
        cwd=tree,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(READY_SECONDS_MAX * 5):
            if (data_folder / "demo.json").exists() or server.poll() is not None:
                break
            time.sleep(0.2)
        played = subprocess.run(
            [*held, "demo"],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=PLAY_SECONDS_MAX,
            check=False,
        )
        return played.returncode
    finally:
        server.terminate()
        server.wait(30)
