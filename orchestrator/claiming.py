"""Taking trials from the line: who is next, and the lease that makes them ours.

Two claimers never take the same trial: SQLite lets one write at a time, and PostgreSQL
skips the rows that another claimer has locked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from experiments.records import CheckpointPolicy, Resources, TrialConfig
from experiments.states import TRANSITIONS, AttemptState, TrialState
from orchestrator.leases import Lease
from orchestrator.tables import IS_QUEUED, attempt, experiment, trial

COUNTED_AT_MOST: Final = 1000
"""More waiting trials of one experiment than these make no difference to anyone."""

_GOES_ON = experiment.c.paused_reason.is_(None)
_ORDER = (experiment.c.priority.desc(), experiment.c.created_at, experiment.c.id)

# An experiment's queued trials. The order, and the limits below, keep PostgreSQL to the
# index of queued trials: an EXISTS it would turn into a join that reads all of them.
_WAITING = (
    select(trial.c.number)
    .where(trial.c.experiment_id == experiment.c.id, IS_QUEUED)
    .order_by(trial.c.number)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A trial that is ours for now, and all that a worker needs to train it."""

    lease: Lease
    experiment_id: str
    number: int
    variant: str
    config: TrialConfig
    checkpoints: CheckpointPolicy
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment in line; `execution` and `checkpoints` are the spec's, as data."""

    id: str
    execution: Mapping[str, Any]
    checkpoints: Mapping[str, Any]


def demand(connection: Connection) -> dict[Resources, int]:
    """Count the queued trials by the worker they need, first in line first.

    Of each experiment no more than `COUNTED_AT_MOST`: this is asked at every turn.
    """
    counted = _WAITING.limit(COUNTED_AT_MOST).correlate(experiment).subquery()
    rows = connection.execute(
        select(
            experiment.c.cpus,
            experiment.c.gpus,
            select(func.count()).select_from(counted).scalar_subquery(),
        )
        .where(_GOES_ON, _has_any(_WAITING))
        .order_by(*_ORDER)
    )
    waiting: dict[Resources, int] = {}
    for cpus, gpus, count in rows:
        resources = Resources(cpus=cpus, gpus=gpus)
        waiting[resources] = waiting.get(resources, 0) + count
    return waiting


def in_line(connection: Connection, resources: Resources, *, now: float) -> list[Experiment]:
    """Give the experiments with a trial for a worker of that size, first in line first."""
    rows = connection.execute(
        select(experiment.c.id, experiment.c.execution, experiment.c.checkpoints)
        .where(
            _GOES_ON,
            experiment.c.cpus == resources.cpus,
            experiment.c.gpus == resources.gpus,
            _has_any(_WAITING.where(trial.c.available_at <= now)),
        )
        .order_by(*_ORDER)
    )
    return [Experiment(*row) for row in rows]


def lease_next(
    connection: Connection,
    experiment_id: str,
    *,
    worker: str,
    limit: int,
    lease_seconds: float,
    now: float,
) -> Sequence[Row[Any]]:
    """Lease an experiment's next trials and open their attempts.

    Gives no row where others are just taking the last ones.
    """
    assert TrialState.LEASED in TRANSITIONS[TrialState.QUEUED]
    # Materialized: a planner that ran the locking query twice would lock twice as many.
    picked = (
        select(trial.c.id)
        .where(trial.c.experiment_id == experiment_id, IS_QUEUED, trial.c.available_at <= now)
        .order_by(trial.c.number)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
        .cte("picked")
        .prefix_with("MATERIALIZED")
    )
    rows = connection.execute(
        update(trial)
        .where(trial.c.id.in_(select(picked.c.id)))
        .values(
            state=TrialState.LEASED,
            fence=trial.c.fence + 1,
            worker=worker,
            lease_expires_at=now + lease_seconds,
            started_at=func.coalesce(trial.c.started_at, now),
        )
        .returning(trial.c.id, trial.c.fence, trial.c.number, trial.c.variant, trial.c.config)
    ).all()
    if rows:
        opened = {"state": AttemptState.RUNNING, "worker": worker, "started_at": now}
        connection.execute(
            insert(attempt),
            [{"trial_id": row.id, "fence": row.fence, **opened} for row in rows],
        )
    return sorted(rows, key=lambda row: int(row.number))


def read_claim(row: Row[Any], experiment: Experiment) -> Claim:
    """Turn a leased row into what a worker needs."""
    policy = experiment.checkpoints
    return Claim(
        lease=Lease(row.id, row.fence),
        experiment_id=experiment.id,
        number=row.number,
        variant=row.variant,
        config=TrialConfig.from_data(row.config),
        checkpoints=CheckpointPolicy(policy["every_epochs"], tuple(policy["keep"])),
        timeout_seconds=experiment.execution["timeout"],
    )


def _has_any(waiting: Select[tuple[int]]) -> ColumnElement[bool]:
    return waiting.limit(1).correlate(experiment).scalar_subquery().is_not(None)
