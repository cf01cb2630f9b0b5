"""What every page must hold to: links that lead somewhere, nobody's data, no machine's paths, plain words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_profiles.identifiers import is_nhs_number
from server import errors
from tests.docs.pages import ROOT, anchors, blocks, links, page_id, pages, prose

DECISIONS = ROOT / "docs/adr"
README_COMMANDS = ("make run", "make demo")

# Where a page names a test or a file of this tree, it must be there.
_TREE = re.compile(r"`((?:server|tests|sync|fhir_profiles|docs)/[\w./-]+)(?:::(\w+))?`")
_TEST_NAME = re.compile(r"`(test_\w+)`")
_OUTSIDE = re.compile(r"^(https?:|mailto:)")
_MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home|root|work|Users|tmp|opt/venv)/")
_REGISTRIES = re.compile(r"pypi\.org|pythonhosted|npmjs|index-url|artifactory|proxy\.golang", re.IGNORECASE)
_TEN_DIGITS = re.compile(r"(?<![\d.])\d{3}[ -]?\d{3}[ -]?\d{4}(?![\d.])")
# Words that tell people nothing, or that only engineers use.
_BANNED = re.compile(
    r"\b(success(?:ful(?:ly)?)?|please wait|please note|simply|just|invalid|payload|endpoint|null|parse[ds]?|"
    r"instantiat\w*|leverag\w*|utili[sz]e\w*|in order to|robust|seamless\w*|oops|user|backend|stakeholder\w*|"
    r"whitelist\w*|blacklist\w*|abort(?:ed)?|fatal|illegal|deprecated)\b",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"[A-Z][^.!?]{8,}[.!?]")
SPOKEN_BY = (
    "server/errors.py",
    "server/sharing/altering.py",
    "server/sharing/asking.py",
    "server/sharing/plain_words.py",
    "server/sharing/sentences.py",
    "server/sharing/rules.py",
    "server/intake/publish.py",
    "server/commands/demo_words.py",
)


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        if _OUTSIDE.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} names no heading"


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_every_file_and_test_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path, name in _TREE.findall(text):
        assert (ROOT / path).exists(), f"{path} is not in the tree"
        if name:
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"
    for name in _TEST_NAME.findall(text):
        assert name in _tests_by_name(), f"there is no {name}"


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_no_page_names_a_machine_a_registry_or_a_person(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not _MACHINE_PATHS.search(text)
    assert not _REGISTRIES.search(text)
    for found in _TEN_DIGITS.findall(text):
        digits = re.sub(r"\D", "", found)
        assert digits.startswith("999") or not is_nhs_number(digits), "use a number of the test range 999"


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_every_table_row_has_the_cells_of_its_head(page: Path) -> None:
    width = 0
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1
        width = width or cells
        assert cells == width, line


def test_the_readmes_commands_stand_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for command in README_COMMANDS:
        assert command in readme
        assert command.split()[1] in targets
    listed = re.search(r"^    make ((?:[a-z-]+ ?)+)$", readme, re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) <= targets


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_changelog_says_what_is_unreleased() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    _, _, unreleased = changelog.partition("\n## Unreleased\n")
    assert re.search(r"^- \w", unreleased.partition("\n## ")[0], re.MULTILINE)


def test_every_decision_is_in_the_index_once_and_numbered_without_gaps() -> None:
    decisions = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [name[:4] for name in decisions] == [f"{n:04}" for n in range(1, len(decisions) + 1)]
    assert [link for link in links(DECISIONS / "README.md") if link[0].isdigit()] == decisions


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("[0-9]*.md")), ids=page_id)
def test_a_decision_tells_all_five_things_in_under_a_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.name[:4]} [A-Z]", text)
    assert anchors(page) >= {"context", "decision", "bad-consequences", "how-we-would-notice"}
    assert "options" in anchors(page) or "Option" in text or "option" in text, (
        "say what else could have been done"
    )
    assert len(text.split()) <= 420


@pytest.mark.parametrize("path", SPOKEN_BY)
def test_what_people_read_is_in_plain_words(path: str) -> None:
    for text in _spoken(ROOT / path):
        found = _BANNED.search(text)
        assert found is None, f"{found and found[0]!r} in {text!r}"


@pytest.mark.parametrize("page", pages(), ids=page_id)
def test_no_page_uses_words_that_say_nothing(page: Path) -> None:
    found = re.search(
        r"\b(please note|leverag\w*|seamless\w*|in order to|utili[sz]e\w*|robust)\b",
        prose(page),
        re.IGNORECASE,
    )
    assert found is None, found and found[0]


def test_every_refusal_is_a_sentence() -> None:
    for refusal in _refusals():
        text = (refusal.__doc__ or "").strip()
        assert _SENTENCES.match(text), f"{refusal.__name__}: {text}"
        assert "\n" not in text


def test_shell_blocks_hold_only_commands_there_are() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "sh":
                for line in filter(None, block.text.splitlines()):
                    assert re.match(
                        r"#|make |export |[A-Z_]+=|\.venv/bin/|openssl |install |sudo |psql |git |  ", line
                    ), line


def _refusals() -> Iterator[type[errors.HeldError]]:
    waiting = [errors.HeldError]
    while waiting:
        found = waiting.pop()
        if found.__module__ == errors.__name__:
            yield found
        waiting += found.__subclasses__()


def _spoken(path: Path) -> Iterator[str]:
    """The strings of a module that people may read: all but its names and what engineers are told."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    is_errors = path.name == "errors.py"
    for node in ast.walk(tree):
        if is_errors and isinstance(node, ast.ClassDef):
            yield ast.get_docstring(node) or ""
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and _SENTENCES.match(node.value) and not _is_docstring(tree, node):
            yield node.value


def _is_docstring(tree: ast.Module, constant: ast.Constant) -> bool:
    return any(isinstance(node, ast.Expr) and node.value is constant for node in ast.walk(tree))


def _tests_by_name() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        names.add(path.stem)
        names.update(re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8")))
    return names
