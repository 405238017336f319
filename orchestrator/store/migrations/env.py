"""Where Alembic starts: on the connection, and in the transaction, that `upgrade` gives it."""

from alembic import context

from orchestrator.store.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
