"""The reference pages say what the code says: every setting, command, error, call, type and verdict."""

import argparse
import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from fhir_profiles.catalogue import CATALOGUE
from fhir_profiles.heads import CATEGORIES, SENSITIVE_CLASSES
from fhir_profiles.slices import Slice
from server import errors, settings
from server.audit.entry import Kind
from server.cli import COMMANDS
from server.http import front_door, outcomes, places, receiving, strict_json
from server.http.access import Access
from server.identity.providers import ProviderEntry
from server.intake import service as intake
from server.intake.prepare import ONLY_OURS
from server.intake.wire import Counts, Verdict
from server.settings import read_settings
from server.sharing import rules
from server.sharing.wire import NewGrant
from tests.api.matrix import routes_of
from tests.docs.pages import ROOT, named_in, rows
from tests.held_app import served_held
from tests.world import EVERYONE

REFERENCE = ROOT / "docs/reference"
DEVELOPMENT = {"HELD_MODE": "development"}
# The framework's own refusals and the one for a fault of ours have a code and no class.
CODES_WITHOUT_A_CLASS = {"method-not-allowed"}


def test_every_setting_is_on_the_page_and_no_other() -> None:
    asked_for = set(re.findall(r'"(HELD_[A-Z_]+)"', inspect.getsource(settings)))
    listed = {
        name
        for row in rows(REFERENCE / "settings.md")
        for name in named_in(row[0])
        if name.startswith("HELD_")
    }
    for_tests = {"HELD_SHARED_DATA", "HELD_FAULTS", "HELD_GATE_EXTRACTS"}
    assert listed - for_tests == asked_for


def test_nothing_but_the_settings_reads_the_environment() -> None:
    for path in (ROOT / "server").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            if "environ[" in line or "getenv" in line:
                raise AssertionError(f"{path.name} reads the environment: {line}")


def test_the_defaults_of_settings_are_those_on_the_page() -> None:
    listed = {named_in(row[0])[0]: row[1] for row in rows(REFERENCE / "settings.md") if named_in(row[0])[:1]}
    defaults = read_settings(DEVELOPMENT)
    assert named_in(listed["HELD_HOST"]) == [defaults.host]
    assert named_in(listed["HELD_PORT"]) == [str(defaults.port)]
    assert named_in(listed["HELD_WORKERS"]) == [str(defaults.workers)]
    assert named_in(listed["HELD_DATA_DIR"]) == [defaults.data_folder.name]
    assert named_in(listed["HELD_CLOCK_OFFSET_SECONDS"]) == [str(int(defaults.clock_offset.total_seconds()))]
    assert defaults.base_url == f"{named_in(listed['HELD_BASE_URL'])[0]}{defaults.port}"
    for name, path in (
        ("HELD_KEY_FILE", defaults.key_file),
        ("HELD_TOKEN_KEY_FILE", defaults.token_key_file),
        ("HELD_LOG_KEY_FILE", defaults.log_key_file),
    ):
        assert named_in(listed[name]) == [str(path.relative_to(defaults.data_folder))]
    assert defaults.migrate_url is None
    assert defaults.providers_file is None
    assert named_in(listed["HELD_DATABASE_URL"]) == ["sqlite:///", Path(defaults.database_url).name]
    with pytest.raises(settings.SettingsRefused) as refused:
        read_settings({})
    assert len(refused.value.problems) == 3


def test_every_field_of_the_providers_file_is_on_the_page() -> None:
    listed = {name for row in rows(REFERENCE / "settings.md") for name in named_in(row[0])}
    assert set(ProviderEntry.__struct_fields__) <= listed


def test_every_command_and_option_is_on_the_page_and_no_other() -> None:
    text = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    listed = {
        named.split()[1]
        for row in rows(REFERENCE / "commands.md")
        for named in named_in(row[0])
        if named.startswith("held ")
    }
    assert listed == set(COMMANDS)
    for name, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=name)
        import_module(module).add_arguments(parser)
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, f"{name} has no section"
        options = {option for option in _options(parser) if option not in {"-h", "--help"}}
        assert set(re.findall(r"(?<!-)--[a-z-]*[a-z]", section)) == options


def test_every_error_code_is_on_the_page_with_its_status() -> None:
    listed = {
        named_in(row[0])[0]: row[1]
        for row in rows(REFERENCE / "errors.md")
        if named_in(row[0]) and re.match(r"\d{3}", row[1])
    }
    classes = {refusal.code: refusal for refusal in reversed(list(_refusals()))}
    assert listed.keys() == classes.keys() | CODES_WITHOUT_A_CLASS
    for code, refusal in classes.items():
        kind = next(kind for kind in refusal.__mro__ if kind in outcomes.STATUS)
        assert str(outcomes.STATUS[kind]) in listed[code]


def test_every_oauth_error_is_on_the_page() -> None:
    listed = {name for row in rows(REFERENCE / "errors.md") for name in named_in(row[0])}
    assert _oauth_errors() <= listed


def test_the_tree_of_errors_names_every_class_and_code() -> None:
    tree = errors.__doc__ or ""
    for refusal in _refusals():
        assert refusal.__name__ in tree
        assert refusal.code in tree or refusal in {errors.HeldError, errors.OAuthError}


async def test_every_call_is_on_the_page_with_who_may_make_it_and_no_other(tmp_path: Path) -> None:
    async with served_held(tmp_path, EVERYONE) as held:
        made = {
            (route.method, route.path, route.access.value)
            for route in routes_of(held.app.application)
            if route.method != "OPTIONS"
        }
    listed = {
        (*named_in(row[0])[0].split(" ", 1), named_in(row[1])[0])
        for row in rows(REFERENCE / "api.md")
        if named_in(row[0]) and re.match(r"(GET|HEAD|POST|PUT|PATCH|DELETE) /", named_in(row[0])[0])
    }
    assert listed == made


async def test_the_capability_statement_states_no_operation_that_is_not_there(tmp_path: Path) -> None:
    async with served_held(tmp_path, EVERYONE) as held:
        paths = {route.path for route in routes_of(held.app.application)}
        stated = (await held.http.get("/fhir/metadata")).json()["rest"][0]["resource"]
    operations = {(one["type"], each["name"]) for one in stated for each in one.get("operation", [])}
    assert operations
    for _, name in operations:
        assert f"/fhir/{{resource_type}}/{{logical_id}}/${name}" in paths


def test_every_kind_of_log_entry_and_field_is_on_the_page() -> None:
    text = (REFERENCE / "access-log.md").read_text(encoding="utf-8")
    listed = re.search(r"`kind` is one of `([a-z\s-]+)`", text)
    assert listed is not None
    assert set(listed[1].split()) == set(get_args(Kind))


def test_every_access_class_is_on_the_page() -> None:
    text = (REFERENCE / "api.md").read_text(encoding="utf-8")
    for access in Access:
        assert f"`{access.value}`" in text


def test_every_field_of_a_grant_is_on_the_page() -> None:
    text = (REFERENCE / "api.md").read_text(encoding="utf-8")
    for field in (*NewGrant.__struct_encode_fields__, *Slice.__struct_encode_fields__):
        assert f"`{field}`" in text
    for name in (*CATEGORIES, *SENSITIVE_CLASSES, *rules.PURPOSES):
        assert name in text


def test_every_type_category_and_search_parameter_is_on_the_page() -> None:
    listed = {
        named_in(row[0])[0]: row for row in rows(REFERENCE / "fhir.md") if named_in(row[0]) and len(row) == 4
    }
    for name, entry in CATALOGUE.items():
        _, kind, category, parameters = listed[name]
        assert kind == entry.kind
        assert category == (entry.category or "-")
        assert named_in(parameters) == [" ".join(entry.search)]
    assert set(listed) == set(CATALOGUE)


def test_every_verdict_count_and_rule_of_an_extract_is_on_the_page() -> None:
    text = (REFERENCE / "extracts.md").read_text(encoding="utf-8")
    for verdict in get_args(Verdict):
        assert f"| `{verdict}` |" in text
    for name in Counts.__struct_fields__:
        assert f'"{name}"' in text
    prepared = (ROOT / "server/intake/prepare.py").read_text(encoding="utf-8")
    closed = set(re.findall(r'_closed\(entry, "[a-z-]+", "([a-z-]+)"', prepared))
    faults = set(re.findall(r'_fault\("([a-z-]+)"', prepared)) - {"resource-type"}
    for rule in closed | faults:
        assert f"`{rule}`" in text
    assert " ".join(sorted(ONLY_OURS)) == "AuditEvent Communication Consent Task"


def test_the_limits_on_the_pages_are_those_of_the_code() -> None:
    errors_page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    extracts_page = (REFERENCE / "extracts.md").read_text(encoding="utf-8")
    assert f"| header block | {front_door.HEADER_BYTES_MAX // 1024} kB |" in errors_page
    assert f"| JSON body, but for extracts | {strict_json.BODY_BYTES_MAX // 1024} kB |" in errors_page
    assert f"{places.PER_TOKEN_MAX} requests with one token" in errors_page
    assert f"{places.PER_INTEGRATOR_MAX} of one integrator" in errors_page
    assert f"{places.PER_PROCESS_MAX} in one process" in errors_page
    assert f"| sending a body | {receiving.BODY_SECONDS_MAX} seconds" in errors_page
    assert f"{front_door.REQUEST_SECONDS_MAX} seconds" in errors_page
    assert f"at most {intake.BODY_BYTES_MAX // 1024**2} MB" in extracts_page
    assert f"{intake.EXTRACTS_PER_ORGANISATION} extracts of one organisation" in extracts_page
    assert f"{intake.UPLOADS_MAX} uploads in all" in extracts_page


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from _options(inner)
        yield from action.option_strings


def _refusals() -> Iterator[type[errors.HeldError]]:
    waiting = [errors.HeldError]
    while waiting:
        found = waiting.pop()
        if found.__module__ == errors.__name__:
            yield found
            waiting += found.__subclasses__()


def _oauth_errors() -> set[str]:
    """The first argument of every OAuthError made, and the words for a proof that does not fit."""
    found = {"use_dpop_nonce", "invalid_dpop_proof", *outcomes.OAUTH_CODE.values()}
    for path in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="OAuthError"), args=[ast.Constant(value=str(error)), *_]):
                    found.add(error)
                case _:
                    continue
    return found
