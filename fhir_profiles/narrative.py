"""Makes narrative harmless before it is served (THREATS rule 14; https://hl7.org/fhir/R4/narrative.html).

Allowed are text, tables and lists: no links, images, styles, event attributes, comments or scripts. A
narrative that holds nothing else keeps its bytes. One that does is rewritten; the source bytes stay as sent.
"""

import html
import re
from typing import Any, NoReturn, cast
from xml.parsers import expat

import nh3

from fhir_profiles.shapes import Resource
from fhir_profiles.xhtml import XHTML

_ELEMENT_NAMES = """
    abbr acronym b big blockquote br caption cite code col colgroup dd del dfn div dl dt em h1 h2
    h3 h4 h5 h6 hr i ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td
    tfoot th thead tr tt u ul var
"""
_ATTRIBUTE_NAMES = """
    align axis border cellpadding cellspacing char charoff class colspan compact dir frame headers
    lang rowspan rules scope span start summary title type valign width xml:lang
"""
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
# An `a` without attributes leads nowhere: many generated narratives hold some, and keep their bytes.
_HARMLESS = _ELEMENTS | {"a"}
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
_VOID = re.compile(r"<(br|hr|col)((?: [^<>]*[^<>/])?)>")
_EMPTY = f'<div xmlns="{XHTML}"> </div>'


class _HarmfulError(Exception):
    """Something in the narrative is not on the list."""


def sanitised(resource: Resource) -> Resource:
    """The resource with every Narrative made harmless; the same object when nothing had to change.

    Narrative stands in `text`, of contained resources too, and in a Composition's sections.
    """
    changed: Resource = {}
    for name in ("text", "contained", "section"):
        child = resource.get(name)
        new: Any = child
        if name == "text" and isinstance(child, dict):
            new = _sanitised_text(cast("Resource", child))
        elif isinstance(child, list):
            new = [_sanitised_part(part) for part in cast("list[Any]", child)]
        if new != child:
            changed[name] = new
    return {**resource, **changed} if changed else resource


def sanitised_div(div: str) -> str:
    """The narrative without anything that could act, fetch or hide."""
    if _is_harmless(div):
        return div
    cleaned = nh3.clean(
        div,
        tags=set(_ELEMENTS),
        attributes={"*": set(_ATTRIBUTES)},
        link_rel=None,
        strip_comments=True,
    )
    rewritten = _as_xhtml(cleaned)
    return rewritten if _is_harmless(rewritten) else _as_text(cleaned)


def _sanitised_part(part: Any) -> Any:
    return sanitised(cast("Resource", part)) if isinstance(part, dict) else part


def _sanitised_text(text: Resource) -> Resource:
    div = text.get("div")
    return {**text, "div": sanitised_div(div)} if isinstance(div, str) else text


def _is_harmless(div: str) -> bool:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = _check_element
    for refused in (
        "StartDoctypeDeclHandler",
        "ProcessingInstructionHandler",
        "CommentHandler",
        "StartCdataSectionHandler",
    ):
        setattr(parser, refused, _refuse)
    try:
        parser.Parse(div.encode("utf-8", errors="strict"), True)
    except (_HarmfulError, expat.ExpatError, UnicodeEncodeError):
        return False
    return div.startswith("<div")


def _check_element(tag: str, attributes: dict[str, str]) -> None:
    namespace, _, name = tag.rpartition(" ")
    if namespace not in {XHTML, ""} or name not in _HARMLESS:
        raise _HarmfulError
    for attribute in attributes:
        plain = attribute.replace("http://www.w3.org/XML/1998/namespace ", "xml:")
        if plain not in _ATTRIBUTES:
            raise _HarmfulError


def _refuse(*_: object) -> NoReturn:
    raise _HarmfulError


def _as_xhtml(cleaned: str) -> str:
    """What the cleaner wrote, as HTML, in the XML spelling and inside one XHTML div."""
    inner = _VOID.sub(r"<\1\2/>", cleaned.strip()).replace("&nbsp;", "&#160;")
    inner = re.sub(r"^<div>(.*)</div>$", r"\1", inner, flags=re.DOTALL) if inner.count("<div") == 1 else inner
    return f'<div xmlns="{XHTML}">{inner}</div>' if inner.strip() else _EMPTY


def _as_text(cleaned: str) -> str:
    words = html.unescape(re.sub(r"<[^<>]*>", " ", cleaned))
    return f'<div xmlns="{XHTML}"><p>{html.escape(words, quote=False)}</p></div>'
