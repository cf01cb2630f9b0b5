"""Finds words that reveal a sensitive class in text (terminology/sensitive_words.csv).

A row is one or more whole words; a word ending in "*" also stands for every longer one. Case and accents do
not count. At each place the longest row wins, so a row of class "-" ("st depression") shields what it spans.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from fhir_profiles.terminology import rows_of

ATTACHED_TEXT_BYTES_MAX = 1_000_000
# A text with more places where a row could begin is no clinical note, and reading each holds up everybody.
TELLING_PLACES_MAX = 5_000
WORDS_AT_ONE_STROKE_CHARACTERS = 64_000

_WORD = re.compile(r"[a-z0-9]+")
# NOTE: neither may be inside, or a text of many "<" would be searched to its end from each of them.
_TAG = re.compile(r"<[^<>]*>")
_STEM_LENGTH = 4
_HARMLESS = "-"


class _Row(NamedTuple):
    words: tuple[str, ...]
    sensitive_class: str


def classes_in_text(text: str) -> Iterator[tuple[str, str]]:
    """Each sensitive class the text reveals, with the row that says so."""
    words = _words_of(folded(text))
    present = set(words)
    telling = {word: rows for word in present if (rows := _rows_beginning_with(word))}
    if not telling:
        return
    if sum(word in telling for word in words) > TELLING_PLACES_MAX:
        yield from _classes_of_words(present, telling)
        return
    skip_until = 0
    for place, word in enumerate(words):
        if word not in telling or place < skip_until:
            continue
        rows = [row for row in telling[word] if _matches(row.words, words, place)]
        longest = max((len(row.words) for row in rows), default=1)
        for row in rows:
            if len(row.words) == longest and row.sensitive_class != _HARMLESS:
                yield row.sensitive_class, " ".join(row.words)
        skip_until = place + longest


def _words_of(text: str) -> list[str]:
    """The words in order. A long text is taken word by word: at one stroke it would hold up every thread."""
    if len(text) <= WORDS_AT_ONE_STROKE_CHARACTERS:
        return _WORD.findall(text)
    return [found[0] for found in _WORD.finditer(text)]


def _classes_of_words(present: set[str], telling: dict[str, list[_Row]]) -> Iterator[tuple[str, str]]:
    """What a text too long to be read place by place could reveal: words in any order, nothing shielded."""
    for rows in telling.values():
        for row in rows:
            if row.sensitive_class != _HARMLESS and all(_is_among(word, present) for word in row.words):
                yield row.sensitive_class, " ".join(row.words)


def _is_among(wanted: str, present: set[str]) -> bool:
    return any(_is_same(wanted, word) for word in present) if wanted.endswith("*") else wanted in present


def folded(text: str) -> str:
    """Lower case, without accents or invisible characters: how words are compared."""
    if text.isascii():
        return text.lower().replace("'", "")
    spread = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in spread if unicodedata.category(c) not in {"Mn", "Cf"} and c not in "'’")


def text_in_narrative(div: str) -> str:
    """The words of an XHTML narrative without its tags."""
    return html.unescape(_TAG.sub(" ", div))


def text_in_attachment(attachment: dict[str, Any]) -> str:
    """The words of attached plain or marked-up text; "" for anything else, such as a PDF or a picture."""
    data, content_type = attachment.get("data"), str(attachment.get("contentType", ""))
    readable = content_type.startswith("text/") or content_type.partition(";")[0].endswith(("xml", "json"))
    if not isinstance(data, str) or not readable:
        return ""
    try:
        plain = base64.b64decode(data[: ATTACHED_TEXT_BYTES_MAX * 4 // 3], validate=False)
    except binascii.Error:
        return ""
    return text_in_narrative(plain.decode("utf-8", errors="replace"))


def _matches(row: tuple[str, ...], words: list[str], place: int) -> bool:
    if place + len(row) > len(words):
        return False
    return all(_is_same(wanted, words[place + offset]) for offset, wanted in enumerate(row))


def _is_same(wanted: str, word: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


def _rows_beginning_with(word: str) -> list[_Row]:
    whole, stems = _beginnings()
    rows = whole.get(word, [])
    stemmed = stems.get(word[:_STEM_LENGTH])
    return [*rows, *(row for row in stemmed if _is_same(row.words[0], word))] if stemmed else rows


@cache
def _beginnings() -> tuple[dict[str, list[_Row]], dict[str, list[_Row]]]:
    """The rows by their first word; those that begin with a stem by its first letters."""
    whole: dict[str, list[_Row]] = {}
    stems: dict[str, list[_Row]] = {}
    for line in rows_of("sensitive_words.csv"):
        row = _Row(tuple(folded(line["words"]).split()), line["class"])
        if row.words[0].endswith("*"):
            stems.setdefault(row.words[0][:_STEM_LENGTH], []).append(row)
        else:
            whole.setdefault(row.words[0], []).append(row)
    return whole, stems
