"""What must be true of a PostgreSQL database before anything is read from it (THREATS rules 6 and 18)."""

import sqlalchemy as sa

from server.storage.backend import StorageUnsafe

_DURABLE = ("on", "remote_apply")

_ROLE = sa.text("""
SELECT rolsuper, rolbypassrls, rolcreaterole, session_user = current_user AS is_itself,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('server_encoding') AS encoding
FROM pg_roles WHERE rolname = current_user
""")

_TABLES = sa.text("""
SELECT relname, relrowsecurity AND relforcerowsecurity AS is_guarded,
       EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid) AS has_policy,
       pg_has_role(current_user, relowner, 'MEMBER') AS is_owner,
       has_table_privilege(pg_class.oid, 'TRUNCATE') AS may_truncate
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
ORDER BY relname
""")


def refuse_unsafe_role(connection: sa.Connection) -> None:
    """StorageUnsafe when row-level security would not bind this role, or a commit would not be durable."""
    role = connection.execute(_ROLE).one()
    if role.rolsuper or role.rolbypassrls or role.rolcreaterole or not role.is_itself:
        raise StorageUnsafe(
            "Held must not run as a superuser or as a role that row-level security does not bind."
        )
    if role.synchronous_commit not in _DURABLE:
        raise StorageUnsafe(
            "PostgreSQL must have synchronous_commit on, or an acknowledged write can be lost."
        )
    if role.encoding != "UTF8":
        raise StorageUnsafe("The database must be encoded in UTF-8.")
    _refuse_unsafe_tables(connection)


def _refuse_unsafe_tables(connection: sa.Connection) -> None:
    tables = connection.execute(_TABLES).all()
    if not tables:
        raise StorageUnsafe("The database has no tables yet. Run `held migrate`.")
    for table in tables:
        if table.is_owner or table.may_truncate:
            raise StorageUnsafe(
                "Held must not run as the owner of its tables. Run `held migrate`, then use held_app."
            )
        if not table.is_guarded or not table.has_policy:
            raise StorageUnsafe(f"The table {table.relname} has no row-level security.")
