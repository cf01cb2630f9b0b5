"""Every table there is, and the least row of each: for tests that must leave none out."""

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

import server
from server.storage.tables import directory_tables, record_owned_tables

_SERVER = Path(server.__file__).parent


def import_every_table() -> None:
    """Imports each module of the server that defines tables."""
    for path in sorted(_SERVER.rglob("*tables.py")):
        importlib.import_module(".".join(("server", *path.relative_to(_SERVER).with_suffix("").parts)))


import_every_table()
RECORD_TABLES = record_owned_tables()
DIRECTORY_TABLES = directory_tables()


def row_for(table: sa.Table, record_id: UUID) -> dict[str, Any]:
    """A row of the table for a record, different at each call in every other column."""
    return {
        column.name: record_id if column.name == "record_id" else _value(column) for column in table.columns
    }


def _value(column: sa.Column[Any]) -> Any:
    kinds: dict[type, Any] = {
        sa.Uuid: uuid4(),
        sa.DateTime: datetime.now(UTC),
        sa.LargeBinary: uuid4().bytes,
        sa.Boolean: True,
        sa.SmallInteger: uuid4().int % 2**15,
        sa.Integer: uuid4().int % 2**31,
        sa.String: str(uuid4()),
    }
    plain = column.type.impl if isinstance(column.type, sa.TypeDecorator) else column.type
    return next(value for kind, value in kinds.items() if isinstance(plain, kind))
