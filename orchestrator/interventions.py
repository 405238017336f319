"""What a person may do to trials after they were submitted: cancel them, or ask again.

An experiment's row is locked before those of its trials, here as in endings, so that
the two never wait for each other.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, select, update

from experiments.states import TRANSITIONS, TrialState
from orchestrator import outbox
from orchestrator.endings import finished_variants
from orchestrator.tables import AT_ONCE, IS_LEASED, IS_QUEUED, experiment, trial
from orchestrator.tables import outbox as outbox_table

_CHUNK = 1000  # ids in one statement


@dataclass(frozen=True, slots=True)
class Cancellation:
    """How many trials were cancelled at once, and how many are asked to stop."""

    num_cancelled: int
    num_stopping: int


def cancel(connection: Connection, scope: ColumnElement[bool], *, now: float) -> Cancellation:
    """Cancel the queued trials in `scope` and ask the leased ones to stop."""
    assert TrialState.CANCELLED in TRANSITIONS[TrialState.QUEUED]
    rows = _lock(connection, scope, trial.c.state.in_([TrialState.QUEUED, TrialState.LEASED]))
    queued = [row for row in rows if row.state == TrialState.QUEUED]
    for ids in _chunks([row.id for row in queued]):
        connection.execute(
            update(trial)
            .where(trial.c.id.in_(ids), IS_QUEUED)
            .values(state=TrialState.CANCELLED, finished_at=now)
        )
    for ids in _chunks([row.id for row in rows if row.state == TrialState.LEASED]):
        connection.execute(
            update(trial).where(trial.c.id.in_(ids), IS_LEASED).values(stop_requested=True)
        )
    _announce(connection, queued, now=now)
    return Cancellation(len(queued), len(rows) - len(queued))


def retry(
    connection: Connection,
    scope: ColumnElement[bool],
    *,
    states: Collection[TrialState],
    now: float,
) -> int:
    """Queue again the trials in `scope` that ended in one of `states`, with fresh budgets.

    Their experiments go on where they were paused. Gives how many trials were queued.
    """
    assert all(TrialState.QUEUED in TRANSITIONS[state] for state in states), states
    rows = _lock(connection, scope, trial.c.state.in_(list(states)))
    for ids in _chunks([row.id for row in rows]):
        connection.execute(
            update(trial)
            .where(trial.c.id.in_(ids))
            .values(
                state=TrialState.QUEUED,
                available_at=AT_ONCE,
                queued_at=now,
                finished_at=None,
                failures=0,
                losses=0,
                failure=None,
                stop_requested=False,
            )
        )
        # What had not been told yet is no longer so; the next ending will be.
        connection.execute(
            update(outbox_table)
            .where(outbox_table.c.kind == outbox.TRIAL, outbox_table.c.key.in_(ids))
            .values(done_at=now, revision=outbox_table.c.revision + 1)
        )
    connection.execute(
        update(experiment)
        .where(experiment.c.id.in_({row.experiment_id for row in rows}))
        .values(paused_reason=None)
    )
    return len(rows)


def _lock(
    connection: Connection, scope: ColumnElement[bool], condition: ColumnElement[bool]
) -> list[Row[tuple[str, str, str, str]]]:
    """Lock the experiments, then the trials; give (id, experiment_id, variant, state)."""
    experiments = select(trial.c.experiment_id).where(scope)
    connection.execute(
        select(experiment.c.id)
        .where(experiment.c.id.in_(experiments))
        .order_by(experiment.c.id)
        .with_for_update(key_share=True)
    ).all()
    query = (
        select(trial.c.id, trial.c.experiment_id, trial.c.variant, trial.c.state)
        .where(scope, condition)
        .order_by(trial.c.id)
        .with_for_update(key_share=True)
    )
    return list(connection.execute(query))


def _announce(
    connection: Connection, ended: list[Row[tuple[str, str, str, str]]], *, now: float
) -> None:
    """Do what `endings.announce` does, for thousands of trials: few statements for all."""
    outbox.enqueue(connection, outbox.TRIAL, [row.id for row in ended], now=now)
    variants: dict[str, set[str]] = {}
    for row in ended:
        variants.setdefault(row.experiment_id, set()).add(row.variant)
    for experiment_id, its_variants in variants.items():
        for names in _chunks(sorted(its_variants)):
            finished = finished_variants(connection, experiment_id, names)
            keys = [f"{experiment_id}/{name}" for name in finished]
            outbox.enqueue(connection, outbox.MODEL, keys, now=now)


def _chunks(items: list[str]) -> list[list[str]]:
    return [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
