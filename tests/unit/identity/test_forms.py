"""Forms: one value for each name, in one type, within bounds."""

import pytest

from server.errors import OAuthError
from server.identity.forms import FORM_BYTES_MAX, FORM_TYPE, read_form, required


def test_form_is_read() -> None:
    form = read_form(f"{FORM_TYPE}; charset=utf-8", b"grant_type=code&code=a%20b&empty=")
    assert form == {"grant_type": "code", "code": "a b"}
    assert required(form, "code") == "a b"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"grant_type":"code"}'),
        ("multipart/form-data; boundary=x", b"--x"),
        ("", b"a=b"),
        (FORM_TYPE, b"a=b&a=b"),
        (FORM_TYPE, b"a=b&a="),
        (FORM_TYPE, b"a=%00"),
        (FORM_TYPE, b"a=%ff"),
        (FORM_TYPE, b"\xff=1"),
        (FORM_TYPE, b"novalue"),
        (FORM_TYPE, b"&".join(b"a%d=1" % n for n in range(65))),
    ],
)
def test_other_forms_are_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(OAuthError) as refused:
        read_form(content_type, body)
    assert refused.value.error == "invalid_request"


@pytest.mark.parametrize(("extra", "is_read"), [(-1, True), (0, True), (1, False)])
def test_form_size_limit(extra: int, is_read: bool) -> None:
    body = b"a=" + b"x" * (FORM_BYTES_MAX - 2 + extra)
    if is_read:
        assert len(read_form(FORM_TYPE, body)["a"]) == FORM_BYTES_MAX - 2 + extra
    else:
        with pytest.raises(OAuthError):
            read_form(FORM_TYPE, body)


@pytest.mark.parametrize("form", [{}, {"code": ""}])
def test_missing_field_is_named(form: dict[str, str]) -> None:
    with pytest.raises(OAuthError) as refused:
        required({name: value for name, value in form.items() if value}, "code")
    assert "'code'" in refused.value.detail
