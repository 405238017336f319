"""The first schema: what was asked, what is under way, what was measured."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of an empty store."""
    _create_experiment()
    _create_trial()
    _create_attempt()
    _create_metric()
    _create_checkpoint()
    _create_outbox()


def _create_experiment() -> None:
    op.create_table(
        "experiment",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("objective", sa.JSON(), nullable=False),
        sa.Column("execution", sa.JSON(), nullable=False),
        sa.Column("checkpoints", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("gpus", sa.Double(), nullable=False),
        sa.Column("num_trials", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("git_commit", sa.Text()),
        sa.Column("paused_reason", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_experiment"),
    )
    op.create_index("ix_experiment_name_created_at", "experiment", ["name", "created_at"])


def _create_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("content_key", sa.Text(), nullable=False),
        sa.Column("work", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("available_at", sa.Double(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("failure", sa.JSON()),
        sa.Column("metrics", sa.JSON()),
        sa.Column("objective_value", sa.Double()),
        sa.Column("selected_epoch", sa.Integer()),
        sa.Column("duration_seconds", sa.Double()),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
        sa.Column("machine", sa.Text()),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("confusion", sa.JSON()),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiment.id"], name="fk_trial_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_trial"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_trial_experiment_id_number"),
        sa.UniqueConstraint(
            "experiment_id", "variant", "seed", name="uq_trial_experiment_id_variant_seed"
        ),
    )
    op.create_index(
        "ix_trial_experiment_id_state_started_at_finished_at",
        "trial",
        ["experiment_id", "state", "started_at", "finished_at"],
    )
    op.create_index(
        "ix_trial_experiment_id_objective_value", "trial", ["experiment_id", "objective_value"]
    )
    op.create_index(
        "ix_trial_experiment_id_variant_state", "trial", ["experiment_id", "variant", "state"]
    )
    op.create_index("ix_trial_content_key_state", "trial", ["content_key", "state"])
    op.create_index("ix_trial_machine_finished_at", "trial", ["machine", "finished_at"])
    op.create_index(
        "ix_trial_lease_expires_at", "trial", ["lease_expires_at"], **_where("state = 'leased'")
    )
    op.create_index(
        "ix_trial_queued", "trial", ["experiment_id", "number"], **_where("state = 'queued'")
    )


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("trial_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("failure", sa.JSON()),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_attempt_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "fence", name="pk_attempt"),
    )
    op.create_index(
        "uq_attempt_running", "attempt", ["trial_id"], unique=True, **_where("state = 'running'")
    )


def _create_metric() -> None:
    op.create_table(
        "metric",
        sa.Column("trial_id", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "metric", "step", name="pk_metric"),
        sqlite_with_rowid=False,
    )


def _create_checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("trial_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name="fk_checkpoint_trial_id"),
        sa.PrimaryKeyConstraint("trial_id", "kind", name="pk_checkpoint"),
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("available_at", sa.Double(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("kind", "key", name="uq_outbox_kind_key"),
    )
    op.create_index("ix_outbox_pending", "outbox", ["available_at"], **_where("done_at IS NULL"))


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
