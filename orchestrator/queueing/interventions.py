"""What a person may do to submitted trials: cancel them, pause and resume them, or ask again.

Whoever trains a trial is only asked to stop, and answers when it has.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select, update

from experiments.states import TRANSITIONS, TrialState
from orchestrator.queueing import outbox
from orchestrator.queueing.endings import Ended, announce, chunks
from orchestrator.queueing.leases import Stop, lock_trials
from orchestrator.queueing.outcomes import num_failed
from orchestrator.store.rows import OPEN_STATES
from orchestrator.store.tables import AT_ONCE, IS_LEASED, IS_QUEUED, experiment, trial
from orchestrator.store.tables import outbox as outbox_table

PAUSED_ON_REQUEST: Final = "paused on request"
"""The `paused_reason` of an experiment that a person has paused."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How many trials were cancelled at once, and how many are asked to stop."""

    num_cancelled: int
    num_stopping: int


@dataclass(frozen=True, slots=True)
class Pause:
    """How many trials wait from now on, and how many are asked to stop and wait then."""

    num_queued: int
    num_stopping: int


def cancel(connection: Connection, scope: ColumnElement[bool], *, now: float) -> Cancellation:
    """Cancel the queued trials in `scope` and ask the leased ones to stop."""
    assert TrialState.CANCELLED in TRANSITIONS[TrialState.QUEUED]
    rows = lock_trials(connection, scope, trial.c.state.in_(OPEN_STATES))
    queued = [row for row in rows if row.state == TrialState.QUEUED]
    for ids in chunks([row.id for row in queued]):
        connection.execute(
            update(trial)
            .where(trial.c.id.in_(ids), IS_QUEUED)
            .values(state=TrialState.CANCELLED, finished_at=now)
        )
    _ask_to_stop(
        connection, [row.id for row in rows if row.state == TrialState.LEASED], Stop.CANCEL
    )
    ended = [Ended(row.id, row.experiment_id, row.variant) for row in queued]
    announce(connection, ended, now=now)
    return Cancellation(len(queued), len(rows) - len(queued))


def pause(
    connection: Connection, scope: ColumnElement[bool], *, experiment_id: str | None
) -> Pause:
    """Keep the trials in `scope` from being claimed and ask the leased ones to stop.

    They are those of `experiment_id`, which then waits as a whole, or else each waits alone.
    What was asked to stop for good still is.
    """
    rows = lock_trials(connection, scope, trial.c.state.in_(OPEN_STATES))
    if experiment_id is None:
        for ids in chunks([row.id for row in rows]):
            connection.execute(update(trial).where(trial.c.id.in_(ids)).values(is_paused=True))
    else:
        reason = func.coalesce(experiment.c.paused_reason, PAUSED_ON_REQUEST)
        connection.execute(
            update(experiment).where(experiment.c.id == experiment_id).values(paused_reason=reason)
        )
    leased = [row.id for row in rows if row.state == TrialState.LEASED]
    _ask_to_stop(connection, leased, Stop.PAUSE)
    return Pause(len(rows) - len(leased), len(leased))


def resume(connection: Connection, scope: ColumnElement[bool], *, experiment_id: str | None) -> int:
    """Let the trials in `scope` be claimed again; give how many of them had waited for it.

    Resuming an experiment leaves those of its trials alone that were paused one by one, and
    lets `execution.max_failed_trials` count from here. What was asked to stop stops first.
    """
    if experiment_id is None:
        rows = lock_trials(connection, scope, trial.c.is_paused)
        for ids in chunks([row.id for row in rows]):
            connection.execute(update(trial).where(trial.c.id.in_(ids)).values(is_paused=False))
        return sum(row.state in OPEN_STATES for row in rows)
    rows = lock_trials(connection, scope, IS_QUEUED & ~trial.c.is_paused)
    its_row = experiment.c.id == experiment_id
    reason = connection.scalar(select(experiment.c.paused_reason).where(its_row))
    _let_go_on(connection, experiment_id)
    return 0 if reason is None else len(rows)


def retry(
    connection: Connection,
    scope: ColumnElement[bool],
    *,
    states: Collection[TrialState],
    now: float,
) -> int:
    """Queue again the trials in `scope` that ended in one of `states`, with fresh budgets.

    They and their experiments go on where they were paused; the failures that are left no
    longer count towards `execution.max_failed_trials`. Gives how many trials were queued.
    """
    assert all(TrialState.QUEUED in TRANSITIONS[state] for state in states), states
    rows = lock_trials(connection, scope, trial.c.state.in_(list(states)))
    for ids in chunks([row.id for row in rows]):
        connection.execute(
            update(trial)
            .where(trial.c.id.in_(ids))
            .values(
                state=TrialState.QUEUED,
                is_paused=False,
                available_at=AT_ONCE,
                queued_at=now,
                finished_at=None,
                spent={},
                failure=None,
            )
        )
        # What had not been told yet is no longer so; the next ending will be.
        connection.execute(
            update(outbox_table)
            .where(outbox_table.c.kind == outbox.TRIAL, outbox_table.c.key.in_(ids))
            .values(done_at=now, revision=outbox_table.c.revision + 1)
        )
    for experiment_id in {row.experiment_id for row in rows}:
        _let_go_on(connection, experiment_id)
    return len(rows)


def _let_go_on(connection: Connection, experiment_id: str) -> None:
    connection.execute(
        update(experiment)
        .where(experiment.c.id == experiment_id)
        .values(paused_reason=None, failures_forgiven=num_failed(experiment_id))
    )


def _ask_to_stop(connection: Connection, trial_ids: list[str], stop: Stop) -> None:
    """Ask the holders of leases to stop; a trial that is to be cancelled is not to pause."""
    asked = stop if stop is Stop.CANCEL else func.coalesce(trial.c.stop_requested, stop)
    for ids in chunks(trial_ids):
        connection.execute(
            update(trial).where(trial.c.id.in_(ids), IS_LEASED).values(stop_requested=asked)
        )
