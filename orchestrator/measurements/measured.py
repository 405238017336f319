"""Reading what trials measured and saved: curves, confusion counts, checkpoints.

A trial that took the result of another one has none of its own; what it shows is read
through the link to that one.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, func, select

from experiments.states import TrialState
from orchestrator.measurements.point_columns import point_columns
from orchestrator.store.rows import CheckpointRow, Confusion, CurveColumns, RecordedFiles
from orchestrator.store.tables import checkpoint, experiment, metric, trial

_trained = trial.alias("trained")
_TRAINED_ID = func.coalesce(trial.c.reused_from, trial.c.id)


def curves(
    connection: Connection, of: ColumnElement[bool], *, metrics: Sequence[str] | None = None
) -> CurveColumns:
    """Give the points of the trials that match, by trial, metric and step."""
    links = connection.execute(select(trial.c.id, _TRAINED_ID).where(of)).all()
    trained = metric.c.trial_id.in_(select(_TRAINED_ID).where(of))
    found = point_columns(connection, trained, metrics)
    if all(trial_id == source for trial_id, source in links):
        return found
    places, end = dict[str, slice](), 0
    for source, of_it in groupby(found.trial_id):
        start, end = end, end + sum(1 for _ in of_it)
        places[source] = slice(start, end)
    shown = CurveColumns.empty()
    for trial_id, source in sorted((row.id, row[1]) for row in links if row[1] in places):
        place = places[source]
        shown.trial_id.extend([trial_id] * (place.stop - place.start))
        shown.metric.extend(found.metric[place])
        shown.epoch.extend(found.epoch[place])
        shown.step.extend(found.step[place])
        shown.value.extend(found.value[place])
        shown.timestamp_ms.extend(found.timestamp_ms[place])
    return shown


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
