"""Reading what trials measured and saved: curves, confusion counts, checkpoints.

A trial that took the result of another one has none of its own; what it shows is read
through the link to that one.
"""

import math
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, func, select

from experiments.states import TrialState
from orchestrator.store.rows import CheckpointRow, Confusion, CurvePoint, RecordedFiles
from orchestrator.store.tables import checkpoint, experiment, metric, trial

_trained = trial.alias("trained")
_TRAINED_ID = func.coalesce(trial.c.reused_from, trial.c.id)


def curves(
    connection: Connection, of: ColumnElement[bool], *, metrics: Sequence[str] | None = None
) -> list[CurvePoint]:
    """Give the points of the trials that match, by trial, metric and step."""
    ids = select(trial.c.id).where(of, trial.c.reused_from.is_(None))
    points = _points(connection, metric.c.trial_id.in_(ids), metrics)
    takers: dict[str, list[str]] = {}
    links = select(trial.c.reused_from, trial.c.id).where(of, trial.c.reused_from.is_not(None))
    for source, taker in connection.execute(links):
        takers.setdefault(source, []).append(taker)
    if takers:
        sources = select(trial.c.reused_from).where(of, trial.c.reused_from.is_not(None))
        points += [
            point._replace(trial_id=taker)
            for point in _points(connection, metric.c.trial_id.in_(sources), metrics)
            for taker in takers[point.trial_id]
        ]
        points.sort(key=lambda point: (point.trial_id, point.metric, point.step))
    return points


def _points(
    connection: Connection, which: ColumnElement[bool], metrics: Sequence[str] | None
) -> list[CurvePoint]:
    columns = [metric.c[name] for name in CurvePoint._fields]
    query = select(*columns).where(which)
    query = query.order_by(metric.c.trial_id, metric.c.metric, metric.c.step)
    if metrics is not None:
        query = query.where(metric.c.metric.in_(metrics))
    return [
        CurvePoint(trial_id, name, epoch, step, math.nan if value is None else value, ms)
        for trial_id, name, epoch, step, value, ms in connection.execute(query)
    ]


def confusions(connection: Connection, of: ColumnElement[bool]) -> Mapping[str, Confusion]:
    """Give how the networks of the trials that match answered, by trial; of those that have it."""
    query = (
        select(trial.c.id, _trained.c.confusion, experiment.c.class_names)
        .join_from(trial, experiment)
        .join(_trained, _trained.c.id == _TRAINED_ID)
        .where(of, _trained.c.confusion.is_not(None))
    )
    return {
        trial_id: Confusion(tuple(names or map(str, range(len(counts)))), tuple(map(tuple, counts)))
        for trial_id, counts, names in connection.execute(query)
    }


def checkpoints(connection: Connection, trial_id: str) -> list[CheckpointRow]:
    """Give the checkpoints on record that a trial shows, the newest first."""
    columns = [checkpoint.c[name] for name in CheckpointRow.__dataclass_fields__]
    source = select(_TRAINED_ID).where(trial.c.id == trial_id).scalar_subquery()
    query = select(*columns).where(checkpoint.c.trial_id == source)
    rows = connection.execute(query.order_by(checkpoint.c.fence.desc(), checkpoint.c.epoch.desc()))
    return [CheckpointRow(*row) for row in rows]


def recorded_files(connection: Connection, trial_ids: Collection[str]) -> tuple[RecordedFiles, ...]:
    """Give the checkpoints on record of the trials that exist, their own alone."""
    query = (
        select(trial.c.id, trial.c.state, trial.c.fence, checkpoint.c.fence, checkpoint.c.path)
        .join_from(trial, checkpoint, isouter=True)
        .where(trial.c.id.in_(trial_ids))
        .order_by(trial.c.id, checkpoint.c.fence, checkpoint.c.epoch)
    )
    found: dict[str, RecordedFiles] = {}
    for trial_id, state, fence, its_fence, path in connection.execute(query):
        before = found[trial_id].files if trial_id in found else ()
        files = before if path is None else (*before, (its_fence, path))
        found[trial_id] = RecordedFiles(trial_id, TrialState(state), fence, files)
    return tuple(found.values())
