"""Whether a narrative is the harmless XHTML that FHIR allows (https://hl7.org/fhir/R4/narrative.html#xhtml).

It is judged, never rewritten: serving makes it harmless (THREATS rule 14). What could act or fetch is an
error; what is merely not on FHIR's list, or not well formed, is a warning: no allergy is lost over a tag.
"""

import re
from typing import Any, NoReturn
from xml.parsers import expat

NARRATIVE_BYTES_MAX = 256 * 1024
# Programs that repair HTML take time by the square of its depth: half a minute for 40,000 levels.
DEPTH_MAX = 100
# What is not well formed has no depth to count, only tags.
LOOSE_TAGS_MAX = 2000
XHTML = "http://www.w3.org/1999/xhtml"
# The rules whose breaking is a warning.
HARMLESS_RULES = frozenset(
    {
        "narrative-empty",
        "narrative-not-xhtml",
        "narrative-root",
        "narrative-unknown-element",
        "narrative-unknown-attribute",
    }
)

# HTML 4.0 chapters 7 to 11 and 15 without forms, as FHIR lists them.
_ELEMENTS = frozenset(
    """
    a abbr acronym address b bdo big blockquote br caption center cite code col colgroup dd del dfn div
    dl dt em font h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub
    sup table tbody td tfoot th thead tr tt u ul var
    """.split()  # noqa: SIM905 - sixty names read better as text than as a list
)
_ATTRIBUTES = frozenset(
    """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char
    charoff charset cite class clear color cols colspan compact coords dir face frame headers height
    href hreflang hspace id lang longdesc name noshade nowrap rel rev rowspan rules scope shape size
    span src start style summary tabindex title type valign value vspace width
    """.split()  # noqa: SIM905 - as above
)
_ACTIVE_ELEMENTS = frozenset(
    """
    applet audio base button embed form frame frameset iframe input link math meta noscript object
    portal script select source style svg template textarea video
    """.split()  # noqa: SIM905 - as above
)
_FETCHING_ATTRIBUTES = frozenset(
    {"action", "background", "data", "formaction", "ping", "poster", "srcdoc", "srcset"}
)
_LINK = re.compile(r"(?:https?://|mailto:|tel:|urn:|#|(?![a-z][a-z0-9+.\-]*:|//))", re.IGNORECASE)
_IMAGE = re.compile(r"(?:#|data:image/(?:png|jpeg|gif)[;,])", re.IGNORECASE)
_STYLE_FETCH = re.compile(r"url\(|@import|expression\(|behavior:|\\", re.IGNORECASE)
# A narrative that cannot be read as XML is searched for these: a browser reads on where a parser stops.
_ACTIVE_TEXT = re.compile(
    rf"<\s*/?\s*(?:[a-z]+:)?(?:{'|'.join(sorted(_ACTIVE_ELEMENTS))}|img|!doctype|!entity|\?)"
    r"|[\s/\"']on[a-z]{3,32}\s*=|(?:java|vb)script\s*:|url\s*\(",
    re.IGNORECASE,
)

Fault = tuple[str, str]


class _FaultError(Exception):
    def __init__(self, rule: str, detail: str) -> None:
        self.fault = (rule, detail)
        super().__init__(detail)


def narrative_fault(div: Any) -> Fault | None:
    """What is wrong with a narrative, as (rule, sentence): its first error, else its first warning."""
    if type(div) is not str:
        return "string", "This must be text."
    if len(div) > NARRATIVE_BYTES_MAX or len(div.encode()) > NARRATIVE_BYTES_MAX:
        return "narrative-too-long", f"The narrative is larger than {NARRATIVE_BYTES_MAX} bytes."
    if not div.strip():
        return "narrative-empty", "The narrative is empty."
    reader = _Reader()
    try:
        reader.read(div)
    except _FaultError as error:
        return error.fault
    except expat.ExpatError:
        if div.count("<") > LOOSE_TAGS_MAX:
            return "narrative-too-deep", "The narrative is not well formed and holds too many tags."
        if _ACTIVE_TEXT.search(div):
            return "narrative-active", "The narrative is not well formed and holds something that could act."
        return "narrative-not-xhtml", "The narrative is not well-formed XHTML."
    return reader.warning


class _Reader:
    """Reads one narrative; raises at the first error and remembers the first warning."""

    def __init__(self) -> None:
        self.warning: Fault | None = None
        self._depth = 0

    def read(self, div: str) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        # A document type could declare entities that unfold without end; it ends the reading at once.
        parser.StartDoctypeDeclHandler = _refuse_declaration
        parser.ProcessingInstructionHandler = _refuse_declaration
        parser.Parse(div.encode(), True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        namespace, _, name = tag.rpartition(" ")
        if name.lower() in _ACTIVE_ELEMENTS or namespace not in {XHTML, ""}:
            raise _FaultError("narrative-active", "The narrative holds an element that could act.")
        if self._depth >= DEPTH_MAX:
            raise _FaultError(
                "narrative-too-deep", f"The narrative is nested more than {DEPTH_MAX} levels deep."
            )
        if self._depth == 0 and (name != "div" or not namespace):
            self._warn("narrative-root", "The narrative should be one XHTML div.")
        elif name not in _ELEMENTS:
            self._warn("narrative-unknown-element", "The narrative holds an element FHIR does not list.")
        self._depth += 1
        for attribute, value in attributes.items():
            # Browsers drop blanks and line ends within an address.
            self._attribute(name, attribute, "".join(value.split()))

    def _end(self, _tag: str) -> None:
        self._depth -= 1

    def _attribute(self, element: str, attribute: str, value: str) -> None:
        namespace, _, name = attribute.lower().rpartition(" ")
        if name.startswith("on"):
            raise _FaultError("narrative-active", "The narrative holds an attribute that could act.")
        if name in {"href", "cite", "longdesc"} and not _LINK.match(value):
            raise _FaultError("narrative-link", "The narrative holds a link of a kind that is not allowed.")
        if name in _FETCHING_ATTRIBUTES or (name == "src" and (element != "img" or not _IMAGE.match(value))):
            raise _FaultError("narrative-fetch", "The narrative would fetch something from elsewhere.")
        if name == "style" and _STYLE_FETCH.search(value):
            raise _FaultError(
                "narrative-fetch", "The narrative's style would fetch something from elsewhere."
            )
        if name not in _ATTRIBUTES and not namespace.endswith("xml/1998/namespace"):
            self._warn("narrative-unknown-attribute", "The narrative holds an attribute FHIR does not list.")

    def _warn(self, rule: str, detail: str) -> None:
        self.warning = self.warning or (rule, detail)


def _refuse_declaration(*_: object) -> NoReturn:
    raise _FaultError("narrative-active", "The narrative holds a declaration that is not allowed.")
