"""The source tree as the architecture tests read it: modules, their trees and what they import."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "sync", "fhir_profiles")


class Module(NamedTuple):
    """One file of ours: its dotted name, where it is, and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the program itself."""
    return tuple(_read(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


@cache
def modules_of_tests() -> tuple[Module, ...]:
    """Every module of the tests."""
    return tuple(_read(path) for path in sorted((ROOT / "tests").rglob("*.py")))


def imported_by(module: Module) -> Iterator[str]:
    """Every name a module imports, dotted: `from a.b import c` gives `a.b` and `a.b.c`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(module: Module, name: str) -> bool:
    """Whether a module imports this one or something in it."""
    return any(each == name or each.startswith(f"{name}.") for each in imported_by(module))


def names_used(module: Module) -> set[str]:
    """Every bare name, attribute and imported name a module mentions."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom):
            found.update(alias.name for alias in node.names)
    return found


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return Module(".".join(parts), path, ast.parse(path.read_text(encoding="utf-8")))
