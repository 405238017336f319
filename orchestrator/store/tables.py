"""The tables of the store: what is asked, what is under way, and what was measured.

Times are seconds since the Unix epoch by the database's clock, except
`metric.timestamp_ms`, which is the worker's. Migrations in `orchestrator/store/migrations`
give the same schema; a test compares the two.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

SCHEMA_VERSION: Final = "0004"
"""The migration that gives the tables below."""

VERSION_TABLE: Final = "trainyard_version"
"""Not Alembic's own name, which MLflow uses too: both may live in one database."""

AT_ONCE: Final = 0.0
"""An `available_at` that has passed, wherever the clock may jump to."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# NULL stands for "none"; the JSON text `null` is never stored.
_Json = JSON(none_as_null=True)

experiment = Table(
    "experiment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("spec", _Json, nullable=False),
    Column("text", Text, nullable=False),
    Column("tags", _Json, nullable=False),
    Column("task", Text, nullable=False),
    # Of the data set, where its targets are classes; else empty.
    Column("class_names", _Json, nullable=False),
    Column("objective", _Json, nullable=False),
    Column("execution", _Json, nullable=False),
    Column("checkpoints", _Json, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("gpus", Double, nullable=False),
    Column("num_trials", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("git_commit", Text),
    Column("paused_reason", Text),
    # Failed trials that no longer count towards `max_failed_trials`: a person said `resume`.
    Column("failures_forgiven", Integer, nullable=False),
    Index("ix_experiment_name_created_at", "name", "created_at"),
)

trial = Table(
    "trial",
    metadata,
    Column("id", Text, primary_key=True),
    Column("experiment_id", Text, ForeignKey(experiment.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("variant", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("params", _Json, nullable=False),
    Column("config", _Json, nullable=False),
    Column("content_key", Text, nullable=False),
    # The content key, if a result may be taken from elsewhere; and where it was taken from.
    Column("shared_key", Text),
    Column("reused_from", Text),
    # What training it will take, by arithmetic; with the machine and the seconds it took in
    # the end, what estimates learn from.
    Column("work", _Json, nullable=False),
    # What it has in common with those that it can be packed with; NULL where it goes alone.
    Column("pack_shape", Text),
    Column("state", String(16), nullable=False),
    # Raised by every claim; what a worker writes must carry the number it was given.
    Column("fence", Integer, nullable=False),
    Column("lease_expires_at", Double),
    Column("worker", Text),
    Column("orchestrator", Text),
    # What the attempt under way is asked to stop for: "cancel" or "pause"; NULL if it is not.
    Column("stop_requested", String(8)),
    Column("is_paused", Boolean, nullable=False),
    Column("available_at", Double, nullable=False),
    # How many attempts ended badly, by the kind of failure: each kind has its own budget.
    Column("spent", _Json, nullable=False),
    Column("failure", _Json),
    Column("metrics", _Json),
    Column("objective_value", Double),
    Column("selected_epoch", Integer),
    Column("duration_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
    # Which machine, and which share of it, the attempt that succeeded had.
    Column("machine", Text),
    # How that attempt ran: "plain", or "fused, 16 members".
    Column("strategy", Text),
    Column("queued_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    # Last, since it may be the longest by far: SQLite need not pass it to read the others.
    Column("confusion", _Json),
    UniqueConstraint("experiment_id", "number"),
    UniqueConstraint("experiment_id", "variant", "seed"),
)

# Written out rather than bound: a database uses a partial index only where the query
# says the index's condition word for word.
IS_QUEUED: Final = trial.c.state == literal_column("'queued'")
IS_LEASED: Final = trial.c.state == literal_column("'leased'")

QUEUED_INDEX: Final = "ix_trial_queued"
QUEUED_SHAPE_INDEX: Final = "ix_trial_queued_shape"

# All that decides who is next, so that no row is read for it (for SQLite the state, too).
Index(
    QUEUED_INDEX,
    trial.c.experiment_id,
    trial.c.number,
    trial.c.available_at,
    trial.c.is_paused,
    trial.c.shared_key,
    trial.c.state,
    sqlite_where=IS_QUEUED,
    postgresql_where=IS_QUEUED,
)
# Who goes with the next one in line, if many shapes wait.
Index(
    QUEUED_SHAPE_INDEX,
    trial.c.experiment_id,
    trial.c.pack_shape,
    trial.c.number,
    sqlite_where=IS_QUEUED,
    postgresql_where=IS_QUEUED,
)
Index(
    "ix_trial_lease_expires_at",
    trial.c.lease_expires_at,
    sqlite_where=IS_LEASED,
    postgresql_where=IS_LEASED,
)
# Of all that may share a result, one is trained at a time.
Index(
    "uq_trial_shared_key_leased",
    trial.c.shared_key,
    unique=True,
    sqlite_where=IS_LEASED,
    postgresql_where=IS_LEASED,
)
# All that an overview reads, asked several times a second: neither needs the wide rows.
Index(
    "ix_trial_overview",
    trial.c.experiment_id,
    trial.c.state,
    trial.c.started_at,
    trial.c.finished_at,
    trial.c.is_paused,
    trial.c.reused_from,
)
Index(None, trial.c.experiment_id, trial.c.objective_value)
Index(None, trial.c.experiment_id, trial.c.variant, trial.c.state)
# What a plan wants to know: which of its trials have a result, what the latest ones took.
Index(None, trial.c.content_key, trial.c.state)
Index(None, trial.c.machine, trial.c.finished_at)

attempt = Table(
    "attempt",
    metadata,
    Column("trial_id", Text, ForeignKey(trial.c.id), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("worker", Text, nullable=False),
    Column("orchestrator", Text, nullable=False),
    # Of the checkpoint that it went on from; 0 for a start, NULL until it has begun.
    Column("begun_epoch", Integer),
    # When it was claimed until it has begun, which one that waits in its worker does later.
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("failure", _Json),
    PrimaryKeyConstraint("trial_id", "fence"),
)

_IS_RUNNING = attempt.c.state == literal_column("'running'")
Index(
    "uq_attempt_running",
    attempt.c.trial_id,
    unique=True,
    sqlite_where=_IS_RUNNING,
    postgresql_where=_IS_RUNNING,
)

# By far the largest table, so it carries no second copy of its key (and no foreign key:
# the fence check has just read the trial). A value of NULL is not a number.
metric = Table(
    "metric",
    metadata,
    Column("trial_id", Text, nullable=False),
    Column("metric", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("value", Double),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("fence", Integer, nullable=False),
    PrimaryKeyConstraint("trial_id", "metric", "step"),
    sqlite_with_rowid=False,
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("trial_id", Text, ForeignKey(trial.c.id), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("num_bytes", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    PrimaryKeyConstraint("trial_id", "kind", "fence", "epoch"),
)

# How fast each way to train a shape is on a worker of some machine, and which it is to be.
strategy_timing = Table(
    "strategy_timing",
    metadata,
    Column("machine", Text, nullable=False),
    # Versions, and the GPU: others are measured anew.
    Column("engine", Text, nullable=False),
    Column("pack_shape", Text, nullable=False),
    Column("chosen", Text, nullable=False),
    # Of a member's step, by strategy; null for one that failed.
    Column("step_seconds", _Json, nullable=False),
    # For how many steps' sake it was measured, and whether there was time for every strategy.
    Column("num_steps", BigInteger, nullable=False),
    Column("is_thorough", Boolean, nullable=False),
    Column("measured_at", Double, nullable=False),
    PrimaryKeyConstraint("machine", "engine", "pack_shape"),
)

# Who works on the store; a row goes when its orchestrator ends in good order.
orchestrator = Table(
    "orchestrator",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    # The process by number and start, so that a later one of that number is another.
    Column("process", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
)

# What went wrong around the trials, and what was done about it.
incident = Table(
    "incident",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("experiment_id", Text),
    Column("trial_id", Text),
    Column("message", Text, nullable=False),
    Index("ix_incident_at", "at"),
    Index("ix_incident_experiment_id_at", "experiment_id", "at"),
)

# What MLflow has yet to be told. `revision` rises each time there is something new to
# say of the same key, so that word of an older telling closes nothing.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("key", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("available_at", Double, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_at", Double),
    Column("failed_at", Double),
    Column("error", Text),
    UniqueConstraint("kind", "key"),
)

IS_PENDING: Final = outbox.c.done_at.is_(None)
Index(
    "ix_outbox_pending",
    outbox.c.available_at,
    sqlite_where=IS_PENDING,
    postgresql_where=IS_PENDING,
)
