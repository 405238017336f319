"""What an attempt may come to: a result, a failure with what follows it, or nothing.

Each does all of it in the caller's transaction, and nothing where the lease is not valid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, select, update

from experiments.events import Failure, TrialSucceeded
from experiments.states import AttemptState, FailureKind, IncidentKind, TrialState
from orchestrator.queueing import endings, incidents, resuming
from orchestrator.queueing.endings import Holding
from orchestrator.queueing.leases import Lease, Stop
from orchestrator.queueing.retry import GiveUp, Retry, charged, decide
from orchestrator.store.rows import encode_metrics
from orchestrator.store.tables import AT_ONCE, experiment, trial

BAD_STATES: Final = (TrialState.FAILED, TrialState.QUARANTINED)
"""Those that `execution.max_failed_trials` counts, and that `retry` queues again."""


@dataclass(frozen=True, slots=True)
class Success:
    """A result that came under a lease; `machine` names the worker's, if that is known."""

    lease: Lease
    event: TrialSucceeded
    machine: str | None = None


def succeed(connection: Connection, successes: Sequence[Success], *, now: float) -> list[bool]:
    """Record results, with the checkpoints that stay; say of each whether it is on record.

    False where the lease is not valid, and nothing of this result was recorded before.
    """
    holdings = endings.lock_all(connection, [each.lease for each in successes])
    held = {each.lease: each for each in reversed(successes) if each.lease in holdings}
    results = [(holdings[lease], _result(holdings[lease], each)) for lease, each in held.items()]
    endings.succeed_all(connection, results, now=now)
    kept = {
        lease.trial_id: resuming.Kept(holdings[lease].keep, each.event.selected_epoch)
        for lease, each in held.items()
    }
    resuming.settle(connection, kept)
    return [
        each.lease in held or endings.answer_late(connection, each.lease, AttemptState.SUCCEEDED)
        for each in successes
    ]


def _result(holding: Holding, success: Success) -> dict[str, Any]:
    """Give what the columns of a trial say of its result."""
    event = success.event
    value = event.metrics.get(holding.objective.metric, math.nan)
    return {
        "metrics": encode_metrics(event.metrics),
        "objective_value": value if math.isfinite(value) else None,
        "selected_epoch": event.selected_epoch,
        "confusion": event.confusion,
        "duration_seconds": event.duration_seconds,
        "peak_memory_bytes": event.peak_memory_bytes,
        "machine": success.machine,
        "strategy": event.strategy,
    }


def fail(
    connection: Connection,
    lease: Lease,
    failure: Failure,
    *,
    now: float,
    told_as: IncidentKind | None = None,
) -> Retry | GiveUp | None:
    """Record a failure and decide what follows it; None where the lease is not valid.

    `told_as` is the incident that it makes, if any.
    """
    lost = failure.kind is FailureKind.LOST
    attempt_as = AttemptState.EXPIRED if lost else AttemptState.FAILED
    holding = endings.lock(connection, lease)
    if holding is None:
        endings.answer_late(connection, lease, attempt_as)
        return None
    further = lost and resuming.got_further(connection, lease)
    spent = charged(holding.spent, failure, got_further=further)
    decision = decide(failure, spent=spent, execution=holding.execution)
    if isinstance(decision, Retry) and holding.stop is Stop.CANCEL:
        decision = GiveUp(TrialState.CANCELLED, "it had been asked to stop")
    to, delay = (
        (TrialState.QUEUED, decision.delay_seconds)
        if isinstance(decision, Retry)
        else (decision.state, 0.0)
    )
    endings.end(
        connection,
        holding,
        now=now,
        to=to,
        attempt_as=attempt_as,
        failure=failure,
        values={"spent": spent, "available_at": now + delay if delay else AT_ONCE},
    )
    if told_as is not None:
        message = f"{holding.worker}: {failure.message}; {_followed(connection, lease, decision)}"
        _note(connection, holding, told_as, message, now=now)
    if isinstance(decision, GiveUp) and to is TrialState.QUARANTINED:
        message = f"{decision.reason}; set aside, so that the other trials go on"
        _note(connection, holding, IncidentKind.TRIAL_QUARANTINED, message, now=now)
    if to in BAD_STATES:
        _pause_when_too_many_failed(connection, holding, now=now)
    return decision


def hand_back(
    connection: Connection,
    lease: Lease,
    *,
    now: float,
    attempt_as: AttemptState,
    reason: str | None = None,
) -> TrialState | None:
    """End an attempt that did not finish and that is nobody's fault: no budget is charged.

    Gives the state its trial is in then: cancelled if that had been asked for, else queued;
    None where the lease is not valid. `reason` is kept with the trial and the attempt.
    """
    holding = endings.lock(connection, lease)
    if holding is None:
        endings.answer_late(connection, lease, attempt_as)
        return None
    to = TrialState.CANCELLED if holding.stop is Stop.CANCEL else TrialState.QUEUED
    failure = None if reason is None else Failure(FailureKind.LOST, "HandedBack", reason)
    endings.end(
        connection,
        holding,
        now=now,
        to=to,
        attempt_as=attempt_as,
        failure=failure,
        values={"available_at": AT_ONCE},
    )
    return to


def num_failed(experiment_id: str) -> ColumnElement[int]:
    """Count, as an SQL expression, an experiment's trials that ended badly."""
    return (
        select(func.count())
        .select_from(trial)
        .where(trial.c.experiment_id == experiment_id, trial.c.state.in_(BAD_STATES))
        .scalar_subquery()
    )


def _pause_when_too_many_failed(connection: Connection, holding: Holding, *, now: float) -> None:
    allowed = holding.execution.max_failed_trials
    if allowed is None:
        return
    its_row = experiment.c.id == holding.experiment_id
    name, failed = connection.execute(
        select(
            experiment.c.name, num_failed(holding.experiment_id) - experiment.c.failures_forgiven
        ).where(its_row)
    ).one()
    if failed < allowed:
        return
    trials = "trial" if failed == 1 else "trials"
    reason = f"{failed} {trials} failed (execution.max_failed_trials: {allowed})"
    paused = connection.execute(
        update(experiment)
        .where(its_row, experiment.c.paused_reason.is_(None))
        .values(paused_reason=reason)
    )
    if paused.rowcount == 1:
        message = (
            f"{reason}; no further trial is begun, those under way go on; "
            f"`trainyard resume {name}` lets it go on"
        )
        kind = IncidentKind.EXPERIMENT_PAUSED
        incidents.note(connection, kind, message, now=now, experiment_id=holding.experiment_id)


def _followed(connection: Connection, lease: Lease, decision: Retry | GiveUp) -> str:
    """Write what was done about a loss."""
    if isinstance(decision, GiveUp):
        return f"not tried again: {decision.reason}"
    points = resuming.resume_points(connection, [lease.trial_id]).get(lease.trial_id)
    return f"queued again, {f'goes on from epoch {points[0].epoch}' if points else 'starts anew'}"


def _note(
    connection: Connection, holding: Holding, kind: IncidentKind, message: str, *, now: float
) -> None:
    incidents.note(
        connection,
        kind,
        message,
        now=now,
        experiment_id=holding.experiment_id,
        trial_id=holding.lease.trial_id,
    )
