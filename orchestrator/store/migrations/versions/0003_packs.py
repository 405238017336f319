"""Packs: which trials can be trained together, and how each was trained.

Trials that are in a store already go alone. SQLite adds a column at the end only, so there the
table is made again and its rows are copied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NEW_OF_TRIAL = ("pack_shape", "strategy")


def upgrade() -> None:
    """Change the tables of a store of version 0002; all that is in them stays."""
    for name in _NEW_OF_TRIAL:
        op.add_column("trial", sa.Column(name, sa.Text()))
    # The longest column stays last, so that SQLite need not pass it to read the others.
    order = (*_NEW_OF_TRIAL, "confusion")
    with op.batch_alter_table("trial", partial_reordering=[order]):
        pass
    op.create_index(
        "ix_trial_queued_shape",
        "trial",
        ["experiment_id", "pack_shape", "number"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
