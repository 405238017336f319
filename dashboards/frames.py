"""The store as pandas frames: the tables that analyses start from (docs/frames.md)."""

import math
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from experiments.hyperparameters import HYPERPARAMETERS
from orchestrator.rows import CurvePoint, TrialRow

METRICS: Final = (
    "train/loss",
    "train/accuracy",
    "val/loss",
    "val/accuracy",
    "test/loss",
    "test/accuracy",
)
"""Measured of every trial: the selected epoch's, and the test split's of that epoch."""


def trials_frame(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """Give one row a trial, in the order of the plan.

    Columns: `trial` (id), `number`, `variant`, `seed`, `state`, `attempts`, one for each
    hyperparameter in the order of docs/spec.md (missing where it does not apply), one for
    each of `METRICS`, `selected_epoch`, `seconds` (of the attempt that succeeded), `failure`
    (its message). All columns but the hyperparameters' are always there.
    """
    columns: dict[str, list[Any]] = {
        "trial": [row.id for row in rows],
        "number": [row.number for row in rows],
        "variant": [row.variant for row in rows],
        "seed": [row.seed for row in rows],
        "state": [row.state.value for row in rows],
        "attempts": [row.num_attempts for row in rows],
    }
    used = {name for row in rows for name in row.params}
    for name in (name for name in HYPERPARAMETERS if name in used):
        columns[name] = [row.params.get(name) for row in rows]
    for name in METRICS:
        columns[name] = [_number((row.metrics or {}).get(name)) for row in rows]
    columns["selected_epoch"] = [_number(row.selected_epoch) for row in rows]
    columns["seconds"] = [_number(row.duration_seconds) for row in rows]
    columns["failure"] = [None if r.failure is None else r.failure.message for r in rows]
    return pd.DataFrame(columns).astype({"selected_epoch": "Int64"})


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def curves_frame(points: Sequence[CurvePoint]) -> pd.DataFrame:
    """Give one row a measured point.

    Columns: `trial` (id), `metric`, `epoch` and `step` (finished ones), `value`,
    `timestamp` (UTC).
    """
    frame = pd.DataFrame.from_records(
        points, columns=["trial", "metric", "epoch", "step", "value", "timestamp"]
    )
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="ms", utc=True)
    return frame
