"""SMART scopes narrow a grant and never widen it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sharing.scopes import EVERY_TYPE, ScopeRefused, effective_scope, types_of


@pytest.mark.parametrize(
    ("asked", "given_scope"),
    [
        (None, "patient/*.rs"),
        ("", "patient/*.rs"),
        ("patient/*.rs", "patient/*.rs"),
        ("patient/*.read", "patient/*.rs"),
        ("patient/*.*", "patient/*.rs"),
        ("patient/*.cruds", "patient/*.rs"),
        ("openid fhirUser launch/patient", "patient/*.rs"),
        ("patient/Observation.rs", "patient/Observation.rs"),
        ("openid patient/Observation.cruds", "patient/Observation.rs"),
        ("patient/Observation.rs patient/Condition.rs", "patient/Condition.rs patient/Observation.rs"),
        ("patient/Observation.rs patient/*.rs", "patient/*.rs"),
    ],
)
def test_scopes_that_are_given(asked: str | None, given_scope: str) -> None:
    assert effective_scope(asked) == given_scope


@pytest.mark.parametrize(
    "asked",
    [
        "everything",
        "user/*.rs",
        "system/*.rs",
        "patient/*",
        "patient/*.",
        "patient/*.r",
        "patient/*.s",
        "patient/*.write",
        "patient/*.cud",
        "patient/*.sr",
        "patient/observation.rs",
        "patient/Observation.rs?category=laboratory",
        "patient/Observation.rs everything",
        "patient/Observati\u00f6n.rs",
        "patient/*.rs " + "x" * 2_000,
    ],
)
def test_scopes_that_cannot_be_given(asked: str) -> None:
    assert isinstance(effective_scope(asked), ScopeRefused)


@given(st.sets(st.sampled_from(["Observation", "Condition", "Patient", "List"]), min_size=1))
def test_a_token_reaches_the_types_it_was_asked_for_and_no_others(types: set[str]) -> None:
    scope = effective_scope(" ".join(f"patient/{name}.rs" for name in types))
    assert isinstance(scope, str)
    assert types_of(scope) == types


def test_a_token_without_a_scope_reaches_nothing() -> None:
    assert types_of("") == frozenset()
    assert types_of("profile") == frozenset()
    assert types_of(EVERY_TYPE) is None
