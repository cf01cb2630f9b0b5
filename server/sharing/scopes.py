"""SMART scopes on a recipient's token: they narrow what the grant opens and never widen it. Pure.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

import re

import msgspec

EVERY_TYPE = "patient/*.rs"
SCOPE_CHARACTERS_MAX = 2_000

_SCOPE = re.compile(r"patient/(\*|[A-Z][A-Za-z]{1,63})\.(read|write|\*|c?r?u?d?s?)", re.ASCII)
# Clients ask for these by habit. They ask for nothing of a record, so that not giving them narrows nothing.
_NOT_GIVEN = frozenset(
    {"openid", "fhirUser", "profile", "launch", "launch/patient", "offline_access", "online_access"}
)
_READ_AND_SEARCH = frozenset("rs")


class ScopeRefused(msgspec.Struct, frozen=True):
    """Why a scope cannot be given."""

    reason: str


def effective_scope(asked: str | None) -> str | ScopeRefused:
    """The scope a token gets: reading and searching the types that were asked for, or every type.

    A type is opened for both or not at all, so that asking for one of them alone is refused, not widened.
    """
    if asked is not None and len(asked) > SCOPE_CHARACTERS_MAX:
        return ScopeRefused("The scope is too long.")
    scopes = [scope for scope in (asked or "").split() if scope not in _NOT_GIVEN]
    if not scopes:
        return EVERY_TYPE
    types: set[str] = set()
    for scope in scopes:
        matched = _SCOPE.fullmatch(scope)
        if matched is None:
            return ScopeRefused("We give scopes such as patient/*.rs or patient/Observation.rs here.")
        if not _letters(matched[2]) >= _READ_AND_SEARCH:
            return ScopeRefused("A grant opens reading and searching together: ask for .rs.")
        types.add(matched[1])
    return EVERY_TYPE if "*" in types else " ".join(f"patient/{name}.rs" for name in sorted(types))


def _letters(permissions: str) -> frozenset[str]:
    """The SMART v2 letters of a scope's ending; v1 said `read`, `write` and `*`."""
    return frozenset({"read": "rs", "write": "cud", "*": "cruds"}.get(permissions, permissions))


def types_of(scope: str) -> frozenset[str] | None:
    """The resource types a token's scope leaves; None leaves every type. An unreadable scope leaves none."""
    names = [matched[1] if (matched := _SCOPE.fullmatch(part)) else "" for part in scope.split()]
    return None if "*" in names else frozenset(name for name in names if name)
