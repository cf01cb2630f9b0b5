"""Walls 2 and 3 in the imports: one writer of items, one way to their bodies, one answer to "who may"."""

import ast

from tests.architecture.modules import Module, imports, modules, names_used

ITEM_TABLES = {"ItemRow", "ItemVersionRow", "HiddenItemRow", "StagedItemRow"}
FEED = ("server.storage.feed", "server.storage.hot", "server.storage.tables", "server.storage.migrations")
# Whoever makes items or Views; sharing keeps the grant's own Consent in the feed.
MAY_KNOW_THE_FEED = (
    "server.storage",
    "server.records",
    "server.intake",
    "server.corrections",
    "server.sharing.changes",
)
READS_BODIES = {"bodies", "body", "version_body"}
MAY_READ_BODIES = (
    "server.storage",
    "server.records.service",
    "server.records.pulling",
    "server.records.own_items",
    "server.intake",
    "server.sharing.changes",
)
MAY_OPEN_A_VIEW = ("server.records",)
MAY_BE_ASKED_WHO = (
    "server.sharing",
    "server.fhir_api",
    "server.devices_sync.routes",
    "server.corrections.routes",
    "server.intake.routes",
    "server.audit.routes",
    "server.app",
)
# SQLite's clock is the machine's. Elsewhere the machine's dates nothing but what is made up, and a nonce
# before the database was first asked.
MAY_READ_THE_CLOCK = (
    "server.commands",
    "server.development",
    "server.identity.development",
    "server.identity.clock",
    "server.storage.sqlite",
)
LOG_TABLES = {"LogEntryRow", "LogHeadRow"}


def test_only_the_feed_writes_items() -> None:
    for module in modules():
        if ITEM_TABLES & names_used(module):
            assert module.name.startswith(FEED), module.name


def test_only_the_log_s_own_store_knows_its_tables() -> None:
    for module in modules():
        if LOG_TABLES & names_used(module):
            assert module.name.startswith(("server.audit", "server.storage")), module.name


def test_only_those_who_make_items_or_views_know_the_feed() -> None:
    for module in modules():
        if imports(module, "server.storage.feed"):
            assert module.name.startswith(MAY_KNOW_THE_FEED), module.name


def test_bodies_leave_storage_by_one_door() -> None:
    for module in modules():
        if not module.name.startswith(MAY_READ_BODIES):
            assert not _calls_of(module, "feed") & READS_BODIES, module.name


def test_views_are_decided_in_one_place() -> None:
    for module in modules():
        if imports(module, "fhir_profiles.closure") and module.name.startswith("server."):
            assert module.name.startswith(MAY_OPEN_A_VIEW), module.name
        if "View" in _called_names(module):
            assert module.name == "server.records.service", module.name


def test_every_disclosure_is_logged_where_it_is_read() -> None:
    """`disclose` ends with the log: nothing that reads bodies for a View answers before it."""
    service = next(module for module in modules() if module.name == "server.records.service")
    disclose = next(
        node
        for node in ast.walk(service.tree)
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "disclose"
    )
    awaits = sorted((node.lineno, node) for node in ast.walk(disclose) if isinstance(node, ast.Await))
    awaited = [ast.unparse(node.value) for _, node in awaits]
    assert [call for call in awaited if call.startswith("self._log(")] == awaited[-1:]
    assert isinstance(disclose.body[-1], ast.Return)


def test_what_a_phone_pulls_is_logged_where_it_is_read() -> None:
    """`pull` ends with the log, which asks once more whether the phone may have it."""
    pulling = next(module for module in modules() if module.name == "server.records.pulling")
    functions = {node.name: node for node in ast.walk(pulling.tree) if isinstance(node, ast.AsyncFunctionDef)}
    awaits = sorted(
        (node.lineno, ast.unparse(node.value))
        for node in ast.walk(functions["pull"])
        if isinstance(node, ast.Await)
    )
    assert [call for _, call in awaits][-1].startswith("_log(")
    assert isinstance(functions["pull"].body[-1], ast.Return)
    assert "visitor.judge" in ast.unparse(functions["_log"])


def test_who_may_is_asked_of_sharing_alone() -> None:
    for module in modules():
        if imports(module, "server.sharing.authorise"):
            assert module.name.startswith(MAY_BE_ASKED_WHO), module.name


def test_an_authority_is_made_by_authorise_alone() -> None:
    for module in modules():
        if "Authority" in _called_names(module):
            assert module.name == "server.sharing.authorise", module.name


def test_time_is_the_database_s() -> None:
    for module in modules():
        if module.name.startswith("server.") and not module.name.startswith(MAY_READ_THE_CLOCK):
            assert not {"utcnow"} & names_used(module), module.name
            assert "datetime.now" not in _dotted_calls(module), module.name


def test_only_one_module_knows_statuses() -> None:
    for module in modules():
        if module.name.startswith("server.") and "status_code" in names_used(module):
            continue
        if module.name not in {"server.http.outcomes", "server.http.front_door"}:
            assert "HTTPException" not in _called_names(module), module.name


def _called_names(module: Module) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _calls_of(module: Module, owner: str) -> set[str]:
    return {
        node.func.attr
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == owner
    }


def _dotted_calls(module: Module) -> set[str]:
    return {
        ast.unparse(node.func)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
