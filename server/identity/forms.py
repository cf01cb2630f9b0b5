"""Reads the forms that OAuth calls are made with: one value for each name, nothing else.

https://www.rfc-editor.org/rfc/rfc6749#section-3.2
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from server.errors import OAuthError

FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 64
FORM_TYPE = "application/x-www-form-urlencoded"


def read_form(content_type: str, body: bytes) -> Mapping[str, str]:
    """The fields of a form. Raises OAuthError for another type, a repeated field or an unreadable body."""
    if content_type.split(";", maxsplit=1)[0].strip().lower() != FORM_TYPE:
        raise OAuthError("invalid_request", f"Send {FORM_TYPE}.")
    if len(body) > FORM_BYTES_MAX:
        raise OAuthError("invalid_request", f"We take at most {FORM_BYTES_MAX} bytes here.")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=FIELDS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise OAuthError("invalid_request", "The form cannot be read.") from error
    return once_each(pairs)


def once_each(pairs: list[tuple[str, str]]) -> Mapping[str, str]:
    """The pairs as a mapping without empty values. Raises OAuthError when a name comes twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise OAuthError("invalid_request", "A parameter was sent more than once.")
    if any("\x00" in value for value in fields.values()):
        raise OAuthError("invalid_request", "A parameter holds a character we do not take.")
    return {name: value for name, value in fields.items() if value}


def required(form: Mapping[str, str], name: str) -> str:
    """A field that must be there. Raises OAuthError."""
    value = form.get(name)
    if value is None:
        raise OAuthError("invalid_request", f"The parameter '{name}' is missing.")
    return value
