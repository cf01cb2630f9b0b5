from collections.abc import Iterator

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.needed_elements import is_needed_element
from fhir_profiles.schema import TypeSpec, type_spec


def needed_on_the_way(spec: TypeSpec, path: str) -> Iterator[tuple[str, str, bool]]:
    """(path, name, whether it is needed) of each element that is a reference or holds one."""
    required = {name for _, alternatives in spec.required for name in alternatives}
    for name, field in spec.fields.items():
        if field.type_name == "Reference":
            yield path, name, name in required
        elif field.type_name.startswith(f"{spec.name}."):
            inner = type_spec(field.type_name)
            assert inner is not None
            below = list(needed_on_the_way(inner, f"{path}.{name}"))
            if below:
                yield path, name, name in required
            yield from below


@pytest.mark.parametrize("resource_type", sorted(CATALOGUE))
def test_what_is_needed_is_what_the_definitions_require(resource_type: str) -> None:
    spec = type_spec(resource_type)
    assert spec is not None
    for path, name, is_required in needed_on_the_way(spec, resource_type):
        assert is_needed_element(path, name) == is_required, f"{path}.{name}"


@pytest.mark.parametrize("resource_type", sorted(CATALOGUE))
def test_every_mandatory_reference_of_the_catalogue_is_needed(resource_type: str) -> None:
    for place in CATALOGUE[resource_type].mandatory_references:
        parent, _, name = f"{resource_type}.{place}".rpartition(".")
        assert is_needed_element(parent, name)


def test_nested_provisions_follow_the_rules_of_the_outer() -> None:
    assert is_needed_element("Consent.provision.provision.provision.actor", "reference")
