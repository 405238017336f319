"""The labelling rule: which findings a run deserves, decided by what is true of it.

Each rule has a clear yes and a clear no, on numbers that the doctor does not see (`truth.py`); what
lies between is undecided, and counts neither way. What has a cause (it diverged, never learned,
crept) is judged by that alone, as nothing else would mend it.
"""

import itertools
import statistics
from collections.abc import Callable, Mapping
from typing import Final

from benchmarks.labelled_curves.truth import (
    LITTLE_LEFT,
    QUIET,
    Run,
    Truth,
    levels,
    swing_share,
)
from experiments.diagnosis.finding import Code
from experiments.records import TrialConfig

Label = bool | None
"""Yes, no, or undecided."""

FEW_STEPS: Final = 100
_BY_ENTROPY: Final = frozenset(
    {"cross_entropy", "kullback_leibler_divergence", "binary_cross_entropy"}
)


def labels_of(
    config: TrialConfig, trick: str, truth: Truth, *, num_steps: int
) -> dict[Code, Label]:
    """Label one run of so many steps."""
    labels: dict[Code, Label] = dict.fromkeys(Code)
    labels[Code.DEAD_UNITS] = _dead(truth.run)
    labels[Code.DIVERGED] = _diverged(truth)
    if labels[Code.DIVERGED] is not False:
        return labels
    slow, ignorant = _too_slow(truth, num_steps=num_steps), _ignorant(truth)
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
        Code.OSCILLATING: lambda: None if trick == "burst" else _oscillating(truth),
        Code.JUMPS: lambda: _jumps(truth, by_intent=trick == "burst"),
        Code.VAL_BELOW_TRAIN: lambda: _below(truth.run),
    }
    labels |= {code: rule() for code, rule in rules.items()}
    if labels[Code.OSCILLATING] is not False and trick != "burst":  # these may be its swings
        labels |= {code: None for code in (Code.STILL_FALLING, Code.JUMPS) if labels[code]}
    if labels[Code.OSCILLATING]:
        labels[Code.OVERFITTING] = None
    return labels


def _between(value: float, *, no: float, yes: float) -> Label:
    """Say yes from `yes` on, no up to `no`."""
    if no < yes:
        return True if value >= yes else False if value <= no else None
    return True if value <= yes else False if value >= no else None


def _both(*labels: Label) -> Label:
    if any(label is False for label in labels):
        return False
    return None if None in labels else True


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
    """Within 3 % of the best answer that looks at nothing, or above it, and there to stay.

    What is on its way down when its epochs are over has not stayed where it was: undecided.
    """
    learned = 1 - levels(truth.run.train)[-1] / truth.guess
    is_on_its_way = truth.longer_fresh is not None and truth.longer_fresh < 0.9 * truth.guess
    label = _between(learned, no=0.10, yes=0.03)
    return None if label and is_on_its_way else label


def _too_slow(truth: Truth, *, num_steps: int) -> Label:
    """Most is still there, and a higher rate leaves less than half of it.

    Where the loss does not fall in nearly every epoch, a rate that is too low cannot be told from
    other reasons to stay: undecided. A training of a few steps is short, whatever its rate.
    """
    if num_steps < FEW_STEPS:
        return False
    left = truth.run.train[-1] / truth.guess
    if left <= LITTLE_LEFT:
        return False
    if truth.faster_train is None:
        return None
    ratio = truth.faster_train / truth.run.train[-1]
    label = _both(_between(left, no=LITTLE_LEFT, yes=0.5), _between(ratio, no=0.8, yes=0.5))
    losses = (truth.untrained, *truth.run.train)
    falls = statistics.fmean(b < a for a, b in itertools.pairwise(losses))
    beats = truth.faster_train < 0.9 * truth.guess  # or else there is nothing to get at
    return None if label and not (beats and falls >= 0.9) else label


def _still_falling(truth: Truth) -> Label:
    """Twice the epochs take a fifth off the fresh loss, and not just of nearly nothing."""
    if truth.longer_fresh is None:
        return None
    end = levels(truth.run.fresh)[-1]
    gain = end - truth.longer_fresh
    return _both(
        _between(gain / end, no=0.05, yes=0.2),
        _between(gain / truth.guess, no=0.005, yes=0.02),
    )


def _overfitting(truth: Truth) -> Label:
    """The fresh loss ends three tenths above its best, that of training below where it was then."""
    fresh = levels(truth.run.fresh)
    if len(fresh) < 3:
        return False
    best = min(range(len(fresh)), key=fresh.__getitem__)
    end, train = fresh[-1], levels(truth.run.train)
    lower = _between(train[-1] / train[best], no=1.0, yes=0.9)
    return _both(
        _between(end / fresh[best], no=1.075, yes=1.3),
        _between((end - fresh[best]) / truth.guess, no=0.005, yes=0.02),
        False if best == len(fresh) - 1 else lower,
    )


def _oscillating(truth: Truth) -> Label:
    """The fresh loss swings by a quarter of itself, a calmer training by less than half of that.

    What a calmer training does not calm has another cause, and is undecided.
    """
    fresh = truth.run.fresh
    level = statistics.median(fresh[len(fresh) // 2 :])
    label = _both(
        _between(swing_share(fresh), no=QUIET, yes=0.25),
        _between(swing_share(fresh) * level / truth.guess, no=0.005, yes=0.02),
    )
    if not label:
        return label
    calm = truth.calmer_fresh
    return True if calm and swing_share(calm) <= swing_share(fresh) / 2 else None


def _jumps(truth: Truth, *, by_intent: bool) -> Label:
    """Thrown up by intent to twice the loss of the epochs around; no epoch like it else."""
    highest = 1.0
    for losses in (truth.run.fresh, truth.run.running):
        for i in range(2, len(losses) - 1):
            around = max(statistics.median(losses[max(0, i - 3) : i]), min(losses[i + 1 : i + 4]))
            if losses[i] - around > 0.01 * truth.guess:
                highest = max(highest, losses[i] / around)
    if by_intent:
        return _between(highest, no=1.3, yes=2.0)
    return False if highest <= 1.3 else None


def _below(run: Run) -> Label:
    """The running training loss is a tenth above the fresh loss in most epochs, of two or more."""
    if len(run.fresh) < 2:
        return False
    ratios = [own / fresh for own, fresh in zip(run.running, run.fresh, strict=True)]
    return _between(statistics.median(ratios), no=1.0, yes=1.1)
