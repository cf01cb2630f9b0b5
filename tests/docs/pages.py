"""The pages of this repository as tests read them: their text, links, tables and blocks of code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
AT_THE_TOP = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def pages() -> list[Path]:
    """Every page that people read."""
    return [*(ROOT / name for name in AT_THE_TOP), *sorted((ROOT / "docs").rglob("*.md"))]


def page_id(path: Path) -> str:
    """A page's name in a test's id."""
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found) for found in _BLOCK.findall(path.read_text(encoding="utf-8"))]


def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[str]:
    """Where a page's links lead."""
    return _LINK.findall(prose(path))


def anchors(path: Path) -> set[str]:
    """What `#...` may name on a page."""
    return {_anchor(heading) for heading in _HEADING.findall(prose(path))}


def rows(path: Path) -> Iterator[list[str]]:
    """The rows of every table of a page, heads and rules left out, each as its cells."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and line.endswith(" |"):
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def named_in(cell: str) -> list[str]:
    """What a cell names in code."""
    return _CODE.findall(cell)


def _anchor(heading: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return plain.replace(" ", "-")
