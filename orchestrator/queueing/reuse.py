"""Results that are known already, given to trials that would only compute them again.

A content key is the hash of all that decides a trial's numbers (`content_keys.py`); a trial
that may take a known result has it as its shared key, too. What is compared is copied. The
rest (curve, confusion counts, checkpoints) stays with the source, the trial that was trained,
and is read through the link. So the source must have the checkpoints that the taker keeps.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
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
from orchestrator.store.tables import IS_QUEUED, checkpoint, experiment, metric, trial

_KINDS: Final = ("best", "last")  # of checkpoints
_COPIED: Final = (
    "metrics",
    "objective_value",
    "selected_epoch",
    "duration_seconds",
    "peak_memory_bytes",
    "machine",
)


def is_found(query: Select[Any], *, of: FromClause = trial) -> ColumnElement[bool]:
    """Say, as an SQL expression, whether a query finds a row that goes with one of the table `of`.

    Written so that PostgreSQL looks for each of these by itself, and expects to be lucky. An
    EXISTS it would turn into a join, or a table in memory, that reads all of them.
    """
    one = query.with_only_columns(true()).limit(1).correlate(of).scalar_subquery()
    return func.coalesce(one, false())


def may_give(source: FromClause, keeps: Mapping[str, ColumnElement[bool]]) -> ColumnElement[bool]:
    """Say, of the table `trial` or an alias of it, whether a row may give others its result.

    It has succeeded by its own training, so that every link leads to a trial that was trained,
    and has on record a checkpoint of every kind that the others keep: `keeps` says of a kind
    whether they do.
    """
    return and_(
        source.c.state == literal_column("'succeeded'"),
        source.c.reused_from.is_(None),
        *(~is_kept | _has_on_record(source, kind) for kind, is_kept in keeps.items()),
    )


def _has_on_record(source: FromClause, kind: str) -> ColumnElement[bool]:
    of_it = (checkpoint.c.trial_id == source.c.id) & (checkpoint.c.kind == kind)
    return is_found(select(checkpoint).where(of_it), of=source)


def _taker_keeps(kind: str) -> ColumnElement[bool]:
    """Look up whether a trial's experiment keeps checkpoints of a kind.

    A subquery and no join, so that it is asked only where a result of the same key was found.
    """
    asking = experiment.alias("asking")
    keep = asking.c.checkpoints["keep"].as_string()
    its_own = asking.c.id == trial.c.experiment_id
    return select(keep.contains(f'"{kind}"')).where(its_own).correlate(trial).scalar_subquery()


_source = trial.alias("source")
_same_key = select(_source.c.id).where(
    _source.c.content_key == trial.c.shared_key,
    may_give(_source, {kind: _taker_keeps(kind) for kind in _KINDS}),
)

IS_KNOWN: Final = is_found(_same_key)
"""Whether a trial may take a result that is there."""

_SOURCE_ID: Final = (
    _same_key.order_by(_source.c.finished_at, _source.c.id)
    .limit(1)
    .correlate(trial)
    .scalar_subquery()
)


def with_known_result(
    connection: Connection, *, limit: int, sources: Collection[str] | None = None
) -> Sequence[str]:
    """Give queued trials, up to so many, whose result is known.

    With `sources` those alone of the same configuration as these trials: all that wait need not
    be looked through then.
    """
    query = select(trial.c.id).where(IS_QUEUED, IS_KNOWN)
    if sources is not None:
        keys = select(_source.c.content_key).where(_source.c.id.in_(sources))
        query = query.where(trial.c.content_key.in_(keys))
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
