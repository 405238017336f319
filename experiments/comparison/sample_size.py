"""How many seeds would tell, if mean and spread are as they were seen: rough numbers."""

import math
from collections.abc import Callable
from typing import Final

from experiments.comparison.statistics import student_quantile

MOST_SEEDS: Final = 10_000
"""More are as good as none."""

_FAR: Final = 8.0
"""A noncentrality beyond which `nctdtr` fails, and the numerator of t hardly varies."""


def seeds_needed(
    difference: float, seed_std: float, *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Give the number of seeds with which a difference of this size would be found.

    The paired t-test at level `alpha` (two-sided) finds it with the given power: the smallest n
    for which the noncentral t with n - 1 degrees and noncentrality sqrt(n) |difference| / seed_std
    does (Cohen 1988, chapter 2). None where it is more than 10,000, or there is no difference to
    find.
    """
    if difference == 0.0:
        return None
    if seed_std == 0.0:
        return 2
    effect = abs(difference) / seed_std

    def found(n: int) -> float:
        limit, shift = student_quantile(1 - alpha / 2, n - 1), effect * math.sqrt(n)
        return _beyond(limit, n, shift) + _beyond(limit, n, -shift)

    return _fewest(found, power)


def seeds_to_tie(
    difference: float, seed_std: float, *, margin: float, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """Give the number of seeds with which two levels would be called tied within a margin.

    The smallest n for which the whole t-interval (1 - `alpha`) lies within the margin with the
    given power: both one-sided tests of Schuirmann (1987) reject, by the noncentral t of each
    (Phillips 1990; a little too many seeds rather than too few). None where it is more than 10,000,
    or the difference is not within the margin.
    """
    if abs(difference) >= margin:
        return None
    if seed_std == 0.0:
        return 2
    sides = [(margin + sign * difference) / seed_std for sign in (-1, 1)]

    def tied(n: int) -> float:
        limit = student_quantile(1 - alpha / 2, n - 1)
        return sum(_beyond(limit, n, side * math.sqrt(n)) for side in sides) - 1.0

    return _fewest(tied, power)


def _fewest(power_of: Callable[[int], float], power: float) -> int | None:
    """Give the smallest n, 2 or more, with that power; it grows with n."""
    too_few, enough = 1, 2
    while power_of(enough) < power:
        if enough == MOST_SEEDS:
            return None
        too_few, enough = enough, min(2 * enough, MOST_SEEDS)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if power_of(middle) >= power:
            enough = middle
        else:
            too_few = middle
    return enough


def _beyond(limit: float, n: int, shift: float) -> float:
    """Give how often the noncentral t with n - 1 degrees is above a positive limit."""
    from scipy.special import chdtr, nctdtr

    if shift > _FAR:
        return float(chdtr(n - 1, (n - 1) * (shift / limit) ** 2))
    if shift < -_FAR:
        return 0.0
    return float(1 - nctdtr(n - 1, shift, limit))
