"""Runs the migrations on the connection that ``app/storage/schema.py`` hands over, under its lock."""

from alembic import context

from app.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
