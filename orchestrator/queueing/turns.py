"""Whose turn it is: the experiments with trials that may be claimed, and what orders them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, literal_column, select

from experiments.records import CheckpointPolicy, Execution, Resources
from orchestrator.queueing.retry import LONGEST_DELAY_SECONDS
from orchestrator.queueing.reuse import IS_KNOWN, is_found
from orchestrator.store.tables import IS_LEASED, IS_QUEUED, experiment, trial

COUNTED_AT_MOST: Final = 200
"""More waiting trials of one experiment make no difference, unless there are many workers."""

# Workers and no trials: a pack is no more of a share than a trial that is trained alone.
_NUM_WORKERS = (
    select(func.count(trial.c.worker.distinct()))
    .select_from(trial)
    .where(trial.c.experiment_id == experiment.c.id, IS_LEASED)
    .correlate(experiment)
    .scalar_subquery()
)
_twin = trial.alias("twin")
_TWIN_IS_LEASED = is_found(
    select(_twin.c.id).where(
        _twin.c.shared_key == trial.c.shared_key, _twin.c.state == literal_column("'leased'")
    )
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An experiment in line, with what decides its turn.

    `num_waiting` counts the trials that may be claimed, as far as was asked for.
    """

    id: str
    resources: Resources
    execution: Execution
    checkpoints: CheckpointPolicy
    created_at: float
    num_workers: int
    num_waiting: int

    def turn(self, served: Mapping[str, int]) -> tuple[Any, ...]:
        """Give what orders claims: fair within a priority, so that no large grid blocks the line.

        Who has the fewest workers, then who was served longest ago (`served` counts
        up), then the oldest.
        """
        last = served.get(self.id, 0)
        return (-self.execution.priority, self.num_workers, last, self.created_at, self.id)

    def need(self, served: Mapping[str, int]) -> tuple[Any, ...]:
        """Give what orders the demand for workers, which should not change with every trial.

        Who has none under way goes first, as in `turn`; the others by age.
        """
        last = 0 if self.num_workers else served.get(self.id, 0)
        return (-self.execution.priority, self.num_workers > 0, last, self.created_at, self.id)


def in_line(
    connection: Connection, *, now: float, resources: Resources | None = None, count_to: int = 1
) -> list[Candidate]:
    """Give the experiments with a trial that may be claimed (by a worker of that size)."""
    # The order and the limits keep PostgreSQL to the index of queued trials: an EXISTS it
    # would turn into a join that reads all of them.
    waiting = (
        select(trial.c.number)
        .where(trial.c.experiment_id == experiment.c.id, *may_be_claimed(now))
        .order_by(trial.c.number)
        .correlate(experiment)
    )
    counted = waiting.limit(count_to).subquery()
    columns: list[ColumnElement[Any]] = [
        experiment.c[name]
        for name in ("id", "execution", "checkpoints", "created_at", "cpus", "gpus")
    ]
    num_waiting = select(func.count()).select_from(counted).scalar_subquery()
    columns += [_NUM_WORKERS.label("num_workers"), num_waiting.label("num_waiting")]
    query = select(*columns).where(
        experiment.c.paused_reason.is_(None), waiting.limit(1).scalar_subquery().is_not(None)
    )
    if resources is not None:
        query = query.where(
            experiment.c.cpus == resources.cpus, experiment.c.gpus == resources.gpus
        )
    return [_candidate(row) for row in connection.execute(query)]


def demand(
    connection: Connection, served: Mapping[str, int], *, now: float, count_to: int
) -> dict[Resources, int]:
    """Count the trials that may be claimed by the worker they need, first in line first.

    Of each experiment no more than `count_to`: this is asked at every turn.
    """
    candidates = in_line(connection, now=now, count_to=count_to)
    waiting: dict[Resources, int] = {}
    for each in sorted(candidates, key=lambda candidate: candidate.need(served)):
        waiting[each.resources] = waiting.get(each.resources, 0) + each.num_waiting
    return waiting


def may_be_claimed(now: float) -> list[ColumnElement[bool]]:
    """Say of a trial that it waits for nothing but a worker.

    Not for its time (one further off than any delay was set before the clock was), nor for a
    person's `resume`, nor for the result of another trial that is, or will be, its own.
    """
    available_at = trial.c.available_at
    return [
        IS_QUEUED,
        (available_at <= now) | (available_at > now + LONGEST_DELAY_SECONDS),
        ~trial.c.is_paused,
        ~_TWIN_IS_LEASED,
        ~IS_KNOWN,
    ]


def _candidate(row: Row[Any]) -> Candidate:
    policy = row.checkpoints
    return Candidate(
        id=row.id,
        resources=Resources(cpus=row.cpus, gpus=row.gpus),
        execution=Execution(**row.execution),
        checkpoints=CheckpointPolicy(policy["every_epochs"], tuple(policy["keep"])),
        created_at=row.created_at,
        num_workers=row.num_workers,
        num_waiting=row.num_waiting,
    )
