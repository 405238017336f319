"""What a comparison may claim: pure functions on numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


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


def summarise(values: Sequence[float], *, confidence: float = 0.95) -> Summary:
    """Summarise values by mean, standard deviation and Student's t-interval.

    The interval is mean +- t(1 - (1 - confidence) / 2, n - 1) * std / sqrt(n) (Student 1908);
    it takes the values for independent and about normal.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("nothing to summarise: got no values")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(mean, None, 1, None, None)
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _student_quantile(1 - (1 - confidence) / 2, n - 1) * std / math.sqrt(n)
    return Summary(mean, std, n, mean - half, mean + half)


def _student_quantile(probability: float, degrees: int) -> float:
    from scipy.special import stdtrit  # 0.8 s to import: only where an interval is asked for

    return float(stdtrit(degrees, probability))
