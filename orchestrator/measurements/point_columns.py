"""Reading very many measured points, column by column, as each of the databases gives them fastest.

SQLite runs in this process, and gives rows. PostgreSQL would write, send and have read again each
number as text; there the numbers of a curve come as one string of bytes.
"""

import math
from collections.abc import Sequence
from sys import intern
from typing import Final

from sqlalchemy import ColumnElement, Connection, LargeBinary, func, literal_column, select

from orchestrator.store.rows import CurveColumns, CurvePoint
from orchestrator.store.tables import metric

_ROWS_AT_ONCE: Final = 10_000
_PACKED: Final = [("step", ">i4"), ("epoch", ">i4"), ("value", ">f8"), ("timestamp_ms", ">i8")]
"""A point as PostgreSQL's own binary forms put it (int4send, float8send, int8send): 24 bytes."""


def point_columns(
    connection: Connection, which: ColumnElement[bool], metrics: Sequence[str] | None
) -> CurveColumns:
    """Give the points that match, of all metrics or of some, by trial, metric and step."""
    if metrics is not None:
        which &= metric.c.metric.in_(metrics)
    read = _by_curve if connection.dialect.name == "postgresql" else _by_row
    return read(connection, which)


def _by_row(connection: Connection, which: ColumnElement[bool]) -> CurveColumns:
    query = select(*(metric.c[name] for name in CurvePoint._fields)).where(which)
    query = query.order_by(metric.c.trial_id, metric.c.metric, metric.c.step)
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


def _by_curve(connection: Connection, which: ColumnElement[bool]) -> CurveColumns:
    import numpy as np  # late: the command line's quick verbs read this module too

    point = func.int4send(metric.c.step).op("||")(func.int4send(metric.c.epoch))
    point = point.op("||")(func.float8send(func.coalesce(metric.c.value, literal_column("'NaN'"))))
    point = point.op("||")(func.int8send(metric.c.timestamp_ms))
    packed = func.string_agg(point, literal_column("''::bytea"), type_=LargeBinary)
    curve = (metric.c.trial_id, metric.c.metric)
    query = select(*curve, packed).where(which).group_by(*curve).order_by(*curve)
    columns = CurveColumns.empty()
    for trial_id, name, written in connection.execute(query):
        points = np.frombuffer(written, _PACKED)
        if (points["step"][1:] < points["step"][:-1]).any():
            points = np.sort(points, order="step")  # an aggregate promises no order
        columns.trial_id.extend([intern(trial_id)] * len(points))
        columns.metric.extend([intern(name)] * len(points))
        columns.epoch.frombytes(points["epoch"].astype(np.int64).tobytes())
        columns.step.frombytes(points["step"].astype(np.int64).tobytes())
        columns.value.frombytes(points["value"].astype(np.float64).tobytes())
        columns.timestamp_ms.frombytes(points["timestamp_ms"].astype(np.int64).tobytes())
    return columns
