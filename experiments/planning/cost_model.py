"""How long trials will take and how much memory, learned from finished trials of a machine.

Seconds are a sum over the counts of `Work`, each at a rate of its own. The rates are fitted
to what finished trials took, by least squares of the relative error, none of them negative.
A mild pull towards the ratios of a typical core decides what the trials leave open, so that
one finished trial is enough to begin with; outliers (a machine that slept) count for little.

How sure a forecast is comes from trials that were held out of a fit: their error, wider the
fewer have been seen. It doubles with each factor of ten by which a network leaves what has
been seen.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from experiments.planning.cost import CostSample, Work

_TYPICAL: Final = (0.1, 0.02, 1e-4, 1.5e-5, 5e-11, 5e-10, 1e-9)
"""Seconds of a trial, and of one of each of Work's counts, on a core of 2020 or so.

Only their ratios matter: the fit scales them to the machine."""

_PULL: Final = 0.1
"""How much a typical ratio counts beside a finished trial."""
_MOST_WORKS: Final = 200
_FOLDS: Final = 5
_ROUNDS: Final = 4
_SWEEPS: Final = 40
_OUTLIER: Final = 0.5
"""The logarithm of a ratio at which a trial counts half."""
_COVERED: Final = 0.8
"""The share of held-out trials that the interval covers."""
_FAR: Final = 10.0
"""Beyond so many times what was seen, a forecast is called unsure."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An expected number of seconds, and between which it should lie.

    `reach` is by which factor the work leaves what has been seen; 1 is within.
    """

    seconds: float
    low: float
    high: float
    reach: float = 1.0

    @property
    def is_unsure(self) -> bool:
        """Say whether the work is far beyond anything seen."""
        return self.reach > _FAR


@dataclass(frozen=True, slots=True)
class CostModel:
    """What finished trials taught.

    Attributes:
        rates: Seconds of a trial and of one of each count.
        spread: The logarithm of the factor between expected and true seconds.
        seen: The median seconds of each distinct work.
        ranges: The least and the most of each of `_mix`'s numbers that was seen.
    """

    rates: tuple[float, ...]
    spread: float
    seen: Mapping[Work, float]
    ranges: tuple[tuple[float, float], ...]

    def predict(self, work: Work) -> Interval:
        """Expect a trial's seconds; the very work that was seen takes as long as it did."""
        reach = 1.0
        for value, (low, high) in zip(_mix(work), self.ranges, strict=True):
            reach = max(reach, value / high, low / value)
        factor = math.exp(self.spread + math.log(2) * math.log10(reach))
        seconds = self.seen.get(work) or _product(_counts(work), self.rates)
        return Interval(seconds, seconds / factor, seconds * factor, reach)


def learn(samples: Iterable[CostSample]) -> CostModel | None:
    """Fit rates to finished trials, the newest first; None where there are none."""
    seen = _distinct(samples)
    if not seen:
        return None
    works, seconds = list(seen), list(seen.values())
    mixes = [_mix(work) for work in works]
    return CostModel(
        rates=_fit(works, seconds),
        spread=_spread(works, seconds),
        seen=seen,
        ranges=tuple((min(column), max(column)) for column in zip(*mixes, strict=True)),
    )


def _distinct(samples: Iterable[CostSample]) -> dict[Work, float]:
    """Give each work once, with the median of its seconds: seeds and rates repeat it."""
    found: dict[Work, list[float]] = {}
    for sample in samples:
        if sample.seconds > 0 and (sample.work in found or len(found) < _MOST_WORKS):
            found.setdefault(sample.work, []).append(sample.seconds)
    return {work: median(seconds) for work, seconds in found.items()}


def _counts(work: Work) -> tuple[float, ...]:
    """Give what seconds are a sum of: the trial itself, and its counts."""
    return (
        1.0,
        work.epochs,
        work.steps,
        work.layer_runs,
        work.multiply_adds,
        work.elements,
        work.updated_parameters,
    )


def _mix(work: Work) -> tuple[float, ...]:
    """Give what a step is made of: more of the same steps leaves nothing that was seen."""
    counts = (work.layer_runs, work.multiply_adds, work.elements, work.updated_parameters)
    return tuple(max(count, 1) / work.steps for count in counts)


def _spread(works: Sequence[Work], seconds: Sequence[float]) -> float:
    """Give the error (as a logarithm) that most held-out works stay below.

    With n works at least ln(1 + 1 / sqrt(n)): a factor of 2 after one, of 1.1 after 100.
    """
    num = len(works)
    folds = min(num, _FOLDS)
    errors = []
    for fold in range(folds) if num > 1 else ():
        kept = [i for i in range(num) if i % folds != fold]
        rates = _fit([works[i] for i in kept], [seconds[i] for i in kept])
        errors += [
            abs(math.log(_product(_counts(works[i]), rates) / seconds[i]))
            for i in range(fold, num, folds)
        ]
    least = math.log(1 + 1 / math.sqrt(num))
    if not errors:
        return least
    return max(least, sorted(errors)[min(num - 1, math.floor(_COVERED * num))])


def _fit(works: Sequence[Work], seconds: Sequence[float]) -> tuple[float, ...]:
    """Give non-negative rates by weighted least squares of the relative errors.

    In units of the typical rates, scaled to these trials, the rates z minimise
    sum_i w_i (a_i z - 1)^2 + pull sum_j (z_j - 1)^2, where a_i z is the ratio of expected to
    true seconds. The weights w_i fall with the error (Cauchy's), round by round.
    """
    ratios = [
        _product(_counts(work), _TYPICAL) / true for work, true in zip(works, seconds, strict=True)
    ]
    scale = 1 / median(ratios)
    rows = [
        [scale * count * rate / true for count, rate in zip(_counts(work), _TYPICAL, strict=True)]
        for work, true in zip(works, seconds, strict=True)
    ]
    z = [1.0] * len(_TYPICAL)
    for _ in range(_ROUNDS):
        errors = [math.log(max(_product(row, z), 1e-9)) for row in rows]
        weights = [1 / (1 + (error / _OUTLIER) ** 2) for error in errors]
        z = _least_squares(rows, weights, start=z)
    return tuple(scale * rate * unit for rate, unit in zip(_TYPICAL, z, strict=True))


def _least_squares(
    rows: Sequence[Sequence[float]], weights: Sequence[float], *, start: Sequence[float]
) -> list[float]:
    """Minimise over z >= 0, one coordinate at a time."""
    size = len(start)
    matrix = [
        [
            sum(w * row[i] * row[j] for w, row in zip(weights, rows, strict=True))
            + _PULL * (i == j)
            for j in range(size)
        ]
        for i in range(size)
    ]
    target = [
        sum(w * row[i] for w, row in zip(weights, rows, strict=True)) + _PULL for i in range(size)
    ]
    z = list(start)
    for _ in range(_SWEEPS):
        for i in range(size):
            rest = target[i] - _product(matrix[i], z) + matrix[i][i] * z[i]
            z[i] = max(0.0, rest / matrix[i][i])
    return z


def _product(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(a * b for a, b in zip(left, right, strict=True))
