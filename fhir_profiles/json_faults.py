"""What is wrong with JSON we do not take, in stable codes and plain words (THREATS rule 12, section 4)."""

import re

NUMBER_CHARACTERS_MAX = 40
SIGNIFICANT_DIGITS_MAX = 18
EXPONENT_MAX = 30

_NUMBER_PARTS = re.compile(rb"-?(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?\Z")


class JsonRefused(Exception):
    """This JSON breaks one of our reading rules.

    `code` is stable; `pointer` is the JSON pointer of the value at fault, "" for the whole document;
    `offset` is the byte where reading stopped, None when the fault has no place.
    """

    def __init__(self, code: str, detail: str, *, pointer: str = "", offset: int | None = None) -> None:
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.offset = offset
        super().__init__(f"{detail} ({code} at {pointer or 'the top'}, byte {offset})")


def number_fault(text: bytes) -> tuple[str, str] | None:
    """Why this number is not taken, as (code, detail); None when it is one and within our limits."""
    if len(text) > NUMBER_CHARACTERS_MAX:
        return "number-too-long", f"A number is longer than {NUMBER_CHARACTERS_MAX} characters."
    parts = _NUMBER_PARTS.match(text)
    if parts is None:
        return "syntax", "A value is missing or is not JSON."
    whole, fraction, exponent = parts.groups(b"")
    if len((whole + fraction).lstrip(b"0")) > SIGNIFICANT_DIGITS_MAX:
        return "number-digits", f"A number has more than {SIGNIFICANT_DIGITS_MAX} significant digits."
    if abs(int(exponent or b"0")) > EXPONENT_MAX:
        return "number-exponent", f"A number's exponent is outside -{EXPONENT_MAX} to {EXPONENT_MAX}."
    return None


def string_fault(found: bytes) -> tuple[str, str]:
    """Why a string cannot go on with these bytes, as (code, detail)."""
    if not found:
        return "syntax", "A string is not closed."
    if found[0] < 0x20:
        return "control-character", "A string holds a control character."
    if found[1:2] in {b"b", b"f"} or re.match(rb"\\u00[01]", found):
        return "control-character", "A string holds an escaped control character."
    if re.match(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", found):
        return "lone-surrogate", "A string holds half of a character (a lone surrogate)."
    return "syntax", "A string holds an unknown escape."


def pointer_step(name: bytes | int) -> str:
    """One step of a JSON pointer. Long names are cut: an error need not repeat what was sent."""
    text = str(name) if isinstance(name, int) else name[:64].decode(errors="replace")
    return "/" + text.replace("~", "~0").replace("/", "~1")
