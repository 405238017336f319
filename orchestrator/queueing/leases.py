"""The fence check: the one clause that every write of a worker's must pass.

A lease is valid while its trial is leased under the lease's fence, whatever the clock
says: an expired lease that nobody has taken back yet still excludes all others.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, select, tuple_

from orchestrator.store.tables import IS_LEASED, experiment, trial


class Stop(StrEnum):
    """Why an attempt is asked to stop, which decides where its trial goes then."""

    CANCEL = "cancel"
    """A person wants no more of the trial."""
    PAUSE = "pause"
    """A person wants it to wait: it is queued again."""


@dataclass(frozen=True, slots=True)
class Lease:
    """An attempt's right to a trial: the fence tells it from all earlier and later ones."""

    trial_id: str
    fence: int


def holds(lease: Lease) -> ColumnElement[bool]:
    """Give the clause that is true of the lease's trial while the lease is valid."""
    return (trial.c.id == lease.trial_id) & (trial.c.fence == lease.fence) & IS_LEASED


def holds_one_of(leases: Iterable[Lease]) -> ColumnElement[bool]:
    """Give the clause that is true of a trial while one of the leases, which is its, is valid.

    It names the ids by themselves, too: by pairs alone SQLite would look through all trials.
    """
    pairs = [(lease.trial_id, lease.fence) for lease in leases]
    ids = [trial_id for trial_id, _ in pairs]
    return trial.c.id.in_(ids) & tuple_(trial.c.id, trial.c.fence).in_(pairs) & IS_LEASED


def valid(leases: Iterable[Lease]) -> Select[tuple[str, int]]:
    """Select (id, fence) of the leases that are valid, and lock their trials.

    Locked in the order of ids, so that no two transactions wait for each other.
    """
    return (
        select(trial.c.id, trial.c.fence)
        .where(holds_one_of(leases))
        .order_by(trial.c.id)
        .with_for_update(key_share=True)
    )


def valid_leases(connection: Connection, leases: Iterable[Lease]) -> frozenset[Lease]:
    """Give those of the leases that are valid, which they stay until the transaction ends."""
    return frozenset(Lease(row.id, row.fence) for row in connection.execute(valid(leases)))


def lock_experiments(connection: Connection, scope: ColumnElement[bool]) -> None:
    """Lock the experiments of the trials in `scope`.

    They come before any trial, here as in endings, and each in the order of ids, so that no
    two transactions wait for each other.
    """
    ids = connection.scalars(select(trial.c.experiment_id).where(scope).distinct()).all()
    connection.execute(
        select(experiment.c.id)
        .where(experiment.c.id.in_(ids))
        .order_by(experiment.c.id)
        .with_for_update(key_share=True)
    ).all()


def lock_trials(
    connection: Connection, scope: ColumnElement[bool], condition: ColumnElement[bool]
) -> list[Row[Any]]:
    """Lock the experiments in `scope`, then those of its trials that fulfil the condition.

    Rows are (id, experiment_id, variant, state, fence, orchestrator).
    """
    lock_experiments(connection, scope)
    names = ("id", "experiment_id", "variant", "state", "fence", "orchestrator")
    query = select(*(trial.c[name] for name in names)).where(scope, condition).order_by(trial.c.id)
    return list(connection.execute(query.with_for_update(key_share=True)))
