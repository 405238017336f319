"""What a comparison may claim: pure functions on numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from experiments.tasks import METRICS

Bounds = tuple[float, float]
"""The least and the greatest value that a number can have."""

UNBOUNDED: Final[Bounds] = (-math.inf, math.inf)


ROUNDING: Final = 1e-12
"""Of a number's size: what differs by less is equal but for rounding."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean and spread of one number over seeds.

    `std` is the sample standard deviation (n - 1). `low` and `high` bound the mean with
    the given confidence. All three are None for a single value, which has no spread.
    """

    mean: float
    std: float | None
    n: int
    low: float | None
    high: float | None

    @property
    def width(self) -> float | None:
        """Give the width of the interval: how exactly the mean is known."""
        return None if self.low is None or self.high is None else self.high - self.low


def metric_bounds(metric: str) -> Bounds:
    """Give the bounds of a metric (`val/accuracy`: 0 and 1); an unknown one has none."""
    known = METRICS.get(metric.rpartition("/")[2])
    return UNBOUNDED if known is None else (known.least, known.most)


def is_share(metric: str) -> bool:
    """Say whether a metric has no unit and is at most 1, so that points of a percent suit it."""
    return metric_bounds(metric)[1] == 1.0


def clip(value: float, bounds: Bounds) -> float:
    """Give the nearest value within bounds."""
    return min(max(value, bounds[0]), bounds[1])


def summarise(
    values: Sequence[float], *, confidence: float = 0.95, bounds: Bounds = UNBOUNDED
) -> Summary:
    """Summarise values by mean, standard deviation and Student's t-interval.

    The interval is mean +- t(1 - (1 - confidence) / 2, n - 1) * std / sqrt(n) (Student 1908);
    it takes the values for independent and about normal. It is cut off at `bounds`: a mean
    beyond them is impossible, so nothing is lost of what the interval covers.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("nothing to summarise: got no values")
    n, mean = len(values), mean_of(values)
    if n == 1:
        return Summary(mean, None, 1, None, None)
    std = deviation(values)
    half = student_quantile(1 - (1 - confidence) / 2, n - 1) * std / math.sqrt(n)
    return Summary(mean, std, n, clip(mean - half, bounds), clip(mean + half, bounds))


def mean_of(values: Sequence[float]) -> float:
    """Give the mean, also of numbers whose sum is too large for one."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def deviation(values: Sequence[float]) -> float:
    """Give the sample standard deviation (n - 1) of two values or more; 0 if it is but rounding."""
    mean = mean_of(values)
    spread = math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
    return settled(spread, about=mean)


def settled(spread: float, *, about: float) -> float:
    """Give a spread, 0 where it is so small beside the mean that it can only be rounding."""
    return 0.0 if spread < ROUNDING * abs(about) else spread


def student_quantile(probability: float, degrees: float) -> float:
    """Give the quantile of Student's t with `degrees` degrees of freedom."""
    from scipy.special import stdtrit  # 0.8 s to import: only where an interval is asked for

    return float(stdtrit(degrees, probability))
