"""Reading what trials measured and saved: curves, confusion counts, checkpoints.

A trial that took the result of another one has none of its own; what it shows is read
through the link to that one.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from sys import intern
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, select

from experiments.states import TrialState
from orchestrator.store.rows import (
    CheckpointRow,
    Confusion,
    CurveColumns,
    CurvePoint,
    RecordedFiles,
)
from orchestrator.store.tables import checkpoint, experiment, metric, trial

_ROWS_AT_ONCE: Final = 10_000

_trained = trial.alias("trained")
_TRAINED_ID = func.coalesce(trial.c.reused_from, trial.c.id)


def curves(
    connection: Connection, of: ColumnElement[bool], *, metrics: Sequence[str] | None = None
) -> CurveColumns:
    """Give the points of the trials that match, by trial, metric and step."""
    links = connection.execute(select(trial.c.id, _TRAINED_ID).where(of)).all()
    trained = metric.c.trial_id.in_(select(_TRAINED_ID).where(of))
    found = _columns(connection, trained, metrics)
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


def _columns(
    connection: Connection, which: ColumnElement[bool], metrics: Sequence[str] | None
) -> CurveColumns:
    query = select(*(metric.c[name] for name in CurvePoint._fields)).where(which)
    query = query.order_by(metric.c.trial_id, metric.c.metric, metric.c.step)
    if metrics is not None:
        query = query.where(metric.c.metric.in_(metrics))
    columns = CurveColumns.empty()
    # The driver's own tuples, since records would take longer than all the rest; and in parts,
    # which are gone before there are many for the garbage collector to visit.
    cursor = connection.execute(query).cursor
    assert cursor is not None, "a SELECT gives rows"
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        trial_ids, names, epochs, steps, values, times = zip(*rows, strict=True)
        columns.trial_id.extend(map(intern, trial_ids))
        columns.metric.extend(map(intern, names))
        columns.epoch.extend(epochs)
        columns.step.extend(steps)
        columns.value.extend([math.nan if value is None else value for value in values])
        columns.timestamp_ms.extend(times)
    return columns


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
