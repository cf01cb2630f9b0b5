"""Each fault is a patch. Applied to a copy of the tree, the tests it names must go red.

A patch says on its first line what is wrong, and after `Caught by:` which tests must notice, as pytest
arguments. `Seen by two worlds: yes` says that the second net (THREATS d2) must notice too, which `make prove`
shows. `HELD_FAULTS` names a folder of further patches; those without a `Caught by:` line must be noticed by
the whole suite.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1
SECONDS_MAX = 280
TWO_WORLDS = "tests/api/test_two_worlds.py -k two_hundred"
WHOLE_SUITE = "tests -m 'not slow and not prove' -x"


def patches() -> list[Path]:
    """Our patches, and those of the folder HELD_FAULTS names."""
    outside = os.environ.get("HELD_FAULTS")
    folders = [Path(__file__).parent] + ([Path(outside)] if outside else [])
    return sorted(patch for folder in folders for patch in folder.glob("*.patch"))


def _is_seen_by_two_worlds(patch: Path) -> bool:
    return "\nSeen by two worlds: yes\n" in patch.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("patch", patches(), ids=lambda patch: patch.stem)
def test_the_fault_is_caught(patch: Path, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    _apply(patch, tree)
    answer = _run(tree, _caught_by(patch), tmp_path)
    assert answer.returncode == TESTS_FAILED, f"{patch.name} was not caught:\n{answer.stdout[-2000:]}"


@pytest.mark.prove
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "patch", [each for each in patches() if _is_seen_by_two_worlds(each)], ids=lambda each: each.stem
)
def test_the_fault_is_seen_by_two_worlds(patch: Path, tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    _apply(patch, tree)
    answer = _run(tree, TWO_WORLDS, tmp_path, seconds_max=800)
    assert answer.returncode == TESTS_FAILED, f"{patch.name} was not seen:\n{answer.stdout[-2000:]}"
    assert "AssertionError: seed " in answer.stdout, answer.stdout[-2000:]


def test_every_fault_names_the_tests_that_catch_it() -> None:
    ours = sorted(Path(__file__).parent.glob("*.patch"))
    assert len(ours) >= 16
    assert [patch.name for patch in ours if "Caught by:" not in patch.read_text()] == []


def _apply(patch: Path, tree: Path) -> None:
    applied = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(patch)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    assert applied.returncode == 0, f"{patch.name} no longer fits the tree: {applied.stderr}"


def copy_of_the_tree(target: Path) -> Path:
    """The tree as git sees it, in a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    # A repository of its own: git would otherwise look for the files in whichever one stands around it.
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    return target


def _caught_by(patch: Path) -> str:
    found = re.search(r"^Caught by: (.+)$", patch.read_text(), re.MULTILINE)
    return found[1] if found else WHOLE_SUITE


def _run(
    tree: Path, arguments: str, tmp_path: Path, *, seconds_max: int = SECONDS_MAX
) -> subprocess.CompletedProcess[str]:
    options = f"-q -x -p no:cacheprovider --hypothesis-profile faults --basetemp {tmp_path}/run"
    command = f"{sys.executable} -m pytest {options} {arguments}"
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("HELD_SHARED_DATA", str(ROOT.parent / "shared" / "data"))
    return subprocess.run(
        command,
        shell=True,
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )
