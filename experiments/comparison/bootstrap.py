"""What numbers over seeds say without taking them for normal: the middle half, BCa intervals."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from experiments.comparison.statistics import UNBOUNDED, Bounds, clip

if TYPE_CHECKING:
    import numpy as np

FEWEST_FOR_BOOTSTRAP: Final = 6
"""Of fewer values the resamples are too few different ones for an interval to mean much."""

FEWEST_FOR_MIDDLE: Final = 4
"""Of fewer values a quarter is less than one, and the middle half is all of them."""

NUM_RESAMPLES: Final = 9_999


@dataclass(frozen=True, slots=True)
class Robust:
    """The interquartile mean of values, and the BCa interval of their mean.

    Each is None where there are too few values for it.
    """

    interquartile_mean: float | None
    low: float | None
    high: float | None


def robust(values: Sequence[float], *, bounds: Bounds = UNBOUNDED) -> Robust:
    """Describe values by what does not lean on their being normal."""
    middle = interquartile_mean(values) if len(values) >= FEWEST_FOR_MIDDLE else None
    if len(values) < FEWEST_FOR_BOOTSTRAP:
        return Robust(middle, None, None)
    low, high = bca_interval(values)
    return Robust(middle, clip(low, bounds), clip(high, bounds))


def interquartile_mean(values: Sequence[float]) -> float:
    """Give the mean without the lowest and the highest quarter, each rounded down to whole values.

    Agarwal et al. (2021), "Deep RL at the edge of the statistical precipice", section 4.3.
    """
    cut = len(values) // 4
    kept = sorted(values)[cut : len(values) - cut]
    return math.fsum(kept) / len(kept)


def bca_interval(
    values: Sequence[float],
    *,
    confidence: float = 0.95,
    generator: "np.random.Generator | None" = None,
) -> tuple[float, float]:
    """Give the bias-corrected and accelerated bootstrap interval of the mean.

    Efron (1987), equations 6.8 and 7.3, the acceleration by the jackknife. The same values give
    the same interval: the resamples are drawn from a stream named after this function. Equal
    values give an interval of no width.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri

    data = np.asarray(values, dtype=float)
    if np.ptp(data) == 0.0:
        return float(data[0]), float(data[0])
    drawn = (generator or named_generator("bca")).integers(0, data.size, (NUM_RESAMPLES, data.size))
    means = data[drawn].mean(axis=1)
    below = (np.sum(means < data.mean()) + np.sum(means <= data.mean())) / (2 * NUM_RESAMPLES)
    bias = ndtri(below)
    left_out = (data.sum() - data) / (data.size - 1)
    influence = left_out.mean() - left_out
    acceleration = np.sum(influence**3) / (6 * np.sum(influence**2) ** 1.5)
    tails = ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2])) + bias
    low, high = np.quantile(means, ndtr(bias + tails / (1 - acceleration * tails)))
    return float(low), float(high)


def named_generator(name: str) -> "np.random.Generator":
    """Give the random stream of a purpose: the same numbers on every call and machine."""
    import numpy as np

    digest = hashlib.sha256(f"experiments.comparison/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
