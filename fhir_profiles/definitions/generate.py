"""Makes r4.json, the compact form of the official R4 definitions that validation walks along.

Run `python -m fhir_profiles.definitions.generate FOLDER [TARGET]` with a folder that holds
`structuredefinitions`, `valuesets` and `codesystems` of package hl7.fhir.r4.core 4.0.1. A test compares its
answer with the kept file.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Definition = dict[str, Any]

CANONICAL = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE = CANONICAL + "structuredefinition-fhir-type"
SYSTEM_TYPES = "http://hl7.org/fhirpath/System."
# These vocabularies are open lists kept elsewhere: a media type or a currency is not checked against them.
OPEN_VOCABULARIES = ("http://hl7.org/fhir/ValueSet/mimetypes", "http://hl7.org/fhir/ValueSet/currencies")
UNBOUNDED = "*"


def generate(folder: Path) -> dict[str, Any]:
    """The compact definitions: `codes` by value set, `types` with their elements, names of `resources`."""
    vocabulary = _Vocabulary(folder)
    types: dict[str, Any] = {}
    resources: list[str] = []
    for definition in _read(folder / "structuredefinitions"):
        is_abstract_resource = definition["kind"] == "resource" and definition["abstract"]
        if definition["kind"] == "primitive-type" or is_abstract_resource:
            continue
        if definition["kind"] == "resource":
            resources.append(definition["type"])
        for name, elements in _types_of(definition, vocabulary):
            types[name] = elements
    return {"codes": vocabulary.used, "resources": sorted(resources), "types": types}


class _Vocabulary:
    """The codes behind required bindings, remembered by the value set's short name once asked for."""

    def __init__(self, folder: Path) -> None:
        self.used: dict[str, dict[str, list[str]]] = {}
        self._value_sets = {each["url"]: each for each in _read(folder / "valuesets")}
        self._code_systems = {each["url"]: each for each in _read(folder / "codesystems")}

    def name_of(self, element: Definition) -> str | None:
        binding = element.get("binding", {})
        url = binding.get("valueSet", "").split("|")[0]
        if binding.get("strength") != "required" or url in OPEN_VOCABULARIES:
            return None
        name = url.rsplit("/", 1)[1]
        self.used[name] = {
            part["system"]: self._codes(part) for part in self._value_sets[url]["compose"]["include"]
        }
        return name

    def _codes(self, part: Definition) -> list[str]:
        concepts = part.get("concept") or self._code_systems[part["system"]]["concept"]
        return list(_flat(concepts))


def _flat(concepts: list[Definition]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _flat(concept.get("concept", []))


def _types_of(definition: Definition, vocabulary: _Vocabulary) -> Iterator[tuple[str, dict[str, Any]]]:
    """The type itself and each backbone element within it, which is named by its path."""
    elements: dict[str, dict[str, Any]] = {definition["type"]: {}}
    for element in definition["snapshot"]["element"][1:]:
        parent, name = element["path"].rsplit(".", 1)
        kinds = [_kind(kind) for kind in element.get("type", [])]
        if kinds in (["BackboneElement"], ["Element"]):
            kinds = [element["path"]]
            elements[element["path"]] = {}
        if "contentReference" in element:
            kinds = [element["contentReference"].lstrip("#")]
        elements[parent][name] = _compact(element, kinds, vocabulary)
    yield from elements.items()


def _compact(element: Definition, kinds: list[str], vocabulary: _Vocabulary) -> dict[str, Any]:
    compact: dict[str, Any] = {"kinds": kinds}
    if element["min"]:
        compact["min"] = element["min"]
    if element["max"] == UNBOUNDED:
        compact["many"] = True
    elif element["max"] != "1":
        compact["max"] = int(element["max"])
    if element.get("isSummary"):
        compact["summary"] = True
    targets = sorted(
        {_target(url) for kind in element.get("type", []) for url in kind.get("targetProfile", [])}
    )
    if targets and "Reference" in kinds and "Resource" not in targets:
        compact["targets"] = targets
    if codes := vocabulary.name_of(element):
        compact["codes"] = codes
    return compact


def _kind(kind: Definition) -> str:
    code: str = kind["code"]
    if not code.startswith(SYSTEM_TYPES):
        return code
    # Ids and Extension.url are declared as FHIRPath strings; what they are in FHIR stands in an extension.
    declared = [each["valueUrl"] for each in kind.get("extension", []) if each["url"] == FHIR_TYPE]
    return declared[0] if declared else "string"


def _target(url: str) -> str:
    return url.removeprefix(CANONICAL)


def _read(folder: Path) -> list[Definition]:
    return [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]


def as_text(compact: dict[str, Any]) -> str:
    """One line a type, so that a change of definitions reads well as a difference."""
    parts: list[str] = []
    for section, content in sorted(compact.items()):
        if isinstance(content, list):
            parts.append(f"{json.dumps(section)}: {json.dumps(content)}")
            continue
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(content.items())]
        parts.append(f"{json.dumps(section)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("r4.json")
    target.write_text(as_text(generate(Path(sys.argv[1]))), encoding="utf-8")
