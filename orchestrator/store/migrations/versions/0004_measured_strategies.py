"""Measured strategies: how fast each way to train a shape is on which machine."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add a table to a store of version 0003; all that is in it stays."""
    op.create_table(
        "strategy_timing",
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("pack_shape", sa.Text(), nullable=False),
        sa.Column("chosen", sa.Text(), nullable=False),
        sa.Column("step_seconds", sa.JSON(), nullable=False),
        sa.Column("num_steps", sa.BigInteger(), nullable=False),
        sa.Column("is_thorough", sa.Boolean(), nullable=False),
        sa.Column("measured_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("machine", "engine", "pack_shape", name="pk_strategy_timing"),
    )
