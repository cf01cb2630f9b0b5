"""The data this package is driven by, and its one reader."""

from importlib import resources
from typing import Any

import msgspec


def read_json(name: str) -> Any:
    """The content of one JSON file of this folder."""
    return msgspec.json.decode(resources.files(__name__).joinpath(name).read_bytes())


def read_lines(name: str) -> list[str]:
    """The lines of one text file of this folder, without blank ones and comments."""
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
