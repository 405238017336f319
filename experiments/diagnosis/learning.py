"""Findings of trials that do not learn, or hardly: the loss that stays, explodes or creeps."""

import math
from collections.abc import Mapping
from typing import Any, Final

from experiments.diagnosis.finding import Code, Finding, Severity, Suggestion
from experiments.diagnosis.reading import Reading, halves, rising_share
from experiments.diagnosis.trial_curve import BATCH_LOSS, DEAD_UNITS

EXPLODED: Final = 2.0
"""A loss that ends at twice what it began at has diverged, finite or not: an answer that knows
nothing would have been better by far, and no noise of a batch doubles a mean over an epoch."""

AT_CHANCE: Final = (0.95, EXPLODED)
"""Shares of the loss of chance: a network that has learned a twentieth of what there is to learn
has begun to. One that jumps from bias to bias, at a rate that is too high, stays above; from twice
the loss on it has diverged."""

FLAT: Final = 0.05
"""A loss that has lost less than a twentieth of what it began at has not begun to learn."""

EXPLAINED: Final = 0.05
"""A regression that explains less than a twentieth of the variance answers with the mean."""

ABOVE_GUESSING: Final = 0.1
"""An accuracy that is less than a tenth of the way from guessing to perfect."""

SLOW_PROGRESS: Final = 0.4
"""Four tenths of the starting loss are gone after a tenth of a sensible training, or before."""

STEADY: Final = 0.35
"""A fall that has a time constant tau falls in the second half of the training T by exp(-T / 2 tau)
of what it fell in the first. At a third of it the training lasts two time constants: what is then
still missing is missing for want of rate."""

FALLING: Final = 0.1
"""At most so many of all pairs of a loss that falls steadily stand the wrong way round; noise alone
would leave a half of them."""

SEEN_TO_FALL: Final = 0.001
"""A loss that has fallen by less than a thousandth of what it began at cannot be told from one that
stays: ten times the rate would leave it where it is, too."""

LEAST_STEPS: Final = 100
"""With fewer steps it is their number that is wanting, not the rate."""

DEAD: Final = 0.5
"""Networks on small images work well with a third of their rectified units dead; with half of
them, half of what was paid for is gone, and more die with every jump."""

_LOSSES: Final = (BATCH_LOSS, "train/loss", "val/loss")
_TENFOLD: Final = 10.0
_LARGEST_LR: Final[Mapping[str, float]] = {"sgd": 1.0, "nesterov": 1.0}
_LARGEST_ADAPTIVE_LR: Final = 0.03


def diverged(reading: Reading) -> Finding | None:
    """Find a loss that is no number any more, or ends at more than it began at."""
    curve, start, end = reading.curve, reading.start, reading.end
    if curve.is_not_finite or not all(curve.get(name).is_finite for name in _LOSSES):
        return _not_finite(reading)
    if start is None or end is None or not reading.val.values:
        return None
    limit, last_val = EXPLODED * start, reading.val.values[-1]
    if min(end, last_val) <= limit:
        return None
    bad = _from_where(reading.train.values, limit)
    first = _from_where(reading.batch.values, limit)
    return Finding(
        Code.DIVERGED,
        Severity.SICK,
        {"start": start, "end": end, "val_loss": last_val, "lr": curve.lr},
        f"the loss ends at {end:.3g}, having begun at {start:.3g}",
        _lower(curve.lr),
        epoch=None if bad is None else reading.train.places[bad],
        step=None if first is None else reading.batch.places[first],
    )


def _not_finite(reading: Reading) -> Finding:
    """Say from where on there are no numbers; only the finite ones need to be on record."""
    curve, batch = reading.curve, reading.batch
    known = curve.get(BATCH_LOSS)
    last = batch.places[-1] if batch.places else 0
    step = last + 1 if known.is_finite else known.places[len(batch)]
    evidence = {"first_bad_step": float(step), "lr": curve.lr}
    if batch.values:
        evidence["last_finite_batch_loss"] = batch.values[-1]
    return Finding(
        Code.DIVERGED,
        Severity.SICK,
        evidence,
        f"the loss is no finite number from step {step} on",
        _lower(curve.lr),
        epoch=reading.end_epoch + 1,
        step=step,
    )


def stuck_at_chance(reading: Reading) -> Finding | None:
    """Find a loss that ends where an answer that knows nothing would be."""
    chance, end = reading.chance, reading.end
    if chance is None or end is None:
        return None
    low, high = AT_CHANCE
    settled = reading.val.values[-1] if reading.val.values else end
    if not low * chance <= end <= high * chance or settled < low * chance:
        return None
    evidence = {"chance": chance, "end": end, "lr": reading.curve.lr}
    num = reading.curve.num_classes
    return Finding(
        Code.STUCK_AT_CHANCE,
        Severity.SICK,
        evidence,
        f"the training loss ends at {end:.3f}, that of guessing among {num} classes is "
        f"ln({num}) = {chance:.3f}",
        _other_rate(reading),
        epoch=1,
    )


def not_learning(reading: Reading) -> Finding | None:
    """Find a loss that is flat from the start, or answers that know nothing of their inputs."""
    curve, progress = reading.curve, reading.progress
    evidence: dict[str, float] = {}
    words = ""
    if reading.chance is not None:
        return None
    if progress is not None and progress < FLAT:
        assert reading.start is not None
        assert reading.end is not None
        evidence = {"start": reading.start, "end": reading.end}
        words = f"the training loss began at {reading.start:.3g} and ends at {reading.end:.3g}"
    elif _is_falling(reading):
        return None
    elif (explained := reading.best("val/r2")) is not None and explained < EXPLAINED:
        evidence = {"best_r2": explained}
        words = f"of the targets' variance {max(explained, 0):.1%} is explained at best"
    elif (few := _guessed(reading)) is not None:
        name, value, limit = few
        evidence = {name: value, "guessing": limit}
        words = f"{name} is {value:.3f} at best, hardly more than by guessing"
    if not words:
        return None
    return Finding(
        Code.NOT_LEARNING,
        Severity.SICK,
        {**evidence, "lr": curve.lr},
        words,
        _other_rate(reading),
        epoch=1,
    )


def too_slow(reading: Reading) -> Finding | None:
    """Find a loss that falls all the time, and gets nowhere."""
    curve, progress, values = reading.curve, reading.progress, reading.by_time
    num_steps = reading.batch.places[-1] if reading.batch.places else 0
    if progress is None or progress >= SLOW_PROGRESS or len(values) < 4:
        return None
    if num_steps < LEAST_STEPS:
        return None
    before, after = halves(values)
    if rising_share(values) > FALLING or after <= 0 or after < STEADY * before:
        return None
    assert reading.start is not None
    if before + after < SEEN_TO_FALL * reading.start:
        return None
    if len(reading.val) > 1 and rising_share(reading.val.values) > FALLING:
        return None  # what is learned is the training split by heart
    if _guessed(reading) is not None:
        return None
    most = _LARGEST_LR.get(curve.optimizer, _LARGEST_ADAPTIVE_LR)
    lr = _round(min(curve.lr * _TENFOLD, max(most, 2 * curve.lr)))
    evidence = {
        "progress": progress,
        "fall_of_first_half": before,
        "fall_of_second_half": after,
        "lr": curve.lr,
    }
    return Finding(
        Code.TOO_SLOW,
        Severity.SICK,
        evidence,
        f"the loss falls steadily, but {max(progress, 0):.0%} of it was unlearned in all "
        f"{num_steps} steps",
        Suggestion("raise the rate", {"lr": lr}),
    )


def dead_units(reading: Reading) -> Finding | None:
    """Find a network most of whose rectified units answer to nothing."""
    series = reading.curve.get(DEAD_UNITS).finite()
    if not series.values or series.values[-1] < DEAD:
        return None
    bad = _from_where(series.values, DEAD)
    assert bad is not None, "it ends there"
    change: dict[str, Any]
    if reading.curve.takes_activation and "relu" in reading.curve.activations:
        change = {"activation": "leaky_relu"}
        words = "take an activation that cannot die, or lower the rate"
    else:
        change = {"lr": _round(reading.curve.lr / 3)}
        words = "lower the rate, so that no step throws units out of reach"
    return Finding(
        Code.DEAD_UNITS,
        Severity.SICK,
        {"dead_units": series.values[-1], "dead_units_at_first": series.values[0]},
        f"{series.values[-1]:.0%} of the rectified units are zero for every validation example",
        Suggestion(words, change),
        epoch=series.places[bad],
    )


def _is_falling(reading: Reading) -> bool:
    """Say whether the loss has come some way, and is still on it at the end."""
    before, after = halves(reading.by_time)
    is_steady = rising_share(reading.by_time) <= FALLING and after >= STEADY * before > 0
    return is_steady and before + after >= FLAT * (reading.start or 0.0)


def _lower(lr: float) -> Suggestion:
    return Suggestion("lower the rate", {"lr": _round(lr / _TENFOLD)})


def _other_rate(reading: Reading) -> Suggestion:
    """Suggest a lower rate where the loss was thrown up or units died, or else a higher one."""
    curve, start = reading.curve, reading.start
    dead = curve.get(DEAD_UNITS).finite().values
    worst = max((*reading.batch.values, *reading.train.values), default=0.0)
    if (start is not None and worst > EXPLODED * start) or (dead and dead[-1] >= DEAD):
        lr = _round(curve.lr / _TENFOLD)
        return Suggestion("the loss was thrown up, or units died: lower the rate", {"lr": lr})
    lr = _round(curve.lr * _TENFOLD)
    return Suggestion("nothing moved: raise the rate, or take another activation", {"lr": lr})


def _guessed(reading: Reading) -> tuple[str, float, float] | None:
    """Give an accuracy that guessing would reach, where the loss of guessing is not known."""
    num = reading.curve.num_classes
    if num is None or reading.chance is not None:
        return None
    if reading.curve.task == "segmentation":  # one class everywhere has at most this
        best, limit, name = reading.best("val/mean_iou"), 1 / num, "val/mean_iou"
    else:
        best, limit, name = reading.best("val/accuracy"), 1 / num, "val/accuracy"
        limit += ABOVE_GUESSING * (1 - limit)
    return (name, best, limit) if best is not None and best <= limit else None


def _from_where(values: tuple[float, ...], limit: float) -> int | None:
    """Give where a series goes to a limit or beyond for good; None where it ends below."""
    below = [i for i, value in enumerate(values) if value < limit]
    first = below[-1] + 1 if below else 0
    return first if first < len(values) else None


def _round(rate: float) -> float:
    """Give a rate with two digits, as people write them."""
    return float(f"{rate:.2g}") if math.isfinite(rate) else rate
