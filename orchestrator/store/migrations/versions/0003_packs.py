"""Packs: which trials can be trained together, and how each was trained.

Trials that are in a store already go alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Change the tables of a store of version 0002; all that is in them stays."""
    for name in ("pack_shape", "strategy"):
        op.add_column("trial", sa.Column(name, sa.Text()))
    op.create_index(
        "ix_trial_queued_shape",
        "trial",
        ["experiment_id", "pack_shape", "number"],
        sqlite_where=sa.text("state = 'queued'"),
        postgresql_where=sa.text("state = 'queued'"),
    )
