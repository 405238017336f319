"""Results that are known already, given to trials that would only compute them again.

A content key is the hash of all that decides a trial's numbers (`content_keys.py`); a trial
that may take a known result has it as its shared key, too. What is compared is copied. The
rest (curve, confusion counts, checkpoints) stays with the source, the trial that was trained,
and is read through the link.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    delete,
    false,
    func,
    literal_column,
    select,
    true,
    update,
)

from experiments.states import TRANSITIONS, TrialState
from orchestrator.queueing.endings import Ended, announce, chunks
from orchestrator.queueing.leases import lock_trials
from orchestrator.store.tables import IS_QUEUED, checkpoint, metric, trial

_COPIED: Final = (
    "metrics",
    "objective_value",
    "selected_epoch",
    "duration_seconds",
    "peak_memory_bytes",
    "machine",
)


def is_found(query: Select[Any]) -> ColumnElement[bool]:
    """Say, as an SQL expression, whether a query that looks at other trials finds one.

    Written so that PostgreSQL looks for each trial by itself, and expects to be lucky. An EXISTS
    it would turn into a join that reads all of them.
    """
    one = query.with_only_columns(true()).limit(1).correlate(trial).scalar_subquery()
    return func.coalesce(one, false())


_source = trial.alias("source")
_same_key = select(_source.c.id).where(
    _source.c.content_key == trial.c.shared_key,
    _source.c.state == literal_column("'succeeded'"),
)

IS_KNOWN: Final = is_found(_same_key)
"""Whether a trial may take a result that is there."""

# What was itself taken is no source, so that every link leads to a trial that was trained.
_SOURCE_ID: Final = (
    _same_key.where(_source.c.reused_from.is_(None))
    .order_by(_source.c.finished_at, _source.c.id)
    .limit(1)
    .correlate(trial)
    .scalar_subquery()
)


def with_known_result(connection: Connection, *, limit: int) -> Sequence[str]:
    """Give queued trials, up to so many, whose result is known."""
    query = select(trial.c.id).where(IS_QUEUED, IS_KNOWN)
    return connection.scalars(query.limit(limit)).all()


def give_known(connection: Connection, scope: ColumnElement[bool], *, now: float) -> int:
    """Give the queued trials in `scope` the results that are known, and say so to MLflow.

    What earlier attempts of theirs measured and saved goes. Gives the number of trials.
    """
    assert TrialState.SUCCEEDED in TRANSITIONS[TrialState.QUEUED]
    rows = lock_trials(connection, scope, IS_QUEUED & IS_KNOWN)
    if not rows:
        return 0
    copied = {name: _source.c[name] for name in _COPIED}
    for ids in chunks([row.id for row in rows]):
        takers = trial.c.id.in_(ids)
        connection.execute(update(trial).where(takers).values(reused_from=_SOURCE_ID))
        connection.execute(
            update(trial)
            .where(takers, _source.c.id == trial.c.reused_from)
            .values(state=TrialState.SUCCEEDED, failure=None, finished_at=now, **copied)
        )
    for ids in chunks([row.id for row in rows if row.fence > 0]):
        connection.execute(delete(metric).where(metric.c.trial_id.in_(ids)))
        connection.execute(delete(checkpoint).where(checkpoint.c.trial_id.in_(ids)))
    announce(connection, [Ended(row.id, row.experiment_id, row.variant) for row in rows], now=now)
    return len(rows)
