"""Sizes, names and what stands at the top of a module: what STYLE says and no other tool checks."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.modules import ROOT, Module, modules, modules_of_tests

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
LONG_FUNCTION_LINES = 35
NOT_NAMES = {"utils", "helpers", "common", "manager", "misc", "base", "util", "helper"}
# Alembic runs this file as a script of its own, once for each command.
RUN_AS_SCRIPTS = {"server.storage.migrations.env"}

_HISTORY = re.compile(r"^\s*#.*\b(FIXME|XXX|HACK|used to be|was changed)\b", re.IGNORECASE | re.MULTILINE)
_MARK = re.compile(r"#\s*TODO(?!\()")
_MACHINE_PATHS = re.compile(r"[\"'\s](?:/home|/root|/work|/Users)/")


def test_every_file_can_be_read_at_one_sitting_and_tells_no_history() -> None:
    for module in (*modules(), *modules_of_tests()):
        text = module.path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= FILE_LINES_MAX, module.name
        for unwanted in (_MACHINE_PATHS, _HISTORY, _MARK):
            assert not unwanted.search(text), f"{module.name}: {unwanted.pattern}"


def test_no_function_is_long_and_few_are_longish() -> None:
    sizes = [
        (_lines(node), f"{module.name}.{node.name}") for module in modules() for node in _functions(module)
    ]
    assert [name for size, name in sizes if size > FUNCTION_LINES_MAX] == []
    longish = [name for size, name in sizes if size > LONG_FUNCTION_LINES]
    assert len(longish) <= len(sizes) // 10, longish


def test_the_locks_hold_hashes_and_no_addresses() -> None:
    for name in ("run", "test"):
        lock = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
        assert "://" not in lock
        assert "--index-url" not in lock
        pinned = re.findall(r"^[\w.\[\]-]+==\S+.*?(?=^[\w.\[\]-]+==|\Z)", lock, re.MULTILINE | re.DOTALL)
        assert pinned
        assert all("--hash=sha256:" in one for one in pinned)


def test_no_module_has_a_name_that_says_nothing() -> None:
    for module in modules():
        assert not NOT_NAMES & set(module.name.split(".")), module.name


def test_importing_a_module_does_nothing_but_define() -> None:
    for module in modules():
        if module.name in RUN_AS_SCRIPTS:
            continue
        for node in module.tree.body:
            assert not _does_something(node), f"{module.name} line {node.lineno}"


def test_every_module_says_what_it_is_for() -> None:
    for module in modules():
        if module.path.name != "__init__.py":
            docstring = ast.get_docstring(module.tree)
            assert docstring, module.name
            assert (
                docstring.splitlines()[0].rstrip().endswith((".", "?", ":"))
                or len(docstring.splitlines()) > 1
            ), module.name


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the last line, the docstring left out: what has to be followed."""
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    shown = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring is not None else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - shown


def _does_something(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) not in {"TYPE_CHECKING", "__name__ == '__main__'"}
    return isinstance(
        node, ast.For | ast.While | ast.With | ast.Try | ast.AugAssign | ast.Delete | ast.AsyncFor
    )
