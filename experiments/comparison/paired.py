"""Two levels compared on pairs of trials: the difference, how sure it is, what would be enough.

A pair is two trials that differ in the level alone: the same cell (all other
hyperparameters) and the same seed. Which numbers may be taken for independent repetitions?

- Not the pairs. Those of one seed share initial weights and the order of the data in every
  cell, so what a seed does to a difference it may do in many cells at once. A hundred pairs
  of three seeds are nearer to three observations than to a hundred.
- Not the means of the cells over their seeds. They share the seeds as well; and cells differ
  systematically: they are the settings that somebody chose, not a sample of settings.
- The means of the seeds over the cells are: each seed is drawn anew, and gives one number, its
  mean difference over all cells. However cells differ, and however they depend on each other
  within a seed, these numbers are independent and have one mean: the mean difference over
  the cells of this grid. That is what is estimated, and nothing is claimed of other cells.

So n is the number of seeds, and cells make each of the n numbers more exact. The interval and
the p-value are those of one procedure, the paired t-test on these n numbers (Student 1908);
means over cells are closer to normal than trials are. The exact sign-flip test stands beside
them for those who would rather not lean on that.

Where trials are missing, all pairs that there are still count: the difference is the mean over
cells of each cell's mean, and its variance is the sum over seeds of squared contributions, each
residual taken about its cell's mean (Liang and Zeger 1986, clusters are seeds). With every pair
there, both are exactly those of the paired t-test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.comparison.bootstrap import named_generator
from experiments.comparison.seed_clusters import clustered_error
from experiments.comparison.statistics import deviation, mean_of, settled, student_quantile

Cell = Mapping[int, float]
"""Seed -> a - b, for the seeds that both have in this cell."""

_EXACT_SEEDS: Final = 14
_MONTE_CARLO_FLIPS: Final = 19_999
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two levels are apart on matched cells: a - b.

    Attributes:
        mean: The mean over cells of the cells' mean differences.
        num_cells: Cells with pairs.
        num_seeds: Seeds with pairs: the n behind the interval.
        num_pairs: Pairs of trials.
        num_single: Cells with one seed, which show no spread.
        low, high: The t-interval of the mean; None where a cell has one seed.
        p_value: Of the paired t-test, two-sided; None as above.
        sign_flip_p_value: Of the sign-flip test, two-sided; at least 2 / 2^n.
        effect_size: The mean in units of the spread that single pairs have in their cells over
            seeds (with one cell Cohen's d_z); None where that spread is unknown or 0.
        win_rate: Share of pairs in which a is larger, ties half.
        cell_means: The mean difference of each cell.
        seed_std: Spread of one seed's mean difference over cells; what decides on the seeds
            that are needed.
    """

    mean: float
    num_cells: int
    num_seeds: int
    num_pairs: int
    num_single: int
    low: float | None
    high: float | None
    p_value: float | None
    sign_flip_p_value: float | None
    effect_size: float | None
    win_rate: float
    cell_means: tuple[float, ...]
    seed_std: float | None


def paired_difference(cells: Sequence[Cell], *, confidence: float = 0.95) -> Difference:
    """Compare two levels by their differences a - b in matched cells.

    Raises:
        ValueError: There is no pair.
    """
    used = [cell for cell in cells if cell]
    if not used:
        raise ValueError("nothing to compare: no two trials share a cell and a seed")
    means = [mean_of(list(cell.values())) for cell in used]
    mean = mean_of(means)
    pairs = [value for cell in used for value in cell.values()]
    seeds = {seed for cell in used for seed in cell}
    num_single = sum(len(cell) == 1 for cell in used)
    low = high = p_value = flip = effect_size = seed_std = None
    if not num_single:
        error, degrees = clustered_error(used, means)
        error = settled(error, about=mean)
        half = student_quantile((1 + confidence) / 2, degrees) * error
        low, high = mean - half, mean + half
        p_value = _student_p_value(mean, error, degrees)
        flip = sign_flip_p_value(_contributions(used, sorted(seeds)))
        seed_std = error * math.sqrt(degrees + 1)
        effect_size = _effect_size(mean, used, means)
    return Difference(
        mean=mean,
        num_cells=len(used),
        num_seeds=len(seeds),
        num_pairs=len(pairs),
        num_single=num_single,
        low=low,
        high=high,
        p_value=p_value,
        sign_flip_p_value=flip,
        effect_size=effect_size,
        win_rate=sum((value > 0) + (value == 0) / 2 for value in pairs) / len(pairs),
        cell_means=tuple(means),
        seed_std=seed_std,
    )


def welch_difference(
    a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95
) -> Difference:
    """Compare two variants that share too few seeds to be paired (Welch 1947).

    `effect_size` is the difference in units of the root of their mean variance, `win_rate` the
    share of all couples in which a is larger, `num_seeds` the smaller n.

    Raises:
        ValueError: One of them has no value.
    """
    if not a or not b:
        raise ValueError("nothing to compare: one of the two has no value")
    mean = mean_of(a) - mean_of(b)
    couples = [one - other for one in a for other in b]
    low = high = p_value = effect_size = seed_std = None
    if len(a) > 1 and len(b) > 1:
        errors = [deviation(values) / math.sqrt(len(values)) for values in (a, b)]
        error = settled(math.hypot(*errors), about=mean)
        degrees = _welch_degrees(errors, (len(a) - 1, len(b) - 1))
        half = student_quantile((1 + confidence) / 2, degrees) * error
        low, high = mean - half, mean + half
        p_value = _student_p_value(mean, error, degrees)
        spread = settled(math.hypot(deviation(a), deviation(b)) / math.sqrt(2), about=mean)
        effect_size = mean / spread if spread > 0 else None
        seed_std = error * math.sqrt(min(len(a), len(b)))
    return Difference(
        mean=mean,
        num_cells=1,
        num_seeds=min(len(a), len(b)),
        num_pairs=0,
        num_single=int(low is None),
        low=low,
        high=high,
        p_value=p_value,
        sign_flip_p_value=None,
        effect_size=effect_size,
        win_rate=sum((value > 0) + (value == 0) / 2 for value in couples) / len(couples),
        cell_means=(mean,),
        seed_std=seed_std,
    )


def sign_flip_p_value(contributions: Sequence[float]) -> float:
    """Test whether differences are about 0, by flipping their signs (Fisher 1935, section 21).

    The share of sign patterns whose sum is at least as far from 0 as the observed one. All 2^n
    patterns of up to 14 differences; of more, 19,999 drawn ones and the observed (Phipson and
    Smyth 2010).
    """
    import numpy as np

    values = np.asarray(contributions, dtype=float)
    observed = abs(values.sum()) * (1 - _ROUNDING)
    if values.size <= _EXACT_SEEDS:
        patterns = np.arange(2**values.size)[:, None] >> np.arange(values.size) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ values) >= observed))
    drawn = named_generator("sign flip").integers(0, 2, (_MONTE_CARLO_FLIPS, values.size))
    extreme = int(np.sum(np.abs((1 - 2 * drawn) @ values) >= observed))
    return (extreme + 1) / (_MONTE_CARLO_FLIPS + 1)


def _contributions(cells: Sequence[Cell], seeds: Sequence[int]) -> list[float]:
    """Give what each seed adds to the mean difference."""
    sums = dict.fromkeys(seeds, 0.0)
    for cell in cells:
        for seed, value in cell.items():
            sums[seed] += value / (len(cell) * len(cells))
    return list(sums.values())


def _effect_size(mean: float, cells: Sequence[Cell], means: Sequence[float]) -> float | None:
    within = [
        (value - cell_mean) / math.sqrt((len(cell) - 1) * len(cells))
        for cell, cell_mean in zip(cells, means, strict=True)
        for value in cell.values()
    ]
    spread = settled(math.hypot(*within), about=mean)
    return mean / spread if spread > 0 else None


def _welch_degrees(errors: Sequence[float], degrees: Sequence[int]) -> float:
    largest = max(errors)
    if largest == 0.0:
        return float(sum(degrees))
    parts = [(error / largest) ** 2 for error in errors]
    return sum(parts) ** 2 / sum(p**2 / own for p, own in zip(parts, degrees, strict=True))


def _student_p_value(mean: float, error: float, degrees: float) -> float:
    from scipy.special import stdtr

    if error == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return float(2 * stdtr(degrees, -abs(mean) / error))
