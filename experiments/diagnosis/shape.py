"""Findings of trials that learn: how their curves end, scatter, jump and stand to each other."""

import itertools
import statistics
from typing import Any, Final

from experiments.architectures.activations import ACTIVATIONS
from experiments.diagnosis.finding import Code, Finding, Severity, Suggestion
from experiments.diagnosis.reading import Reading, blocks, level, rising_share, smooth

WORTH_IT: Final = 0.01
"""Changes of less than a hundredth of the starting loss decide nothing: relative changes of a
loss that is nearly zero mean little."""

STILL_GAINING: Final = 0.10
"""Twice the epochs would take a tenth off the validation loss."""

WORSENED: Final = 0.10
"""The validation loss ends a tenth above its best."""

RISING: Final = 0.7
"""So many of all pairs after the best epoch stand upwards: scatter around a level has a half."""

SCATTER: Final = 0.2
"""The median change between two epochs, as a share of the level: a validation loss that settles
changes by a few hundredths."""

TURNS: Final = 1 / 3
"""So many of the changes go up, and as many go down, where a loss swings."""

JUMP: Final = 1.5
"""An epoch whose loss is half as much again as before and after."""

BELOW: Final = 0.95
"""A validation loss that is a twentieth below that of training."""

_LEAST_EPOCHS: Final = 4
_SMALL_BATCH: Final = 16


def still_falling(reading: Reading) -> Finding | None:
    """Find a validation loss that twice the epochs would bring down much further.

    A fall that goes on by octaves of time (like a power of it, as losses do) gains in the next
    octave what it gained in the last, times the ratio of the last two gains.
    """
    values, start, curve = smooth(reading.val.values), reading.start, reading.curve
    if not values or start is None:
        return None
    end = values[-1]
    gain = _gain_of_next_octave(values, reading.batch.values)
    if gain is None or end <= 0 or gain < max(STILL_GAINING * end, WORTH_IT * start):
        return None
    return Finding(
        Code.STILL_FALLING,
        Severity.SICK,
        {"end": end, "expected_gain": gain, "share": gain / end},
        f"the validation loss still falls at the end; twice the epochs should bring it from "
        f"{end:.3g} to about {max(end - gain, 0):.3g}",
        Suggestion("train longer", {"epochs": 2 * curve.epochs}),
        epoch=reading.val.places[-1],
    )


def overfitting(reading: Reading) -> Finding | None:
    """Find a validation loss that worsens while that of training goes on falling."""
    values, start = smooth(reading.val.values), reading.start
    if len(values) < _LEAST_EPOCHS or start is None:
        return None
    place = min(range(len(values)), key=values.__getitem__)
    best, end = values[place], level(reading.val.values)
    train = dict(zip(reading.train.places, reading.train.values, strict=True))
    epoch = reading.val.places[place]
    after = reading.val.values[place:]
    if len(after) < 3 or epoch not in train:
        return None
    rise = end - best
    if rise < max(WORSENED * best, WORTH_IT * start) or rising_share(after) < RISING:
        return None
    train_end = level(reading.train.values)
    if train_end > train[epoch]:
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
    window = values[-max(_LEAST_EPOCHS, len(values) // 2) :]
    if len(values) < _LEAST_EPOCHS or start is None:
        return None
    changes = [b - a for a, b in itertools.pairwise(window)]
    middle = statistics.median(window)
    swing = statistics.median(map(abs, changes))
    up = sum(change > 0 for change in changes) / len(changes)
    if (
        middle <= 0
        or swing < max(SCATTER * middle, WORTH_IT * start)
        or not TURNS <= up <= 1 - TURNS
    ):
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
            "median_change": swing,
            "level": middle,
            "share_of_rises": up,
            "lr": curve.lr,
            "batch_size": float(curve.batch_size),
        },
        f"the validation loss changes by {swing / middle:.0%} from one epoch to the next, up and "
        "down",
        Suggestion(words, change),
        epoch=reading.val.places[-len(window)],
    )


def jumps(reading: Reading) -> Finding | None:
    """Find single epochs whose loss jumps up and comes back."""
    start, curve = reading.start, reading.curve
    if start is None:
        return None
    found: dict[int, float] = {}
    for series in (reading.train, reading.val):
        for i in range(2, len(series) - 1):
            before = statistics.median(series.values[max(0, i - 3) : i])
            after = min(series.values[i + 1 : i + 4])
            height = series.values[i] - max(before, after)
            if series.values[i] > JUMP * max(before, after) and height > 2 * WORTH_IT * start:
                epoch = series.places[i]
                found[epoch] = max(found.get(epoch, 0.0), height)
    if not found:
        return None
    first, highest = min(found), max(found.values())
    kinked = [name for name in curve.activations if ACTIVATIONS[name].kinked]
    if kinked:
        words = f"harmless where activations have kinks, as {', '.join(kinked)} has"
        suggestion = Suggestion("nothing: the loss came back")
    else:
        words = "the loss came back"
        suggestion = Suggestion(
            "lower the rate if it matters", {"lr": float(f"{curve.lr / 2:.2g}")}
        )
    times = "once" if len(found) == 1 else f"{len(found)} times"
    return Finding(
        Code.JUMPS,
        Severity.NOTE,
        {"jumps": float(len(found)), "height": highest},
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
    if not pairs or len(lower) <= len(pairs) / 2:
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


def _gain_of_next_octave(values: tuple[float, ...], steps: tuple[float, ...]) -> float | None:
    num = len(values)
    if num >= _LEAST_EPOCHS:
        early, middle, end = values[num // 4 - 1], values[num // 2 - 1], values[-1]
        before, last = early - middle, middle - end
        ratio = 1.0 if before <= last else last / before
        return last * max(ratio, 0.0)
    if num >= 2:
        return (values[0] - values[-1]) / 2
    parts = blocks(steps, num=8)
    return (parts[3] - parts[-1]) / 2 if len(parts) == 8 else None


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
