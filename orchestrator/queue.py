"""The durable queue: trials go in, are leased to workers, and come to exactly one end.

The contract, on SQLite and PostgreSQL alike:

- A submitted trial is in the store until it is terminal; a terminal trial stays as it is.
- Whoever claims a trial gets a lease with a new, higher fence. At most one lease of a
  trial is valid; whatever comes under another one changes nothing.
- Saying the same thing twice, because the first answer was lost, is saying it once.
- Time is the database's. It decides when a lease may be taken back, never who is right.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, select, update

from experiments.records import Experiment, Failure, Resources, Trial, TrialSucceeded
from experiments.states import AttemptState, FailureKind, TrialState
from orchestrator import claiming, endings, interventions
from orchestrator.claiming import Claim
from orchestrator.database import Clock, database_now, reading, writing
from orchestrator.interventions import Cancellation
from orchestrator.leases import Lease, valid
from orchestrator.retry import GiveUp, Retry, decide
from orchestrator.rows import encode_metrics
from orchestrator.submission import Submission, insert_experiment
from orchestrator.tables import AT_ONCE, IS_LEASED, trial


@dataclass(frozen=True, slots=True)
class Renewal:
    """Which leases are still ours, and which of these belong to trials asked to stop."""

    held: frozenset[Lease]
    stopping: frozenset[Lease]


class Queue:
    """All that may happen to a trial; each method is one transaction.

    `now` gives the present time as SQL; tests put a clock of their own there.
    """

    def __init__(self, engine: Engine, *, now: Clock = database_now) -> None:
        self._engine = engine
        self._now = now

    def submit(
        self,
        experiment: Experiment,
        trials: Sequence[Trial],
        *,
        class_names: Sequence[str] = (),
        git_commit: str | None = None,
    ) -> Submission:
        """Record an experiment with its trials, all of them queued; again changes nothing.

        `class_names` are the data set's; empty where its targets are no classes.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            new = insert_experiment(
                connection,
                experiment,
                trials,
                class_names=class_names,
                now=now,
                git_commit=git_commit,
            )
        return Submission(experiment.id, new)

    def demand(self) -> dict[Resources, int]:
        """Count the trials that wait, by what a worker for them needs, first in line first.

        Beyond a thousand of an experiment it does not count on.
        """
        with reading(self._engine) as connection:
            return claiming.demand(connection)

    def claim(
        self,
        *,
        worker: str,
        limit: int,
        lease_seconds: float,
        resources: Resources,
    ) -> tuple[Claim, ...]:
        """Lease up to `limit` trials to a worker of that size: all of one experiment.

        First by priority, then by age of the experiment, then by number. Trials that
        wait after a failure, and those of paused experiments, are passed over.
        """
        rows: Sequence[Row[Any]] = ()
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            for candidate in claiming.in_line(connection, resources, now=now):
                rows = claiming.lease_next(
                    connection,
                    candidate.id,
                    worker=worker,
                    limit=limit,
                    lease_seconds=lease_seconds,
                    now=now,
                )
                if rows:
                    break
        return tuple(claiming.read_claim(row, candidate) for row in rows)

    def renew(self, leases: Iterable[Lease], *, lease_seconds: float) -> Renewal:
        """Prolong the leases that are still ours, and learn which trials should stop."""
        asked = valid(leases).with_only_columns(trial.c.id)
        with writing(self._engine) as connection:
            rows = connection.execute(
                update(trial)
                .where(trial.c.id.in_(asked))
                .values(lease_expires_at=self._now() + lease_seconds)
                .returning(trial.c.id, trial.c.fence, trial.c.stop_requested)
            ).all()
        return Renewal(
            held=frozenset(Lease(row.id, row.fence) for row in rows),
            stopping=frozenset(Lease(row.id, row.fence) for row in rows if row.stop_requested),
        )

    def succeed(self, lease: Lease, event: TrialSucceeded, *, machine: str | None = None) -> bool:
        """Record a result, once; False where the lease had passed on and nothing changed.

        `machine` names the worker's (`machine.fingerprint`), if that is known.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            holding = endings.lock(connection, lease)
            if holding is None:
                return endings.answer_late(connection, lease, AttemptState.SUCCEEDED)
            value = event.metrics.get(holding.objective.metric, math.nan)
            endings.end(
                connection,
                holding,
                now=now,
                to=TrialState.SUCCEEDED,
                attempt_as=AttemptState.SUCCEEDED,
                values={
                    "metrics": encode_metrics(event.metrics),
                    "objective_value": value if math.isfinite(value) else None,
                    "selected_epoch": event.selected_epoch,
                    "confusion": event.confusion,
                    "duration_seconds": event.duration_seconds,
                    "peak_memory_bytes": event.peak_memory_bytes,
                    "machine": machine,
                },
            )
            return True

    def fail(self, lease: Lease, failure: Failure) -> Retry | GiveUp | None:
        """Record a failure and decide what follows it.

        None where nothing changed: it was recorded before, or the lease had passed on.
        """
        with writing(self._engine) as connection:
            return self._fail(connection, lease, failure)

    def lose(self, lease: Lease, reason: str) -> Retry | GiveUp | None:
        """Record that the worker went away; otherwise as `fail`."""
        return self.fail(lease, Failure(FailureKind.LOST, "WorkerLost", reason))

    def release(self, lease: Lease) -> TrialState | None:
        """Hand a trial back unfinished, which counts as no failure.

        Gives the state it is in now: cancelled if it had been asked to stop, else queued;
        None where nothing changed.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            holding = endings.lock(connection, lease)
            if holding is None:
                endings.answer_late(connection, lease, AttemptState.CANCELLED)
                return None
            to = TrialState.CANCELLED if holding.stop_requested else TrialState.QUEUED
            endings.end(
                connection,
                holding,
                now=now,
                to=to,
                attempt_as=AttemptState.CANCELLED,
                values={"available_at": AT_ONCE},
            )
            return to

    def expire(self) -> tuple[Lease, ...]:
        """Take back the leases that were not renewed in time; they count as lost workers."""
        overdue = IS_LEASED & (trial.c.lease_expires_at <= self._now())
        with reading(self._engine) as connection:
            rows = connection.execute(select(trial.c.id, trial.c.fence).where(overdue)).all()
        failure = Failure(FailureKind.LOST, "LeaseExpired", "its lease was not renewed in time")
        expired = []
        for lease in (Lease(*row) for row in rows):
            with writing(self._engine) as connection:
                # Asked again under the lock: it may have been renewed just now.
                if self._fail(connection, lease, failure, only_if=overdue):
                    expired.append(lease)
        return tuple(expired)

    def take_back(self) -> int:
        """Queue again all that is leased, which counts as nobody's failure or loss.

        Only for the sole orchestrator of a store, as it starts: whoever held these leases
        is gone, and waiting for them to expire would help nobody. Gives their number.
        """
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            rows = connection.execute(select(trial.c.id, trial.c.fence).where(IS_LEASED)).all()
            for lease in (Lease(*row) for row in rows):
                holding = endings.lock(connection, lease)
                assert holding is not None, lease
                endings.end(
                    connection,
                    holding,
                    now=now,
                    to=TrialState.CANCELLED if holding.stop_requested else TrialState.QUEUED,
                    attempt_as=AttemptState.EXPIRED,
                    values={"available_at": AT_ONCE},
                )
        return len(rows)

    def cancel(
        self, *, experiment_id: str | None = None, trial_id: str | None = None
    ) -> Cancellation:
        """Cancel an experiment's trials, or one: the queued at once, the leased soon."""
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            return interventions.cancel(connection, _scope(experiment_id, trial_id), now=now)

    def retry(
        self,
        *,
        experiment_id: str | None = None,
        trial_id: str | None = None,
        states: Collection[TrialState] = (TrialState.FAILED, TrialState.QUARANTINED),
    ) -> int:
        """Queue again what ended in one of `states`, and go on where an experiment paused."""
        with writing(self._engine) as connection:
            now = self._read_clock(connection)
            scope = _scope(experiment_id, trial_id)
            return interventions.retry(connection, scope, states=states, now=now)

    def _fail(
        self,
        connection: Connection,
        lease: Lease,
        failure: Failure,
        *,
        only_if: ColumnElement[bool] | None = None,
    ) -> Retry | GiveUp | None:
        lost = failure.kind is FailureKind.LOST
        attempt_as = AttemptState.EXPIRED if lost else AttemptState.FAILED
        now = self._read_clock(connection)
        holding = endings.lock(connection, lease, only_if=only_if)
        if holding is None:
            endings.answer_late(connection, lease, attempt_as)
            return None
        failures, losses = holding.failures + (not lost), holding.losses + lost
        decision = decide(failure, failures=failures, losses=losses, retries=holding.retries)
        if isinstance(decision, Retry) and holding.stop_requested:
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
            values={
                "failures": failures,
                "losses": losses,
                "available_at": now + delay if delay else AT_ONCE,
            },
        )
        return decision

    def _read_clock(self, connection: Connection) -> float:
        return connection.execute(select(self._now())).scalar_one()


def _scope(experiment_id: str | None, trial_id: str | None) -> ColumnElement[bool]:
    assert (experiment_id is None) != (trial_id is None), "name an experiment or a trial"
    return (
        trial.c.id == trial_id
        if experiment_id is None
        else (trial.c.experiment_id == experiment_id)
    )
