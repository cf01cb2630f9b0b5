"""What may import what. The contracts of `.importlinter`, and what they cannot say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.modules import ROOT, Module, imported_by, imports, modules, names_used

FEATURES = ("identity", "sharing", "audit", "intake", "records")
# The log's head and entries are what the operator's check reads; a receipt is an outcome kept by the storage.
INSIDES = ("store", "tables")
RULES_MAY_IMPORT = (
    "datetime",
    "enum",
    "re",
    "typing",
    "uuid",
    "msgspec",
    "collections",
    "fhir_profiles",
    "server.sharing",
    "server.corrections.correction",
)
CLOCKS = ("time", "secrets", "random")
HTTP_ALONE = (
    "server.commands.demo",
    "server.commands.import_",
    "server.commands.held_client",
    "server.commands.extract_sender",
)

_ASYNC = (ast.AsyncFunctionDef, ast.Await)


def test_the_import_contracts_hold() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", HTTP_ALONE)
def test_a_command_that_speaks_http_loads_nothing_else_of_the_server(name: str) -> None:
    show = f"import sys, {name}; print(*sorted(each for each in sys.modules if each.startswith('server.')))"
    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert [
        each for each in loaded if each != "server.commands" and not each.startswith("server.commands.")
    ] == []


def test_a_feature_never_reaches_into_another_ones_store_or_tables() -> None:
    for module in modules():
        feature = _feature_of(module)
        for other in FEATURES:
            if feature == other or module.name.startswith(("server.storage.migrations", "server.commands")):
                continue
            for inside in INSIDES:
                assert not imports(module, f"server.{other}.{inside}"), f"{module.name} reaches into {other}"


def test_routes_never_query_and_stores_never_know_http() -> None:
    for module in modules():
        if module.path.name == "routes.py":
            assert not any(each.split(".")[-1] in INSIDES for each in imported_by(module)), module.name
        if module.path.name in {"store.py", "tables.py", "rules.py"}:
            assert not imports(module, "litestar"), module.name


def test_rules_do_nothing_but_decide() -> None:
    found = [module for module in modules() if module.path.name == "rules.py"]
    assert found
    for module in found:
        for name in imported_by(module):
            assert name.split(".")[0] in RULES_MAY_IMPORT or name.startswith(RULES_MAY_IMPORT), (
                f"{module.name}: {name}"
            )
        assert names_used(module).isdisjoint({"now_utc", "today", "open", "print"}), module.name
        assert not any(isinstance(node, _ASYNC) for node in _nodes(module)), module.name


@pytest.mark.parametrize("package", ["sync", "fhir_profiles"])
def test_a_pure_package_has_no_clock_no_chance_and_no_network(package: str) -> None:
    for module in modules():
        if module.name.split(".")[0] != package:
            continue
        for name in (*CLOCKS, "os", "socket", "asyncio", "httpx", "subprocess"):
            assert not imports(module, name), f"{module.name} imports {name}"
        assert {"utcnow", "today"}.isdisjoint(_called_attributes(module)), module.name


def test_nobody_imports_the_composition_but_those_who_run_it() -> None:
    for module in modules():
        if module.name != "server.app":
            assert not imports(module, "server.app"), module.name


def _feature_of(module: Module) -> str:
    parts = module.name.split(".")
    return parts[1] if parts[0] == "server" and len(parts) > 2 else ""


def _nodes(module: Module) -> list[ast.AST]:
    return list(ast.walk(module.tree))


def _called_attributes(module: Module) -> set[str]:
    return {
        node.func.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
