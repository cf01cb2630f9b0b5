"""What a share says to its owner, read from the Consent on the phone."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from server.commands.phone_app.words import one_line

GRANT_VERSION = "urn:held:extension:grant-version"
_TAG = re.compile(r"<[^>]*>")
_SENTENCE_MAX = 600
STATES = {
    "draft": "draft",
    "proposed": "offered",
    "active": "active",
    "inactive": "ended",
    "rejected": "refused",
}


def share_line(consent: Mapping[str, Any]) -> str:
    """Its id, how it stands, and its one sentence."""
    state = STATES.get(str(consent.get("status")), "?")
    return f"{consent.get('id', '')}  {state:8}  {sentence_of(consent)}"


def sentence_of(consent: Mapping[str, Any]) -> str:
    """The sentence a share was given by the server."""
    text = consent.get("text")
    said = text.get("div", "") if isinstance(text, Mapping) else ""  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return one_line(unescape(_TAG.sub("", str(said))), longest=_SENTENCE_MAX)  # pyright: ignore[reportUnknownArgumentType]


def grant_version(consent: Mapping[str, Any]) -> int:
    """The version of the grant that a later change must name; 0 when the Consent does not say."""
    for extension in consent.get("extension", []):
        if extension.get("url") == GRANT_VERSION:
            return int(extension.get("valueInteger", 0))
    return 0
