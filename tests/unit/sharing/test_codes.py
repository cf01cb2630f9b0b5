"""Offer codes: written one way, read however people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.sharing.codes import (
    ALPHABET,
    OfferCode,
    link_code,
    parse_code,
    spoken,
    typed_code,
    written,
)

TYPED = st.builds(typed_code, st.integers(0, (1 << 20) - 1), st.integers(0, (1 << 30) - 1))
GAPS = st.text(" -\u2010\u2013\u2014\u00a0\t", max_size=3)


def test_a_code_is_written_as_four_and_six() -> None:
    assert written(typed_code(0, 0)) == "0000-000000"
    assert written(typed_code((1 << 20) - 1, (1 << 30) - 1)) == "ZZZZ-ZZZZZZ"
    assert spoken(OfferCode("7K3M", "Q9TX2R", "typed")) == "7, K, 3, M, Q, 9, T, X, 2, R"


@pytest.mark.parametrize(
    "typed",
    [
        "7K3M-Q9TX2R",
        "7k3m-q9tx2r",
        "7K3MQ9TX2R",
        " 7K3M Q9TX2R ",
        "7K3M\u2013Q9TX2R",
        "7K3 MQ9 TX2R",
        "7\u00a0K3M-q9Tx2r",
    ],
)
def test_a_code_is_read_however_it_is_typed(typed: str) -> None:
    assert parse_code(typed) == OfferCode("7K3M", "Q9TX2R", "typed")


def test_letters_taken_for_digits_are_read_as_the_digits() -> None:
    assert parse_code("oO0I-iLl1oO") == OfferCode("0001", "111100"[0:6], "typed")


@given(TYPED, st.lists(GAPS, min_size=11, max_size=11), st.lists(st.booleans(), min_size=10, max_size=10))
def test_every_way_of_typing_a_code_is_the_same_code(
    code: OfferCode, gaps: list[str], lower: list[bool]
) -> None:
    characters = code.name + code.secret
    mistaken = [
        {"0": "O", "1": "L"}.get(character, character) if is_lower else character
        for character, is_lower in zip(characters, lower, strict=True)
    ]
    typed = gaps[0] + "".join(
        (character.lower() if is_lower else character) + gap
        for character, is_lower, gap in zip(mistaken, lower, gaps[1:], strict=True)
    )
    assert parse_code(typed) == code


@given(TYPED, st.binary(min_size=32, max_size=32))
def test_a_link_holds_the_name_and_its_own_secret(typed: OfferCode, secret: bytes) -> None:
    code = link_code(typed.name, secret)
    assert parse_code(written(code)) == code
    assert parse_code(f"https://held.example.org/redeem#{written(code)}") == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "7K3M-Q9TX2",
        "7K3M-Q9TX2RR",
        "7K3M-Q9TX2U",
        "7K3M-Q9TX2!",
        "7K3M.Q9TX2R",
        "7K3M-Q9TX2\u0660",
        "7K3M-Q9TX2\uff12",
        "7K3M." + "A" * 42,
        "7K3M." + "A" * 44,
        "7K3M." + "A" * 42 + "B",
        "7K3M." + "!" * 43,
        "7K3." + "A" * 43,
        "7" * 201,
    ],
)
def test_what_cannot_be_a_code_is_none(text: str) -> None:
    assert parse_code(text) is None


@given(st.text(max_size=60))
def test_any_text_is_read_as_a_well_formed_code_or_none(text: str) -> None:
    code = parse_code(text)
    if code is not None:
        assert len(code.name) == 4
        assert set(code.name) <= set(ALPHABET)
        assert parse_code(written(code)) == code
