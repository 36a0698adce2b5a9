"""Runs migrations within the transaction that `ml.ledger.upgrade` has opened."""

from alembic import context

from ml.ledger.table import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
