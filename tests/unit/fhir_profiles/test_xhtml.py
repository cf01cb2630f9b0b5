import pytest

from fhir_profiles.xhtml import (
    DEPTH_MAX,
    HARMLESS_RULES,
    LOOSE_TAGS_MAX,
    NARRATIVE_BYTES_MAX,
    narrative_fault,
)


def div(inside: str, attributes: str = "") -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml"{attributes}>{inside}</div>'


HARMLESS = (
    "plain",
    "<p>a <b>b</b> <i>c</i><br/></p>",
    "<table border='1'><thead><tr><th colspan='2'>x</th></tr></thead></table>",
    "<a href='https://example.org/x?y=1'>x</a><a href='#here'>y</a><a href='Patient/1'>z</a><a name='q'/>",
    "<img src='#contained' alt='x'/><img src='data:image/png;base64,aGk='/>",
    "<p style='color: red' class='hapiHeaderText' id='p1'>x</p>",
    "<p xml:lang='cy' lang='cy'>x</p>",
    "&lt;script&gt; &amp; &#160; 5 &#x3C; 6",
    "<!-- a comment --><p>onclick = nothing but words</p>",
    "javascript: a language",
)
ACTIVE = (
    "<script>alert(1)</script>",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<p onclick='x()'>x</p>",
    "<p ONCLICK='x()'>x</p>",
    "<b onmouseover='x()'>x</b>",
    "<iframe src='https://e.org'/>",
    "<object data='https://e.org'/>",
    "<embed src='x'/>",
    "<form action='https://e.org'><input/></form>",
    "<style>p { background: url(https://e.org) }</style>",
    "<link rel='stylesheet' href='https://e.org'/>",
    "<meta http-equiv='refresh' content='0'/>",
    "<base href='https://e.org'/>",
    "<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
    "<math xmlns='http://www.w3.org/1998/Math/MathML'/>",
    "<x:p xmlns:x='https://e.org/other'/>",
    "<img src='https://e.org/pixel.png'/>",
    "<img src='//e.org/pixel.png'/>",
    "<img src='Binary/1'/>",
    "<img src='data:text/html,x'/>",
    "<img src='data:image/svg+xml;base64,x'/>",
    "<table background='https://e.org/x.png'/>",
    "<img src='#x' srcset='https://e.org 2x'/>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' JaVaScRiPt:alert(1)'>x</a>",
    "<a href='java&#10;script:alert(1)'>x</a>",
    "<a href='data:text/html,x'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<a href='//e.org'>x</a>",
    "<p style='background:url(https://e.org)'>x</p>",
    "<p style='width: expression(alert(1))'>x</p>",
    "<p style='behavior: url(x)'>x</p>",
    "<p style='b\\61ckground: x'>x</p>",
    "<?php x ?>",
    "<p><script>alert(1)</p>",
    "<img src=x onerror=alert(1)>",
    "<p>unclosed <svg onload=x",
    "<p/onclick=x>",
)


@pytest.mark.parametrize("inside", HARMLESS)
def test_what_fhir_lists_is_taken(inside: str) -> None:
    assert narrative_fault(div(inside)) is None


@pytest.mark.parametrize("inside", ACTIVE)
def test_what_could_act_or_fetch_is_an_error(inside: str) -> None:
    fault = narrative_fault(div(inside))
    assert fault is not None
    assert fault[0].startswith("narrative")
    assert fault[0] not in HARMLESS_RULES


@pytest.mark.parametrize(
    ("narrative", "rule"),
    [
        (div("<section>x</section>"), "narrative-unknown-element"),
        (div("<p role='note'>x</p>"), "narrative-unknown-attribute"),
        (div("<p>never closed"), "narrative-not-xhtml"),
        (div("&nbsp;"), "narrative-not-xhtml"),
        (div("a < b"), "narrative-not-xhtml"),
        ("just words", "narrative-not-xhtml"),
        (div("x") + div("y"), "narrative-not-xhtml"),
        ("<p>x</p>", "narrative-root"),
        ("<div>no namespace</div>", "narrative-root"),
        ("  ", "narrative-empty"),
    ],
)
def test_what_is_only_odd_is_a_warning(narrative: str, rule: str) -> None:
    fault = narrative_fault(narrative)
    assert fault is not None
    assert fault[0] == rule
    assert rule in HARMLESS_RULES


def test_an_error_counts_before_a_warning() -> None:
    fault = narrative_fault(div("<section>x</section><script>x</script>"))
    assert fault is not None
    assert fault[0] == "narrative-active"


@pytest.mark.parametrize("over", [0, 1])
def test_the_size_limit_is_in_bytes(over: int) -> None:
    room = NARRATIVE_BYTES_MAX - len(div("")) + over
    text = "é" * (room // 2) + "x" * (room % 2)
    fault = narrative_fault(div(text))
    assert (fault is not None and fault[0] == "narrative-too-long") is bool(over)


def rule_of(narrative: str) -> str | None:
    fault = narrative_fault(narrative)
    return fault[0] if fault else None


def test_depth_is_limited() -> None:
    inner = DEPTH_MAX - 1
    assert rule_of(div("<b>" * inner + "</b>" * inner)) is None
    assert rule_of(div("<b>" * (inner + 1) + "</b>" * (inner + 1))) == "narrative-too-deep"
    assert rule_of(div("<b></b>" * 5000)) is None


def test_loose_tags_are_limited_since_their_depth_is_unknown() -> None:
    opening = '<div xmlns="http://www.w3.org/1999/xhtml"></p>'
    room = LOOSE_TAGS_MAX - opening.count("<")
    assert rule_of(opening + "<b>" * room) == "narrative-not-xhtml"
    assert rule_of(opening + "<b>" * (room + 1)) == "narrative-too-deep"


def test_entities_that_unfold_are_refused_unread() -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + div("&b;")
    fault = narrative_fault(bomb)
    assert fault is not None
    assert fault[0] == "narrative-active"


def test_narrative_that_is_not_text_is_an_error() -> None:
    assert narrative_fault(5) == ("string", "This must be text.")
