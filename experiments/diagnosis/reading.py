"""Curves as they are judged: levels, falls and scatter, robust against noise and short series."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from experiments.diagnosis.trial_curve import BATCH_LOSS, Series, TrialCurve

_BY_ENTROPY: Final = frozenset({"cross_entropy", "kullback_leibler_divergence"})
_FIRST_STEPS: Final = 3
_LAST: Final = 5
_BLOCKS: Final = 8
_MOST_RANKED: Final = 50


@dataclass(frozen=True)
class Reading:
    """The losses of one trial up to the first that is not finite, and what they began at."""

    curve: TrialCurve

    @cached_property
    def train(self) -> Series:
        """The training loss by epoch."""
        return self.curve.get("train/loss").finite()

    @cached_property
    def val(self) -> Series:
        """The validation loss by epoch."""
        return self.curve.get("val/loss").finite()

    @cached_property
    def batch(self) -> Series:
        """The loss of single steps."""
        return self.curve.get(BATCH_LOSS).finite()

    @cached_property
    def chance(self) -> float | None:
        """The loss of an answer that knows nothing, where the task and the loss tell it.

        With N classes equally likely, -ln(1 / N): each class gets the same probability.
        """
        num = self.curve.num_classes
        if num is None or num < 2 or self.curve.task not in {"classification", "binary"}:
            return None
        if self.curve.loss in _BY_ENTROPY:
            return math.log(num)
        return math.log(2) if self.curve.loss == "binary_cross_entropy" else None

    @cached_property
    def start(self) -> float | None:
        """The loss before anything was learned: of chance, or else of the first few steps."""
        if self.chance is not None:
            return self.chance
        if self.batch.values:
            return statistics.median(self.batch.values[:_FIRST_STEPS])
        return self.train.values[0] if len(self.train) > 1 else None

    @cached_property
    def scale(self) -> float:
        """What changes are measured by: the loss of knowing nothing, as well as it can be told.

        That of a regression is the variance of its targets: R² is what of it is explained.
        """
        explained = self.curve.get("val/r2").finite().values
        is_square = self.curve.loss == "mean_squared_error"
        if is_square and self.val.values and explained and explained[-1] < 1:
            return self.val.values[-1] / (1 - explained[-1])
        return self.start or 0.0

    @cached_property
    def by_time(self) -> tuple[float, ...]:
        """The training loss over the whole training: by epoch, or by blocks of steps if few."""
        if len(self.train) >= _BLOCKS // 2:
            return self.train.values
        return blocks(self.batch.values, num=_BLOCKS)

    @cached_property
    def end(self) -> float | None:
        """The level that the training loss ended at."""
        found = self.by_time or self.train.values
        return level(found) if found else None

    @cached_property
    def progress(self) -> float | None:
        """The share of the starting loss that was unlearned; below 0 where it grew."""
        if self.start is None or self.end is None or self.start <= 0:
            return None
        return 1 - self.end / self.start

    @property
    def end_epoch(self) -> int:
        """The last epoch that is through."""
        return max((*self.train.places[-1:], *self.val.places[-1:]), default=0)

    @property
    def is_whole(self) -> bool:
        """Whether all epochs are through."""
        return self.end_epoch >= self.curve.epochs

    def best(self, metric: str) -> float | None:
        """Give the largest value of a metric."""
        values = self.curve.get(metric).finite().values
        return max(values, default=None)


def level(values: Sequence[float]) -> float:
    """Give the level that a series ends at: the median of its last fifth, of 5 at most."""
    return statistics.median(values[-max(1, min(_LAST, len(values) // 5)) :])


def blocks(values: Sequence[float], *, num: int) -> tuple[float, ...]:
    """Give the means of equal parts of a series; of a shorter one, the series."""
    if len(values) <= num:
        return tuple(values)
    edges = [len(values) * i // num for i in range(num + 1)]
    return tuple(statistics.fmean(values[a:b]) for a, b in itertools.pairwise(edges))


def smooth(values: Sequence[float]) -> tuple[float, ...]:
    """Give running medians of three; at the ends, of what the next two foretell, too.

    Source: Tukey, "Exploratory Data Analysis", 1977, chapter 7 (smoothing by 3, with his end rule).
    """
    if len(values) < 4:
        return tuple(values)
    inner = [statistics.median(values[i - 1 : i + 2]) for i in range(1, len(values) - 1)]
    first = statistics.median((values[0], inner[0], 3 * inner[0] - 2 * inner[1]))
    last = statistics.median((values[-1], inner[-1], 3 * inner[-1] - 2 * inner[-2]))
    return (first, *inner, last)


def swing(values: Sequence[float]) -> float:
    """Give the median distance of a value from the mean of its neighbours; 0 for fewer than three.

    A straight fall has none.
    """
    triples = zip(values, values[1:], values[2:], strict=False)
    return statistics.median([abs(b - (a + c) / 2) for a, b, c in triples] or [0.0])


def rising_share(values: Sequence[float]) -> float:
    """Give the share of all pairs whose later value is the larger; 0.5 for fewer than two.

    Of a long series, the means of 50 equal parts are taken.

    It is (1 + tau) / 2 of Kendall's rank correlation with time, without ties. Source: Mann,
    "Nonparametric tests against trend", Econometrica 13, 1945.
    """
    pairs = [*itertools.combinations(blocks(values, num=_MOST_RANKED), 2)]
    if not pairs:
        return 0.5
    return sum(1.0 if b > a else 0.5 if b == a else 0.0 for a, b in pairs) / len(pairs)


def halves(values: Sequence[float]) -> tuple[float, float]:
    """Give how far a series fell in its first and in its second half, smoothed; 0 if it is none."""
    if not values:
        return 0.0, 0.0
    smoothed = smooth(values)
    half = (len(smoothed) - 1) / 2
    middle = (smoothed[math.floor(half)] + smoothed[math.ceil(half)]) / 2
    return smoothed[0] - middle, middle - smoothed[-1]
