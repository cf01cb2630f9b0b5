"""Row-level security and grants of PostgreSQL, for migrations that make tables (THREATS rule 6).

A migration calls these with the names it has just created; they never look at today's tables.
"""

from collections.abc import Sequence

from alembic import op

APP_ROLE = "held_app"

_TENANT = "record_id = nullif(current_setting('app.record', true), '')::uuid"
_DIRECTORY = "current_setting('app.scope', true) = 'directory'"


def create_app_role() -> None:
    """The role the server runs as: it owns nothing, bypasses nothing and cannot log in by itself."""
    if not _is_postgres():
        return
    op.execute(f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN
                CREATE ROLE {APP_ROLE} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$
    """)
    op.execute(f"""
        DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO {APP_ROLE}', current_schema()); END $$
    """)
    op.execute(f"GRANT SELECT ON alembic_version TO {APP_ROLE}")


def guard_record_tables(names: Sequence[str]) -> None:
    """Lets each row be seen and written only by the transaction bound to its record."""
    _guard(names, _TENANT)


def guard_directory_tables(names: Sequence[str]) -> None:
    """Lets rows be seen and written only by directory transactions."""
    _guard(names, _DIRECTORY)


def allow(names: Sequence[str], privileges: str) -> None:
    """What the app role may do. TRUNCATE is never given: row-level security does not stop it."""
    if _is_postgres():
        for name in names:
            op.execute(f"GRANT {privileges} ON {name} TO {APP_ROLE}")


def leave_room_for_updates(names: Sequence[str]) -> None:
    """Rows that every write changes are kept on their page."""
    if _is_postgres():
        for name in names:
            op.execute(f"ALTER TABLE {name} SET (fillfactor = 50)")


def keep_as_it_is(table: str, column: str) -> None:
    """A value that looks random is kept without trying to compress it."""
    if _is_postgres():
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def _guard(names: Sequence[str], condition: str) -> None:
    if _is_postgres():
        for name in names:
            op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
            op.execute(f"CREATE POLICY {name}_guard ON {name} USING ({condition}) WITH CHECK ({condition})")


def _is_postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"
