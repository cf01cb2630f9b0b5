import pytest

from fhir_profiles.identifiers import NHS_NUMBER_SYSTEM, is_nhs_number, nhs_numbers_in


@pytest.mark.parametrize("text", ["9990000018", "9449304130", "4010232137", "9990548609"])
def test_numbers_with_the_right_check_digit_are_nhs_numbers(text: str) -> None:
    assert is_nhs_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "9990000019",
        "999000001",
        "99900000180",
        "",
        "0000000000",
        "1111111111",
        "999 000 0018",
        "999000001a",
        "٩٩٩٠٠٠٠٠١٨",
        "9990000018\n",
        "9990000060",
    ],
)
def test_others_are_not(text: str) -> None:
    assert not is_nhs_number(text)


def test_a_check_digit_of_ten_never_fits() -> None:
    assert not any(is_nhs_number(f"999000000{digit}") for digit in range(10))


def test_only_identifiers_of_the_system_are_nhs_numbers() -> None:
    resource = {
        "identifier": [
            {"system": NHS_NUMBER_SYSTEM, "value": "999 000 0018"},
            {"system": "https://e.org", "value": "9990000026"},
            {"system": NHS_NUMBER_SYSTEM},
            {"system": NHS_NUMBER_SYSTEM, "value": 5},
            "x",
        ]
    }
    assert nhs_numbers_in(resource) == ["9990000018"]
    assert nhs_numbers_in({}) == []
    assert nhs_numbers_in({"identifier": {"system": NHS_NUMBER_SYSTEM, "value": "9990000018"}}) == [
        "9990000018"
    ]
