"""The store as pandas frames: the tables that analyses start from (docs/frames.md)."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from experiments.hyperparameters import HYPERPARAMETERS
from experiments.tasks import TASKS
from orchestrator.store.rows import CurveColumns, TrialRow

_TYPES: Final = {
    "trial": "string",
    "number": "int64",
    "variant": "string",
    "seed": "int64",
    "state": "string",
    "attempts": "int64",
    "reused_from": "string",
    "selected_epoch": "Int64",
    "seconds": "float64",
    "peak_memory_bytes": "Int64",
    "machine": "string",
    "strategy": "string",
    "failure": "string",
}


def trials_frame(rows: Sequence[TrialRow], *, task: str) -> pd.DataFrame:
    """Give one row a trial, in the order of the plan.

    Columns: `trial` (id), `number`, `variant`, `seed`, `state`, `attempts`, `reused_from` (the
    trial whose result this one has), one for each hyperparameter in the order of docs/spec.md
    (missing where it does not apply), one for each of `metric_names(task)`, `selected_epoch`;
    `seconds`, `peak_memory_bytes`, `machine` and `strategy` of the training that gave the result
    (no strategy where that was another trial's); `failure` (its message). All columns but the
    hyperparameters' are always there, and always of the same type.
    """
    columns: dict[str, list[Any]] = {
        "trial": [row.id for row in rows],
        "number": [row.number for row in rows],
        "variant": [row.variant for row in rows],
        "seed": [row.seed for row in rows],
        "state": [row.state.value for row in rows],
        "attempts": [row.num_attempts for row in rows],
        "reused_from": [row.reused_from for row in rows],
    }
    used = {name for row in rows for name in row.params}
    for name in (name for name in HYPERPARAMETERS if name in used):
        columns[name] = [row.params.get(name) for row in rows]
    metrics = metric_names(task)
    for name in metrics:
        columns[name] = [(row.metrics or {}).get(name, math.nan) for row in rows]
    columns["selected_epoch"] = [row.selected_epoch for row in rows]
    columns["seconds"] = [row.duration_seconds for row in rows]
    columns["peak_memory_bytes"] = [row.peak_memory_bytes for row in rows]
    columns["machine"] = [row.machine for row in rows]
    columns["strategy"] = [row.strategy for row in rows]
    columns["failure"] = [None if r.failure is None else r.failure.message for r in rows]
    return pd.DataFrame(columns).astype({**_TYPES, **dict.fromkeys(metrics, "float64")})


def metric_names(task: str) -> tuple[str, ...]:
    """Name what is measured of a trial: on the selected epoch, and on the test split then."""
    measured = TASKS[task].metrics
    splits = {"train": TASKS[task].train_metrics, "val": measured, "test": measured}
    return tuple(f"{split}/{name}" for split, names in splits.items() for name in ("loss", *names))


def curves_frame(points: CurveColumns) -> pd.DataFrame:
    """Give one row a measured point.

    Columns: `trial` (id), `metric`, `epoch` and `step` (finished ones), `value`,
    `timestamp` (UTC).
    """
    return pd.DataFrame(
        {
            "trial": pd.Series(points.trial_id, dtype="str"),
            "metric": pd.Series(points.metric, dtype="str"),
            "epoch": np.asarray(points.epoch),
            "step": np.asarray(points.step),
            "value": np.asarray(points.value),
            "timestamp": pd.to_datetime(np.asarray(points.timestamp_ms), unit="ms", utc=True),
        }
    )
