"""One walk over a resource along its R4 definition, gathering what is wrong (STANDARDS section 1).

Checks names, cardinality, types, choices, required codes, references, extensions, contained resources.
"""

import re
from typing import Any, cast

import msgspec

from fhir_profiles.issues import Issue
from fhir_profiles.primitives import Check
from fhir_profiles.schema import Field, TypeSpec, known_types, type_spec
from fhir_profiles.xhtml import HARMLESS_RULES

# A bomb of faults is answered by its first few.
ISSUES_MAX = 50
ATTACHMENT_SCHEMES = frozenset({"http", "https", "urn"})

Path = tuple[Any, ...] | None
"""Where we stand, as (path of the parent, name or index); None at the top. Written out only for a fault."""

Object = dict[str, Any]

_REFERENCE = re.compile(
    r"(?P<local>#[A-Za-z0-9\-.]{0,64})\Z"
    r"|(?:https?://[^\s?#]+/)?(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?\Z"
    r"|(?P<conditional>[A-Z][A-Za-z]+)\?\S+\Z"
    r"|[A-Za-z][A-Za-z0-9+.\-]*:\S+\Z"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_COMMON_ELEMENTS = frozenset(
    {"id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"}
)


class Walk:
    """The state of one walk. `issues` are the errors found, `warnings` what can be held all the same.

    `has_raw_numbers` tells that a fractional number was met; `stand_ins` are required choices present only as
    `_name`, as (path of the object, name).
    """

    __slots__ = ("_contained", "has_raw_numbers", "issues", "stand_ins", "warnings")

    def __init__(self) -> None:
        self.issues: list[Issue] = []
        self.warnings: list[Issue] = []
        self.has_raw_numbers = False
        self.stand_ins: list[tuple[Path, str]] = []
        self._contained: dict[str, str] = {}

    def resource(self, resource: Object, path: Path) -> None:
        """Walks a resource, the outermost one or a contained one."""
        name = resource.get("resourceType")
        spec = type_spec(name) if isinstance(name, str) else None
        if spec is not None and "resourceType" in resource and "." not in spec.name:
            if path is None:
                self._note_contained(resource)
            self._object(resource, spec, path)
        elif name in known_types():
            self._unlisted_resource(resource, path)
        else:
            rule = "contained-type" if path else "resource-type"
            self.add((path, "resourceType"), "structure", rule, "This is not a FHIR R4 resource type.")

    def element(self, value: Any, type_name: str, path: Path) -> None:
        """Walks an element that stands alone, such as one entry of a Bundle."""
        spec = type_spec(type_name)
        assert spec is not None
        self._object(value, spec, path)

    def add(self, path: Path, code: str, rule: str, detail: str) -> None:
        if len(self.issues) < ISSUES_MAX:
            self.issues.append(Issue(code=code, rule=rule, pointer=pointer_of(path), detail=detail))

    def _warn(self, path: Path, rule: str, detail: str) -> None:
        if len(self.warnings) < ISSUES_MAX:
            issue = Issue(
                severity="warning", code="value", rule=rule, pointer=pointer_of(path), detail=detail
            )
            self.warnings.append(issue)

    def _object(self, value: Any, spec: TypeSpec, path: Path) -> None:
        if type(value) is not dict:
            self.add(path, "structure", "not-an-object", "This must be a JSON object.")
            return
        fields, chosen = spec.fields, None
        members = cast("Object", value)
        for name, item in members.items():
            field = fields.get(name)
            if field is None:
                self._other_member(name, members, spec, path)
                continue
            if field.group:
                chosen = self._choose(chosen, field, path)
            self._member(item, field, members, path)
        if not members:
            self.add(path, "structure", "empty", "This object is empty; leave it out instead.")
        if spec.required:
            self._required(members, spec, path)
        if (after := _AFTER.get(spec.name)) is not None:
            after(self, members, path)

    def _member(self, item: Any, field: Field, members: Object, path: Path) -> None:
        if field.many:
            self._array(item, field, members, (path, field.name))
        elif field.check is None:
            self._complex(item, field, (path, field.name))
        else:
            self._primitive(item, field, field.check, (path, field.name))

    def _array(self, items: Any, field: Field, members: Object, path: Path) -> None:
        if type(items) is not list:
            self.add(path, "structure", "not-an-array", "This must be a JSON array.")
            return
        listed = cast("list[Any]", items)
        if not listed:
            self.add(path, "structure", "empty", "This array is empty; leave it out instead.")
        for index, item in enumerate(listed):
            if field.check is None:
                self._complex(item, field, (path, index))
            elif item is not None or not _has_companion(members.get(f"_{field.name}"), index):
                self._primitive(item, field, field.check, (path, index))

    def _primitive(self, item: Any, field: Field, check: Check, path: Path) -> None:
        if (fault := check(item)) is not None:
            self._primitive_fault(item, fault, path)
        elif field.codes is not None and item not in field.codes:
            self.add(path, "code-invalid", "required-code", "This code is not one FHIR allows here.")
        elif type(item) is msgspec.Raw:
            self.has_raw_numbers = True

    def _complex(self, item: Any, field: Field, path: Path) -> None:
        name = field.type_name
        if name == "Resource":
            self._inner_resource(item, path)
            return
        spec = type_spec(name)
        if spec is None:
            self._unknown_shape(item, path)
            return
        self._object(item, spec, path)
        if type(item) is not dict:
            return
        if name == "Reference":
            self._reference(cast("Object", item), field, path)
        elif field.concepts is not None:
            self._required_concept(cast("Object", item), field.concepts, path)

    def _primitive_fault(self, item: Any, fault: tuple[str, str], path: Path) -> None:
        rule, detail = fault
        if item is None:
            rule, detail = "null", "A property is null; leave it out instead."
        elif type(item) is list:
            rule, detail = "unexpected-array", "This must be one value, not an array."
        if rule in HARMLESS_RULES:
            self._warn(path, rule, detail)
            return
        self.add(path, "too-long" if rule.endswith("too-long") else "value", rule, detail)

    def _choose(self, chosen: dict[str, str] | None, field: Field, path: Path) -> dict[str, str]:
        """Remembers which type of a choice is there, and objects to a second one."""
        chosen = {} if chosen is None else chosen
        first = chosen.setdefault(field.group, field.name)
        if first != field.name:
            detail = f"Only one kind of {field.group}[x] may be given."
            self.add((path, field.name), "structure", "one-choice", detail)
        return chosen

    def _other_member(self, name: str, members: Object, spec: TypeSpec, path: Path) -> None:
        if name == "resourceType" and "." not in spec.name and spec.name == members[name]:
            return
        base = spec.fields.get(name[1:]) if name[:1] == "_" else None
        if base is None or base.check is None:
            self.add((path, name), "structure", "unknown-property", "FHIR knows no such property here.")
            return
        item = members[name]
        if not base.many:
            self._element_extension(item, (path, name))
        elif type(item) is not list or not item:
            self.add(
                (path, name), "structure", "not-an-array", "This must be a JSON array that is not empty."
            )
        else:
            for index, each in enumerate(cast("list[Any]", item)):
                if each is not None:
                    self._element_extension(each, ((path, name), index))
        if base.group and (rival := _rival(base, members, spec)):
            detail = f"Only one kind of {base.group}[x] may be given, and {rival} is there too."
            self.add((path, name), "structure", "one-choice", detail)

    def _element_extension(self, item: Any, path: Path) -> None:
        if type(item) is dict:
            self.element(cast("Object", item), "Element", path)
        else:
            self.add(
                path, "structure", "not-an-object", "This must be a JSON object with extensions or an id."
            )

    def _required(self, members: Object, spec: TypeSpec, path: Path) -> None:
        for name, alternatives in spec.required:
            for each in alternatives:
                if each in members:
                    break
                if f"_{each}" in members:
                    if len(alternatives) > 1:
                        self.stand_ins.append((path, each))
                    break
            else:
                self.add((path, alternatives[0]), "required", "required", f"{name} is required here.")

    def _required_concept(self, concept: Object, allowed: frozenset[tuple[str, str]], path: Path) -> None:
        codings = concept.get("coding")
        if type(codings) is not list:
            if "extension" not in concept:
                detail = "A code is required here; text alone is not enough."
                self.add(path, "code-invalid", "required-code", detail)
            return
        for coding in cast("list[Any]", codings):
            if type(coding) is dict and _system_and_code(cast("Object", coding)) in allowed:
                return
        self.add(path, "code-invalid", "required-code", "None of these codes is one FHIR allows here.")

    def _reference(self, reference: Object, field: Field, path: Path) -> None:
        literal = reference.get("reference")
        if type(literal) is not str:
            return
        found = _REFERENCE.match(literal)
        if found is None:
            detail = "This is not a reference: it must be Type/id, a URL, urn:uuid: or #contained."
            self.add((path, "reference"), "value", "reference-form", detail)
            return
        target = found["type"] or found["conditional"]
        if found["local"] and len(literal) > 1:
            target = self._contained.get(literal[1:])
            if target is None:
                detail = "This names a contained resource that is not there."
                self.add((path, "reference"), "invariant", "ref-1", detail)
        if target and target in known_types() and field.targets and target not in field.targets:
            detail = "This must not refer to a resource of that type."
            self.add((path, "reference"), "value", "reference-type", detail)

    def _note_contained(self, resource: Object) -> None:
        contained = resource.get("contained")
        for index, each in enumerate(cast("list[Any]", contained) if type(contained) is list else ()):
            inner: Object = cast("Object", each) if type(each) is dict else {}
            if type(inner.get("id")) is str:
                if inner["id"] in self._contained:
                    detail = "Another contained resource has this id."
                    path = (((None, "contained"), index), "id")
                    self.add(path, "invariant", "contained-id-twice", detail)
                self._contained[inner["id"]] = str(inner.get("resourceType", ""))

    def _inner_resource(self, item: Any, path: Path) -> None:
        if type(item) is not dict:
            self.add(path, "structure", "not-an-object", "This must be a JSON object.")
            return
        inner = cast("Object", item)
        if "contained" in inner:
            self.add(path, "invariant", "dom-2", "A contained resource must not contain another.")
        if "id" not in inner:
            self.add((path, "id"), "required", "contained-id", "A contained resource needs an id.")
        self.resource(inner, path)

    def _unlisted_resource(self, resource: Object, path: Path) -> None:
        """A resource whose definition we do not hold: what all resources share is checked as ever."""
        common = type_spec("Basic")
        assert common is not None
        for name, item in resource.items():
            if name in _COMMON_ELEMENTS:
                self._member(item, common.fields[name], resource, path)
            else:
                self._unknown_shape(item, (path, name))

    def _unknown_shape(self, value: Any, path: Path) -> None:
        """What holds for any FHIR JSON, for types whose definition we do not hold."""
        if value is None or value in ("", [], {}):
            self.add(path, "structure", "empty", "This is null or empty; leave it out instead.")
        elif type(value) is dict:
            for name, item in cast("Object", value).items():
                self._unknown_shape(item, (path, name))
        elif type(value) is list:
            for index, item in enumerate(cast("list[Any]", value)):
                if item is not None:
                    self._unknown_shape(item, (path, index))
        elif type(value) is msgspec.Raw:
            self.has_raw_numbers = True


def pointer_of(path: Path) -> str:
    """The JSON pointer of a path."""
    steps: list[str] = []
    while path is not None:
        path, name = path
        steps.append(str(name)[:64].replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{step}" for step in reversed(steps))


def _has_companion(companions: Any, index: int) -> bool:
    if type(companions) is not list:
        return False
    listed = cast("list[Any]", companions)
    return index < len(listed) and type(listed[index]) is dict


def _system_and_code(coding: Object) -> tuple[Any, Any]:
    system, code = coding.get("system"), coding.get("code")
    return (system if type(system) is str else None), (code if type(code) is str else None)


def _rival(base: Field, members: Object, spec: TypeSpec) -> str | None:
    """Another type of the same choice that is there as well."""
    for name in members:
        field = spec.fields.get(name.removeprefix("_"))
        if field is not None and field.group == base.group and field.name != base.name:
            return field.name
    return None


def _after_extension(walk: Walk, extension: Object, path: Path) -> None:
    has_value = any(name.startswith(("value", "_value")) for name in extension)
    if has_value == ("extension" in extension):
        walk.add(path, "invariant", "ext-1", "An extension must have either a value or extensions, not both.")


def _after_attachment(walk: Walk, attachment: Object, path: Path) -> None:
    url = attachment.get("url")
    scheme = _SCHEME.match(url) if type(url) is str else None
    if scheme and scheme[1].lower() not in ATTACHMENT_SCHEMES:
        walk.add(
            (path, "url"), "value", "attachment-scheme", "An attachment's link may be http, https or urn."
        )


_AFTER = {"Extension": _after_extension, "Attachment": _after_attachment}
