"""The table of sync promises names tests that exist, and every promise has its line."""

import ast
import re

from tests.docs.pages import ROOT

PAGE = ROOT / "docs/reference/sync-invariants.md"
NOT_BUILT_YET = {"I17"}

_LINE = re.compile(r"^\| (I\d+) \| (.+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_\w+)`")


def test_every_promise_has_its_line_and_a_test() -> None:
    lines = {name: tests for name, _, tests in _LINE.findall(PAGE.read_text())}
    assert list(lines) == [f"I{number}" for number in range(1, 25)]
    for name, tests in lines.items():
        assert bool(_TEST.search(tests)) != (name in NOT_BUILT_YET), name


def test_each_named_test_exists() -> None:
    for file, name in _TEST.findall(PAGE.read_text()):
        tree = ast.parse((ROOT / file).read_text())
        functions = {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name in functions, f"{file}::{name}"
