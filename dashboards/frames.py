"""The store as pandas frames: the tables that analyses start from (docs/frames.md)."""

from collections.abc import Sequence

import pandas as pd

from orchestrator.rows import CurvePoint, TrialRow


def trials_frame(rows: Sequence[TrialRow]) -> pd.DataFrame:
    """Give one row a trial, in the order of the plan.

    Columns: `trial` (id), `number`, `variant`, `seed`, `state`, `attempts`, one for each
    hyperparameter (missing where it does not apply), one for each metric of the selected
    epoch and of the test split (`val/accuracy`, ...), `selected_epoch`, `seconds` (of the
    attempt that succeeded), `failure` (its message).
    """
    frame = pd.DataFrame(
        [
            {
                "trial": row.id,
                "number": row.number,
                "variant": row.variant,
                "seed": row.seed,
                "state": row.state.value,
                "attempts": row.num_attempts,
                **row.params,
                **(row.metrics or {}),
                "selected_epoch": row.selected_epoch,
                "seconds": row.duration_seconds,
                "failure": None if row.failure is None else row.failure.message,
            }
            for row in rows
        ]
    )
    last = ["selected_epoch", "seconds", "failure"]
    # A trial without metrics may come first; the columns' order must not depend on that.
    return frame[[*(name for name in frame.columns if name not in last), *last]]


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
