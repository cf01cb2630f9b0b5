"""Our lists of codes and words, as rows with the reason for each."""

import csv
from importlib import resources


def rows_of(name: str) -> list[dict[str, str]]:
    """The rows of one list, such as `list_codes.csv`."""
    text = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
