"""Brings a database up to date, and lets the server log in to it: what `held migrate` does.

On PostgreSQL the address is the owner's (HELD_MIGRATE_URL). The owner makes the tables, the role `held_app`
and its policies; when the app's address names a user, that user may log in and do what `held_app` may.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from server.storage.backend import StorageUnsafe
from server.storage.migrations.security import APP_ROLE
from server.storage.postgres import async_url
from server.storage.sqlite import database_path, engine_for

SCRAM_ROUNDS = 4096
_MAY_LOG_IN = sa.text("SELECT rolcanlogin FROM pg_roles WHERE rolname = :user")
_MAY_MAKE_ROLES = sa.text("SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user")
_SALT_BYTES = 16


async def migrate(url: str, *, app_url: str | None = None) -> None:
    """Runs every step the database lacks, in one transaction, and lets the app's user log in."""
    app = sa.make_url(app_url) if app_url is not None else None

    def bring_up_to_date(connection: sa.Connection) -> None:
        command.upgrade(config_for(connection), "head")
        if app is not None and app.username and connection.dialect.name == "postgresql":
            _allow_login(connection, app.username, app.password)

    await _in_transaction(url, bring_up_to_date)


async def refuse_outdated(url: str) -> None:
    """StorageUnsafe when the database is not at the newest step: `held serve` asks before it starts."""

    def compare(connection: sa.Connection) -> None:
        newest = ScriptDirectory.from_config(config_for(connection)).get_current_head()
        if MigrationContext.configure(connection).get_current_revision() != newest:
            raise StorageUnsafe("The database is not up to date. Run `held migrate`.")

    await _in_transaction(url, compare)


def config_for(connection: sa.Connection) -> Config:
    """Alembic's settings, all from code: there is no alembic.ini to differ from them."""
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


async def _in_transaction(url: str, work: Callable[[sa.Connection], None]) -> None:
    if sa.make_url(url).get_backend_name() == "sqlite":
        _in_sqlite_transaction(url, work)
        return
    engine = create_async_engine(async_url(url), poolclass=sa.NullPool, hide_parameters=True)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def _in_sqlite_transaction(url: str, work: Callable[[sa.Connection], None]) -> None:
    engine = engine_for(database_path(url))
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            work(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


def _allow_login(connection: sa.Connection, user: str, password: str | None) -> None:
    """Lets the app's user log in. The password travels as a SCRAM verifier, so no server log holds it."""
    may_log_in = connection.execute(_MAY_LOG_IN, {"user": user}).scalar()
    if not connection.execute(_MAY_MAKE_ROLES).scalar():
        if not may_log_in:
            raise StorageUnsafe(
                f"The owner may not make roles, and {user} cannot log in. See the operator's guide."
            )
        return
    quote = connection.dialect.identifier_preparer.quote
    if may_log_in is None:
        connection.exec_driver_sql(f"CREATE ROLE {quote(user)}")
    secret = f" PASSWORD '{scram_verifier(password)}'" if password else ""
    connection.exec_driver_sql(f"ALTER ROLE {quote(user)} LOGIN{secret}")
    if user != APP_ROLE:
        connection.exec_driver_sql(f"GRANT {APP_ROLE} TO {quote(user)}")


def scram_verifier(password: str) -> str:
    """The verifier PostgreSQL keeps of a password (RFC 5803, https://www.rfc-editor.org/rfc/rfc5803)."""
    salt = os.urandom(_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ROUNDS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    encoded = [base64.b64encode(part).decode("ascii") for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{encoded[0]}${encoded[1]}:{encoded[2]}"
