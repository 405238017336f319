"""The labelling rule: which findings a run deserves, decided by what is true of it.

Each rule has a clear yes and a clear no, on numbers that the doctor does not see (`truth.py`); what
lies between is undecided, and counts neither way. What has a cause (it diverged, never learned,
crept) is judged by that alone, as nothing else would mend it.
"""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.labelled_curves.truth import Run, Truth
from experiments.diagnosis.finding import Code
from experiments.records import TrialConfig

Label = bool | None
"""Yes, no, or undecided."""

_BY_ENTROPY = frozenset({"cross_entropy", "kullback_leibler_divergence", "binary_cross_entropy"})


def labels_of(config: TrialConfig, trick: str, truth: Truth) -> dict[Code, Label]:
    """Label one run."""
    labels: dict[Code, Label] = dict.fromkeys(Code)
    labels[Code.DEAD_UNITS] = _dead(truth.run)
    labels[Code.DIVERGED] = _diverged(truth)
    if labels[Code.DIVERGED] is not False:
        return labels
    slow, ignorant = _too_slow(truth), _ignorant(truth)
    is_known = config.loss in _BY_ENTROPY and config.task in {"classification", "binary"}
    code = Code.STUCK_AT_CHANCE if is_known else Code.NOT_LEARNING
    other = Code.NOT_LEARNING if is_known else Code.STUCK_AT_CHANCE
    labels[Code.TOO_SLOW] = slow
    labels[code] = ignorant if slow is False else None if ignorant else ignorant
    labels[other] = False
    if slow is not False or ignorant is not False:
        return labels
    rules: Mapping[Code, Callable[[], Label]] = {
        Code.STILL_FALLING: lambda: _still_falling(truth),
        Code.OVERFITTING: lambda: _overfitting(truth),
        Code.OSCILLATING: lambda: _oscillating(truth),
        Code.JUMPS: lambda: _jumps(truth.run, by_intent=trick == "burst"),
        Code.VAL_BELOW_TRAIN: lambda: _below(truth.run),
    }
    return labels | {code: rule() for code, rule in rules.items()}


def _between(value: float, *, no: float, yes: float) -> Label:
    """Say yes from `yes` on, no up to `no`."""
    if no < yes:
        return True if value >= yes else False if value <= no else None
    return True if value <= yes else False if value >= no else None


def _both(*labels: Label) -> Label:
    if any(label is False for label in labels):
        return False
    return None if None in labels else True


def _scale(truth: Truth) -> float:
    """Give the loss of knowing nothing."""
    return truth.untrained if truth.guess is None else truth.guess


def _diverged(truth: Truth) -> Label:
    """No numbers, or thrice the loss that it had before the first step."""
    if not truth.run.is_finite:
        return True
    return _between(truth.run.train[-1] / truth.untrained, no=1.2, yes=3.0)


def _dead(run: Run) -> Label:
    """More than half of the units, on the training split."""
    if run.dead_units is None:
        return False if run.is_finite else None
    return _between(run.dead_units, no=0.45, yes=0.55)


def _ignorant(truth: Truth) -> Label:
    """Within 3 % of the best answer that looks at nothing, or above."""
    learned = 1 - truth.run.train[-1] / _scale(truth)
    return _between(learned, no=0.10, yes=0.03)


def _too_slow(truth: Truth) -> Label:
    """Most is still there, and ten times the rate leaves less than half of it."""
    left = truth.run.train[-1] / _scale(truth)
    if truth.faster_train is None:
        return False if left < 1 else None
    ratio = truth.faster_train / truth.run.train[-1]
    return _both(_between(left, no=0.35, yes=0.5), _between(ratio, no=0.8, yes=0.5))


def _still_falling(truth: Truth) -> Label:
    """Twice the epochs take an eighth off the test loss, and not just of nearly nothing."""
    if truth.longer_test is None:
        return None
    end = statistics.median(truth.run.test[-3:])
    gain = end - truth.longer_test
    return _both(
        _between(gain / end, no=0.07, yes=0.125),
        _between(gain / _scale(truth), no=0.007, yes=0.015),
    )


def _overfitting(truth: Truth) -> Label:
    """The test loss ends a seventh above its best, that of training below where it was then."""
    test = truth.run.test
    if len(test) < 3:
        return False
    best = min(range(len(test)), key=test.__getitem__)
    end = statistics.median(test[-5:])
    lower = _between(truth.run.train[-1] / truth.run.train[best], no=1.0, yes=0.9)
    return _both(
        _between(end / test[best], no=1.07, yes=1.15),
        _between((end - test[best]) / _scale(truth), no=0.007, yes=0.015),
        False if best == len(test) - 1 else lower,
    )


def _oscillating(truth: Truth) -> Label:
    """The test loss swings by a fifth of itself, and a calmer training swings by a third of that.

    What a calmer training does not calm has another cause, and is undecided.
    """
    half = truth.run.test[len(truth.run.test) // 2 :]
    if len(half) < 2:
        return False
    swing = _swing(half)
    label = _both(
        _between(swing / statistics.median(half), no=0.1, yes=0.2),
        _between(swing / _scale(truth), no=0.007, yes=0.015),
    )
    if not label:
        return label
    calmer = truth.calmer_test[len(truth.calmer_test) // 2 :]
    return True if _swing(calmer) / statistics.median(calmer) <= 0.1 else None


def _swing(values: Sequence[float]) -> float:
    changes = [abs(b - a) for a, b in itertools.pairwise(values)]
    return statistics.median(changes)


def _jumps(run: Run, *, by_intent: bool) -> Label:
    """Thrown up by intent to twice the test loss of the epochs around; no epoch like it else."""
    heights = [
        test[i] / max(statistics.median(test[max(0, i - 3) : i]), min(test[i + 1 : i + 4]))
        for test in (run.test, run.running)
        for i in range(2, len(test) - 1)
    ]
    highest = max(heights, default=1.0)
    if by_intent:
        return _between(highest, no=1.2, yes=2.0)
    return False if highest <= 1.2 else None


def _below(run: Run) -> Label:
    """The running training loss is a tenth above the test loss in most epochs."""
    ratios = [own / test for own, test in zip(run.running, run.test, strict=True)]
    return _between(statistics.median(ratios), no=1.0, yes=1.1)
