"""JSON values that keep every digit as it was sent: 1.00 stays 1.00, and is another value than 1.0."""

from typing import Any, TypeGuard

import msgspec

JsonObject = dict[str, Any]


def _as_sent(digits: str) -> msgspec.Raw:
    return msgspec.Raw(digits.encode())


_DECODER = msgspec.json.Decoder(float_hook=_as_sent)


def read_json(raw: bytes) -> Any:
    """The value in these bytes, numbers with a point or an exponent as raw digits; msgspec.DecodeError."""
    return _DECODER.decode(raw)


def write_json(value: Any) -> bytes:
    """The value as bytes, members in the order they have."""
    return msgspec.json.encode(value)


def in_one_form(value: Any) -> bytes:
    """The same bytes for the same value, whatever order its members came in."""
    return msgspec.json.encode(value, order="deterministic")


def is_object(value: object) -> TypeGuard[JsonObject]:
    """True for a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """True for a JSON array."""
    return isinstance(value, list)


def apply_patch(target: Any, patch: Any) -> Any:
    """The target as patched: members go whole, null takes one away (RFC 7396). The target is left as it is.

    https://www.rfc-editor.org/rfc/rfc7396
    """
    if not is_object(patch):
        return patch
    patched: JsonObject = dict(target) if is_object(target) else {}
    for name, value in patch.items():
        if value is None:
            patched.pop(name, None)
        else:
            patched[name] = apply_patch(patched.get(name), value)
    return patched


def make_patch(before: Any, after: Any) -> Any:
    """The patch that makes `after` of `before`, such that `apply_patch(before, make_patch(...))` is `after`.

    Null members cannot be patched in; FHIR has none.
    """
    if not is_object(before) or not is_object(after):
        return after
    patch: JsonObject = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            patch[name] = value
        elif in_one_form(before[name]) != in_one_form(value):
            patch[name] = make_patch(before[name], value)
    return patch
