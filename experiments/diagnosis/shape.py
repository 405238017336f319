"""Findings of trials that learn: how their curves end, scatter, jump and stand to each other."""

import itertools
import statistics
from collections.abc import Collection, Mapping
from typing import Any, Final

from experiments.architectures.activations import ACTIVATIONS
from experiments.diagnosis.finding import Code, Finding, Severity, Suggestion
from experiments.diagnosis.forecast import gain_by_trend, gain_of_twice
from experiments.diagnosis.reading import Reading, blocks, level, rising_share, smooth, swing

WORTH_IT: Final = 0.01
"""Changes of less than a hundredth of the loss of knowing nothing decide nothing: relative changes
of a loss that is nearly zero mean little."""

STILL_GAINING: Final = 0.10
"""Twice the epochs would take a tenth off the validation loss."""

AT_TIMES: Final = 1 / 6
"""A loss that falls may rise in so many of all pairs of its second half, and one that worsened may
come back in so many epochs: with more, scatter has the better of it."""

RISING: Final = 0.7
"""So many of all pairs since the best epoch stand upwards: scatter around a level has a half."""

WORSENED: Final = 0.15
"""The validation loss ends so far above its best: a few hundredths are the luck of the epoch."""

SCATTER: Final = 1 / 8
"""The median distance of an epoch from the mean of its neighbours, as a share of the level: a
validation loss that settles keeps to a few hundredths, however steeply it falls."""

TURNS: Final = 1 / 4
"""So many of the changes go up, and as many go down, where a loss swings."""

JUMP: Final = 1.75
"""An epoch whose loss is so many times that before and after: small splits scatter by a half."""

BELOW: Final = 0.95
"""A validation loss that is a twentieth below that of training."""

_LEAST_EPOCHS: Final = 4
_SMALL_BATCH: Final = 16


def still_falling(reading: Reading) -> Finding | None:
    """Find a validation loss that twice the epochs would bring down much further.

    Of three forecasts the median counts: by how it flattens out, by its trend, and by how the
    training loss flattens out. Each is led astray by another kind of scatter.
    """
    train, val, steps = reading.train, reading.val, reading.batch.values
    if high := _high_epochs(reading):  # what it fell from there on is another fall
        train, val, steps = train.after(max(high)), val.after(max(high)), ()
    if not val.values or reading.start is None:
        return None
    values, end = smooth(val.values), val.values[-1]
    gain = gain_of_twice(blocks(steps, num=8))
    if len(values) > 1:
        end, own = values[-1], gain_of_twice(smooth(train.values))
        gain = statistics.median((gain_of_twice(values), gain_by_trend(values), own))
        if rising_share(val.values[-(len(val) // 2 + 1) :]) > AT_TIMES:
            return None
    gain = min(gain, end)
    if end <= 0 or gain < max(STILL_GAINING * end, WORTH_IT * reading.scale):
        return None
    return Finding(
        Code.STILL_FALLING,
        Severity.SICK,
        {"end": end, "expected_gain": gain, "share": gain / end},
        f"the validation loss still falls at the end; twice the epochs should bring it from "
        f"{end:.3g} to about {end - gain:.3g}",
        Suggestion("train longer", {"epochs": 2 * reading.curve.epochs}),
        epoch=reading.val.places[-1],
    )


def overfitting(reading: Reading, *, swings: bool) -> Finding | None:
    """Find a validation loss that worsens while that of training goes on falling.

    One that swings must rise all the same.
    """
    values, start = smooth(reading.val.values), reading.start
    if len(values) < _LEAST_EPOCHS or start is None:
        return None
    place = min(range(len(values)), key=values.__getitem__)
    best, end = values[place], level(reading.val.values)
    train = dict(zip(reading.train.places, reading.train.values, strict=True))
    epoch = reading.val.places[place]
    after = reading.val.values[place:]
    settled = after[len(after) // 2 :]
    if len(after) < 3 or epoch not in train:
        return None
    rise = end - best
    least = max(WORSENED * best, WORTH_IT * reading.scale)
    back = sum(value < best + least / 2 for value in settled) / len(settled)
    if rise < least or back > AT_TIMES or (swings and rising_share(after) < RISING):
        return None
    train_end = level(reading.train.values)
    if train_end > min(train[epoch], train.get(epoch + 1, train[epoch])):  # means over epochs
        return None
    evidence = {
        "best_val_loss": best,
        "val_loss": end,
        "train_loss_at_best": train[epoch],
        "train_loss": train_end,
    }
    if accuracy := reading.curve.get("train/accuracy").finite().values:
        evidence["train_accuracy"] = accuracy[-1]
    return Finding(
        Code.OVERFITTING,
        Severity.SICK,
        evidence,
        f"from epoch {epoch} on the validation loss worsens, from {best:.3g} to {end:.3g}, while "
        f"that of training falls to {train_end:.3g}",
        _regularised(reading, epoch),
        epoch=epoch,
    )


def oscillating(reading: Reading) -> Finding | None:
    """Find a validation loss that swings from epoch to epoch instead of settling."""
    values, start, curve = reading.val.values, reading.start, reading.curve
    window = values[-max(_LEAST_EPOCHS, len(values) // 2 + 1) :]
    high = _high_epochs(reading)
    if _num_jumps(high) == 1:  # the way back from it is no swing
        window = reading.val.after(max(high)).values[-len(window) :]
    if len(window) < _LEAST_EPOCHS or start is None:
        return None
    changes = [b - a for a, b in itertools.pairwise(window)]
    middle, amplitude = statistics.median(window), swing(window)
    up = sum(change > 0 for change in changes) / len(changes)
    least = max(SCATTER * middle, WORTH_IT * reading.scale)
    if middle <= 0 or amplitude < least or not TURNS <= up <= 1 - TURNS:
        return None
    change: dict[str, Any] = {"lr": float(f"{curve.lr / 3:.2g}")}
    words = "lower the rate, or let it fall (schedule: cosine)"
    if curve.batch_size < _SMALL_BATCH:
        change = {"batch_size": 4 * curve.batch_size}
        words = "make the batches larger, or lower the rate"
    return Finding(
        Code.OSCILLATING,
        Severity.SICK,
        {
            "swing": amplitude,
            "level": middle,
            "share_of_rises": up,
            "lr": curve.lr,
            "batch_size": float(curve.batch_size),
        },
        f"the validation loss swings by {amplitude / middle:.0%} of itself from epoch to epoch",
        Suggestion(words, change),
        epoch=reading.val.places[-len(window)],
    )


def jumps(reading: Reading) -> Finding | None:
    """Find single epochs whose loss jumps up and comes back."""
    found, curve = _high_epochs(reading), reading.curve
    if reading.start is None or not found:
        return None
    first, highest = min(found), max(found.values())
    num = _num_jumps(found)
    kinked = [name for name in curve.activations if ACTIVATIONS[name].kinked]
    if kinked:
        words = f"harmless where activations have kinks, as {', '.join(kinked)} has"
        suggestion = Suggestion("nothing: the loss came back")
    else:
        words = "the loss came back"
        suggestion = Suggestion(
            "lower the rate if it matters", {"lr": float(f"{curve.lr / 2:.2g}")}
        )
    times = "once" if num == 1 else f"{num} times"
    return Finding(
        Code.JUMPS,
        Severity.NOTE,
        {"jumps": float(num), "height": highest},
        f"the loss jumps up {times}, by {highest:.3g} at most, first in epoch {first}; {words}",
        suggestion,
        epoch=first,
    )


def val_below_train(reading: Reading) -> Finding | None:
    """Find a validation loss below the training loss, and say why that may be."""
    train = dict(zip(reading.train.places, reading.train.values, strict=True))
    pairs = [
        (epoch, train[epoch], value)
        for epoch, value in zip(reading.val.places, reading.val.values, strict=True)
        if epoch in train
    ]
    lower = [epoch for epoch, own, value in pairs if value < BELOW * own]
    if len(pairs) < 2 or len(lower) <= len(pairs) / 2:  # one epoch is always so
        return None
    _, own, value = pairs[-1]
    return Finding(
        Code.VAL_BELOW_TRAIN,
        Severity.NOTE,
        {"epochs": float(len(lower)), "train_loss": own, "val_loss": value},
        f"in {len(lower)} of {len(pairs)} epochs the validation loss is below that of training: "
        + _why_below(reading),
        Suggestion("nothing: this is as it should be"),
        epoch=lower[0],
    )


def _high_epochs(reading: Reading) -> dict[int, float]:
    """Give the epochs whose loss is far above those before and after, and by how much.

    What throws the weights off their way is seen in training as well, in that epoch or the next; a
    validation loss that jumps alone is scatter.
    """
    train = dict(zip(reading.train.places, reading.train.values, strict=True))
    found: dict[int, float] = {}
    for series in (reading.train, reading.val):
        for i in range(2, len(series) - 1):
            before = statistics.median(series.values[max(0, i - 3) : i])
            after = min(series.values[i + 1 : i + 4])
            height = series.values[i] - max(before, after)
            epoch = series.places[i]
            hurts = series is reading.train or _rises(train, epoch)
            is_high = series.values[i] > JUMP * max(before, after)
            if is_high and height > 2 * WORTH_IT * reading.scale and hurts:
                found[epoch] = max(found.get(epoch, 0.0), height)
    return found


def _num_jumps(high: Collection[int]) -> int:
    """Count the jumps: high epochs one after the other are one, seen on both splits in turn."""
    return sum(epoch - 1 not in high for epoch in high)


def _regularised(reading: Reading, epoch: int) -> Suggestion:
    """Suggest what holds a network back, of what applies and is not there."""
    curve = reading.curve
    enough = f"{epoch} epochs are enough as it is"
    if curve.takes_dropout and curve.dropout == 0:
        return Suggestion(f"add dropout; {enough}", {"dropout": 0.5})
    if curve.is_image and curve.augmentation == "none" and curve.task == "classification":
        return Suggestion(f"augment the images; {enough}", {"augmentation": "shift"})
    decay = max(10 * curve.weight_decay, 1e-3)
    return Suggestion(f"add weight decay; {enough}", {"weight_decay": float(f"{decay:.2g}")})


def _rises(train: Mapping[int, float], epoch: int) -> bool:
    """Say whether the training loss rose into an epoch, or into the next."""
    losses = [train[at] for at in (epoch - 1, epoch, epoch + 1) if at in train]
    return any(b > a for a, b in itertools.pairwise(losses))


def _why_below(reading: Reading) -> str:
    curve = reading.curve
    causes = []
    if curve.dropout > 0:
        causes.append(f"dropout ({curve.dropout:g}) acts in training only")
    if curve.augmentation != "none":
        causes.append(f"augmentation ({curve.augmentation}) makes training images harder")
    if curve.label_noise > 0:
        causes.append(f"{curve.label_noise:.0%} of the training labels are wrong by intent")
    causes.append(
        "the training loss is a mean over the epoch, the validation loss is taken at its end"
    )
    return "; ".join(causes)
