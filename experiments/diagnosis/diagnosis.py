"""Reads the loss curves of one trial: what is wrong with them, and what to change.

It should go down smoothly and flatten out at the end. The thresholds, and why they are so, are
constants beside each finding (`learning.py`, `shape.py`); docs/diagnosis.md has them all.
"""

from experiments.diagnosis.finding import Finding
from experiments.diagnosis.learning import (
    dead_units,
    diverged,
    not_learning,
    stuck_at_chance,
    too_slow,
)
from experiments.diagnosis.reading import Reading
from experiments.diagnosis.shape import (
    jumps,
    oscillating,
    overfitting,
    still_falling,
    val_below_train,
)
from experiments.diagnosis.trial_curve import TrialCurve


def diagnose(curve: TrialCurve) -> tuple[Finding, ...]:
    """Say what a trial's curves show, the worst first; nothing where they are as they should be.

    Of findings that explain each other only the cause is named: what diverged has no shape, what
    falls too slowly is not stuck, and what has not learned is judged no further but for its dead
    units. Of a trial that is under way, or was stopped, nothing is said that more epochs could
    change: before the last it is neither too slow nor still falling, and before half of them not
    stuck. Missing metrics, one epoch and numbers that are not finite are all taken.
    """
    reading = Reading(curve)
    dead = dead_units(reading)
    cause = diverged(reading)
    if cause is None and reading.is_whole:
        cause = too_slow(reading)
    if cause is None and 2 * reading.end_epoch >= curve.epochs:
        cause = stuck_at_chance(reading) or not_learning(reading)
    if cause is not None:
        return tuple(found for found in (cause, dead) if found is not None)
    swing = oscillating(reading)
    shapes = (
        dead,
        swing,
        overfitting(reading, swings=swing is not None),
        still_falling(reading) if reading.is_whole and not swing else None,
        None if swing else jumps(reading),
        val_below_train(reading),
    )
    return tuple(found for found in shapes if found is not None)
