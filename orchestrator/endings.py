"""How an attempt ends: its trial moves on, and whoever must know of it is told.

All in the caller's transaction, the entries for MLflow included: either everything
about an ending is in the store, or nothing is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from experiments.records import Failure, Objective
from experiments.states import TERMINAL_STATES, TRANSITIONS, AttemptState, TrialState
from orchestrator import outbox
from orchestrator.leases import Lease, holds
from orchestrator.rows import OPEN_STATES
from orchestrator.tables import attempt, experiment, trial

_BAD_STATES = [TrialState.FAILED, TrialState.QUARANTINED]


@dataclass(frozen=True, slots=True)
class Holding:
    """A valid lease with what decides how it may end; both its rows are locked."""

    lease: Lease
    experiment_id: str
    variant: str
    failures: int
    losses: int
    stop_requested: bool
    objective: Objective
    retries: int
    max_failed_trials: int | None


def lock(
    connection: Connection, lease: Lease, *, only_if: ColumnElement[bool] | None = None
) -> Holding | None:
    """Lock the lease's trial and its experiment; None where the lease is not valid.

    The experiment too, because "was this the last of its variant" and "was this one
    failure too many" must not be asked by two endings at once.
    """
    query = (
        select(
            trial.c.experiment_id,
            trial.c.variant,
            trial.c.failures,
            trial.c.losses,
            trial.c.stop_requested,
            experiment.c.objective,
            experiment.c.execution,
        )
        .select_from(experiment.join(trial))
        .where(holds(lease) if only_if is None else holds(lease) & only_if)
        .with_for_update(key_share=True)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Holding(
        lease=lease,
        experiment_id=row.experiment_id,
        variant=row.variant,
        failures=row.failures,
        losses=row.losses,
        stop_requested=row.stop_requested,
        objective=Objective(**row.objective),
        retries=row.execution["retries"],
        max_failed_trials=row.execution["max_failed_trials"],
    )


def end(
    connection: Connection,
    holding: Holding,
    *,
    now: float,
    to: TrialState,
    attempt_as: AttemptState,
    failure: Failure | None = None,
    values: Mapping[str, Any] | None = None,
) -> None:
    """End the attempt and move its trial on; `values` are further columns of the trial."""
    assert to in TRANSITIONS[TrialState.LEASED], to
    lease = holding.lease
    terminal = to in TERMINAL_STATES
    told = failure.to_data() if failure is not None else None
    moved = connection.execute(
        update(trial)
        .where(holds(lease))
        .values(
            state=to,
            worker=None,
            lease_expires_at=None,
            failure=told,
            finished_at=now if terminal else None,
            **(values or {}),
        )
    )
    assert moved.rowcount == 1, f"{lease} was locked, and yet is not valid"
    connection.execute(
        update(attempt)
        .where(attempt.c.trial_id == lease.trial_id, attempt.c.fence == lease.fence)
        .values(state=attempt_as, ended_at=now, failure=told)
    )
    if terminal:
        announce(connection, lease.trial_id, holding.experiment_id, holding.variant, now=now)
    if to in _BAD_STATES and holding.max_failed_trials is not None:
        _pause_when_too_many_failed(connection, holding.experiment_id, holding.max_failed_trials)


def answer_late(connection: Connection, lease: Lease, said: AttemptState) -> bool:
    """Answer what came under a lease that is not valid; True if it was recorded before.

    An attempt that had expired and speaks after all is marked as fenced off.
    """
    its_row = (attempt.c.trial_id == lease.trial_id) & (attempt.c.fence == lease.fence)
    state = connection.scalar(select(attempt.c.state).where(its_row))
    if state == AttemptState.EXPIRED and said != state:
        connection.execute(update(attempt).where(its_row).values(state=AttemptState.FENCED))
    return state == said


def announce(
    connection: Connection, trial_id: str, experiment_id: str, variant: str, *, now: float
) -> None:
    """Tell MLflow of a terminal trial and, where it was its variant's last, of the model."""
    outbox.enqueue(connection, outbox.TRIAL, [trial_id], now=now)
    for each in finished_variants(connection, experiment_id, [variant]):
        outbox.enqueue(connection, outbox.MODEL, [f"{experiment_id}/{each}"], now=now)


def finished_variants(
    connection: Connection, experiment_id: str, variants: Collection[str]
) -> Sequence[str]:
    """Give those of the variants that have a succeeded trial and no open one."""
    num_succeeded = func.count().filter(trial.c.state == TrialState.SUCCEEDED)
    num_open = func.count().filter(trial.c.state.in_(OPEN_STATES))
    query = (
        select(trial.c.variant)
        .where(trial.c.experiment_id == experiment_id, trial.c.variant.in_(variants))
        .group_by(trial.c.variant)
        .having(num_succeeded > 0, num_open == 0)
    )
    return connection.scalars(query).all()


def _pause_when_too_many_failed(
    connection: Connection, experiment_id: str, max_failed_trials: int
) -> None:
    failed = connection.scalar(
        select(func.count())
        .select_from(trial)
        .where(trial.c.experiment_id == experiment_id, trial.c.state.in_(_BAD_STATES))
    )
    if failed is not None and failed >= max_failed_trials:
        connection.execute(
            update(experiment)
            .where(experiment.c.id == experiment_id)
            .values(
                paused_reason=f"{failed} trials failed "
                f"(execution.max_failed_trials: {max_failed_trials})"
            )
        )
