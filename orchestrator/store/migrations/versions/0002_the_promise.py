"""Resuming, reuse and outages: who holds a lease, what was spent, what went wrong.

New columns come empty, are filled from what there is, and then become what the tables say.
SQLite cannot change a column, so there each table is made again and its rows are copied.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# Of a spec's `execution`, what 0001 did not know; a trial of it goes on with the defaults.
_EXECUTION = {"max_losses": 3, "stall_timeout": 600.0, "reuse": True}

_NEW_OF_TRIAL: dict[str, Any] = {
    "shared_key": sa.Text(),
    "reused_from": sa.Text(),
    "orchestrator": sa.Text(),
    "asked_to_stop": sa.String(length=8),
    "is_paused": sa.Boolean(),
    "spent": sa.JSON(),
}


def upgrade() -> None:
    """Change the tables of a store of version 0001; all that is in them stays."""
    _change_experiment()
    _change_trial()
    _change_attempt()
    _widen_key_of_checkpoint()
    op.add_column("outbox", sa.Column("failed_at", sa.Double()))
    _create_orchestrator()
    _create_incident()


def _change_experiment() -> None:
    op.add_column("experiment", sa.Column("failures_forgiven", sa.Integer()))
    op.execute("UPDATE experiment SET failures_forgiven = 0")
    experiment = sa.table("experiment", sa.column("id"), sa.column("execution", sa.JSON()))
    connection = op.get_bind()
    for row in connection.execute(sa.select(experiment)).all():
        connection.execute(
            sa.update(experiment)
            .where(experiment.c.id == row.id)
            .values(execution={**row.execution, **_EXECUTION})
        )
    with op.batch_alter_table("experiment") as batch:
        batch.alter_column("failures_forgiven", existing_type=sa.Integer(), nullable=False)


def _change_trial() -> None:
    for name, kind in _NEW_OF_TRIAL.items():
        op.add_column("trial", sa.Column(name, kind))
    _fill_trial()
    for index in ("ix_trial_experiment_id_state_started_at_finished_at", "ix_trial_queued"):
        op.drop_index(index, "trial")
    with op.batch_alter_table("trial") as batch:
        for name in ("stop_requested", "failures", "losses"):
            batch.drop_column(name)
    # The longest column stays last, so that SQLite need not pass it to read the others.
    order = (*_NEW_OF_TRIAL, "confusion")
    with op.batch_alter_table("trial", partial_reordering=[order]) as batch:
        batch.alter_column(
            "asked_to_stop", new_column_name="stop_requested", existing_type=sa.String(length=8)
        )
        batch.alter_column("is_paused", existing_type=sa.Boolean(), nullable=False)
        batch.alter_column("spent", existing_type=sa.JSON(), nullable=False)
    op.create_index(
        "ix_trial_queued",
        "trial",
        ["experiment_id", "number", "available_at", "is_paused", "shared_key", "state"],
        **_where("state = 'queued'"),
    )
    op.create_index(
        "uq_trial_shared_key_leased",
        "trial",
        ["shared_key"],
        unique=True,
        **_where("state = 'leased'"),
    )
    op.create_index(
        "ix_trial_overview",
        "trial",
        ["experiment_id", "state", "started_at", "finished_at", "is_paused", "reused_from"],
    )


def _fill_trial() -> None:
    trial = sa.table(
        "trial",
        *map(sa.column, ("id", "state", "content_key", "failures", "losses")),
        sa.column("stop_requested", sa.Boolean()),
        *(sa.column(name, kind) for name, kind in _NEW_OF_TRIAL.items()),
    )
    connection = op.get_bind()
    leased, filled = set[str](), []
    for row in connection.execute(sa.select(trial).order_by(trial.c.id)):
        # Failures that were tried again were errors: after those of other kinds none was.
        spent = {"error": row.failures, "lost": row.losses}
        # Of one key one may be leased from now on: the others go on, but share nothing.
        is_second = row.state == "leased" and row.content_key in leased
        if row.state == "leased":
            leased.add(row.content_key)
        filled.append(
            {
                "of_trial": row.id,
                "spent": {kind: count for kind, count in spent.items() if count},
                "shared_key": None if is_second else row.content_key,
                "asked_to_stop": "cancel" if row.stop_requested else None,
                "reused_from": None,
                "orchestrator": "" if row.state == "leased" else None,
                "is_paused": False,
            }
        )
    if filled:
        values = {name: sa.bindparam(name, type_=kind) for name, kind in _NEW_OF_TRIAL.items()}
        its_row = trial.c.id == sa.bindparam("of_trial")
        connection.execute(sa.update(trial).where(its_row).values(values), filled)


def _change_attempt() -> None:
    op.add_column("attempt", sa.Column("orchestrator", sa.Text()))
    op.add_column("attempt", sa.Column("begun_epoch", sa.Integer()))
    op.execute("UPDATE attempt SET orchestrator = '', begun_epoch = 0")
    with op.batch_alter_table("attempt") as batch:
        batch.alter_column("orchestrator", existing_type=sa.Text(), nullable=False)


def _widen_key_of_checkpoint() -> None:
    with op.batch_alter_table("checkpoint") as batch:
        batch.drop_constraint("pk_checkpoint", type_="primary")
        batch.create_primary_key("pk_checkpoint", ["trial_id", "kind", "fence", "epoch"])


def _create_orchestrator() -> None:
    op.create_table(
        "orchestrator",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_orchestrator"),
    )


def _create_incident() -> None:
    op.create_table(
        "incident",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("experiment_id", sa.Text()),
        sa.Column("trial_id", sa.Text()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_incident"),
    )
    op.create_index("ix_incident_at", "incident", ["at"])
    op.create_index("ix_incident_experiment_id_at", "incident", ["experiment_id", "at"])


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
