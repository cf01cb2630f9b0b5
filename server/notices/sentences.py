"""The sentences of notices about an item, and of the log when one was fetched. Pure.

The same style as sharing's. Neither says what was kept back, nor what an item says now.
"""

from server.sharing.plain_words import date_words, plain_name


def item_words(title: str, dated: str) -> str:
    """`"Asthma" of 1 May 2024`, as a person would name an entry of the record."""
    named = f'"{plain_name(title)}"'
    return f"{named} of {date_words(dated)}" if dated else named


def corrected_sentence(item: str, *, source: str, may_know: bool) -> str:
    """What whoever saw the wrong version is told. `may_know` when they are also told what it is now."""
    told = f"{plain_name(source)} has corrected {item}, which you saw in this person's record."
    return told if may_know else f"{told} Do not rely on what it said."


def told_line(who: str, item: str, *, source: str) -> str:
    """The log line for a recipient who fetched the notice."""
    return f"{who} was told that {plain_name(source)} has corrected {item}."


def removal_told_line(who: str, *, source: str) -> str:
    """The same when the item was taken out."""
    return f"{who} was told that {plain_name(source)} has taken out something in your record."
