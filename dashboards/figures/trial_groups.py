"""Trials of a frame, grouped and averaged as figures show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Goal = Literal["maximize", "minimize"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of trials: lowest, highest, and how many gave a number, out of how many."""

    name: str
    mean: float
    low: float
    high: float
    n: int
    num_trials: int


def finite(values: "pd.Series[Any]") -> np.ndarray[Any, np.dtype[np.float64]]:
    """Give a column's numbers as floats, infinite ones as NaN."""
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def means_of(trials: "pd.DataFrame", by: str, metric: str) -> list[Mean]:
    """Average a metric over the trials of each value of a column, in the order of the frame.

    Trials without the column's value belong to no group.
    """
    found = []
    for name, group in trials.groupby(by, sort=False, dropna=True, observed=True):
        values = finite(group[metric])
        known = values[~np.isnan(values)]
        found.append(
            Mean(
                name=value_name(name),
                mean=float(known.mean()) if known.size else np.nan,
                low=float(known.min()) if known.size else np.nan,
                high=float(known.max()) if known.size else np.nan,
                n=int(known.size),
                num_trials=len(group),
            )
        )
    return found


def ranked(means: Sequence[Mean], goal: Goal) -> list[Mean]:
    """Give those with a number, the best first; equal ones keep their order."""
    sign = -1.0 if goal == "maximize" else 1.0
    return sorted((m for m in means if m.n), key=lambda m: sign * m.mean)


def best_groups(trials: "pd.DataFrame", by: str, metric: str, goal: Goal, most: int) -> list[str]:
    """Name the `most` best values of a column by mean metric, best first, then those without."""
    means = means_of(trials, by, metric)
    order = [m.name for m in ranked(means, goal)]
    return (order + [m.name for m in means if not m.n])[:most]


def trials_by_group(trials: "pd.DataFrame", by: str) -> Mapping[str, "pd.DataFrame"]:
    """Give the rows of each value of a column, in the order of the frame."""
    groups = trials.groupby(by, sort=False, dropna=True, observed=True)
    return {value_name(name): group for name, group in groups}


def value_name(value: object) -> str:
    """Name a value of a column; whole numbers that were stored as floats have no `.0`."""
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)
