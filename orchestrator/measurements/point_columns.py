"""Reading very many measured points, column by column, as each of the databases gives them fastest.

SQLite runs in this process, and gives rows. PostgreSQL would write, send and have read again each
number as text; there the numbers of a curve come as one string of bytes.
"""

import math
from collections.abc import Sequence
from itertools import chain
from sys import intern
from typing import Final

from sqlalchemy import ColumnElement, Connection, LargeBinary, func, literal_column, select

from orchestrator.store.rows import CurveColumns
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
    curve = (metric.c.trial_id, metric.c.metric)
    columns = CurveColumns.empty()
    # Names are read once for a curve, and not for each of its points; it is one transaction.
    counted = select(*curve, func.count()).where(which).group_by(*curve).order_by(*curve)
    for trial_id, name, num in connection.execute(counted):
        columns.trial_id.extend([intern(trial_id)] * num)
        columns.metric.extend([intern(name)] * num)
    numbers = [metric.c[name] for name in ("epoch", "step", "value", "timestamp_ms")]
    query = select(*numbers).where(which).order_by(*curve, metric.c.step)
    # The driver's own tuples, since records would take longer than all the rest; and in parts,
    # which are gone before there are many for the garbage collector to visit.
    cursor = connection.execute(query).cursor
    assert cursor is not None, "a SELECT gives rows"
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        one_by_one = [
            *chain.from_iterable(rows)
        ]  # cut by strides: `zip(*rows)` takes twice as long
        columns.epoch.extend(one_by_one[0::4])
        columns.step.extend(one_by_one[1::4])
        columns.value.extend([math.nan if each is None else each for each in one_by_one[2::4]])
        columns.timestamp_ms.extend(one_by_one[3::4])
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
