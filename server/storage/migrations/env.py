"""Runs migrations on the connection that server/storage/migrating.py opened."""

from alembic import context

# Alembic runs this file as a script inside its own environment, once for each command.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    transactional_ddl=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
