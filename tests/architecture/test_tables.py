"""Wall 1 in the tables: the record's id comes first in every key, and nothing ties two records together."""

import importlib

import pytest
import sqlalchemy as sa

from server.storage.directory_tables import Directory
from server.storage.tables import RecordOwned, directory_tables, record_owned_tables
from tests.architecture.modules import imports, modules, names_used

for _name in ("audit", "corrections", "devices_sync", "intake", "notices", "sharing"):
    importlib.import_module(f"server.{_name}.tables")

# The directory's only neighbours: named functions over its tables, each in a transaction of its own.
NAMED_FUNCTIONS = ("server.storage.directory", "server.storage.migrations")
CLEAR_IN_A_RECORD = (sa.LargeBinary, sa.Integer, sa.BigInteger, sa.Uuid)
# A signed note says how long a log is and what its root is, and nothing else.
TEXT_IN_THE_CLEAR = {("log_head", "note")}


@pytest.mark.parametrize("table", record_owned_tables(), ids=lambda table: table.name)
def test_the_record_s_id_is_the_first_column_of_every_key(table: sa.Table) -> None:
    assert next(iter(table.primary_key.columns)).name == "record_id"
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint | sa.ForeignKeyConstraint):
            assert next(iter(constraint.columns)).name == "record_id", constraint
    for index in table.indexes:
        assert next(iter(index.columns)).name == "record_id", index.name


@pytest.mark.parametrize("table", record_owned_tables(), ids=lambda table: table.name)
def test_a_record_s_row_holds_nothing_readable(table: sa.Table) -> None:
    for column in table.columns:
        if isinstance(column.type, sa.String | sa.JSON):
            assert (table.name, column.name) in TEXT_IN_THE_CLEAR


@pytest.mark.parametrize("table", directory_tables(), ids=lambda table: table.name)
def test_the_directory_holds_hashes_and_ids_and_nothing_readable(table: sa.Table) -> None:
    assert not table.foreign_keys
    for column in table.columns:
        assert not isinstance(column.type, sa.String | sa.JSON), f"{table.name}.{column.name}"
    key = next(iter(table.primary_key.columns)).name
    assert key.endswith(("_mac", "_id")), f"{table.name} is found by {key}"


def test_every_table_is_a_record_s_or_the_directory_s() -> None:
    directory = {table.name for table in directory_tables()}
    listed = {str(row.__tablename__) for row in Directory.__subclasses__()}
    owned = {str(row.__tablename__) for row in RecordOwned.__subclasses__()}
    assert directory == listed
    assert {table.name for table in record_owned_tables()} == owned


def test_only_named_functions_reach_the_directory_s_tables() -> None:
    for module in modules():
        if imports(module, "server.storage.directory_tables"):
            assert module.name.startswith(NAMED_FUNCTIONS), module.name


def test_no_statement_joins() -> None:
    for module in modules():
        if module.name.startswith(("server.storage.migrations", "server.storage.postgres_checks")):
            continue
        if imports(module, "sqlalchemy"):
            used = names_used(module) & {"outerjoin", "select_from_join", "join_from"}
            assert not used, f"{module.name} uses {used}"
