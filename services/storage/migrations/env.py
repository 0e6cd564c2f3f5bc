"""Alembic's entry point: runs the migrations on the connection that `Database.open` (or a test) hands over."""

from alembic import context

from services.storage.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
