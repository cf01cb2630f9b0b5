"""The published FHIR files beside the repository (`../shared/data`, or HELD_SHARED_DATA).

Tests that read them are marked `shared_data` and skipped, visibly, where the folder is absent.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
SHARED_DATA = Path(os.environ.get("HELD_SHARED_DATA") or _BESIDE)


def shared_folder(name: str) -> Path:
    """One folder of the published files; skips the test when it is not there."""
    folder = SHARED_DATA / name
    if not folder.is_dir():
        pytest.skip(f"the published files {name} are not beside the repository")
    return folder


def shared_json(name: str) -> Iterator[tuple[str, bytes]]:
    """Every JSON file of a folder, as its path below it and its bytes; skips when the folder is absent."""
    folder = shared_folder(name)
    for path in sorted(folder.rglob("*.json")):
        yield str(path.relative_to(folder)), path.read_bytes()
