"""How the learning rate moves over a trial: one pure function of the step."""

import math
from typing import Final

from experiments.records import ScheduleConfig

CYCLE_RISE: Final = 0.3  # the share of the steps that the rate of one_cycle rises
CYCLE_START: Final = 1 / 25  # of the highest rate
CYCLE_END: Final = CYCLE_START / 1e4


def learning_rate(
    schedule: ScheduleConfig, *, base: float, step: int, steps_per_epoch: int, total_steps: int
) -> float:
    """Give the learning rate of one step.

    With s the step, E the steps of an epoch, T all steps, and w = round(E * warmup_epochs)
    the steps of warm-up (at most T):

    - warm-up, s < w: base * (s + 1) / w
    - constant: base
    - step: base * step_factor ** floor(s / (E * step_epochs))
    - cosine: base * (1 + cos(pi * (s - w) / (T - w))) / 2   (Loshchilov & Hutter 2017, eq. 5,
      without restarts): base right after the warm-up, 0 at s = T, one step past the last
    - one_cycle: half a cosine from base / 25 up to base at s = 0.3 T - 1, then half a cosine
      down to base / 250,000 at s = T - 1   (Smith & Topin 2018, as torch's OneCycleLR)

    Args:
        schedule: Which of them, and its lengths in epochs.
        base: The rate at its highest.
        step: The step about to be made, from 0.
        steps_per_epoch: Steps of an epoch, its last partial batch included.
        total_steps: Steps of the whole trial.
    """
    if schedule.name == "one_cycle":
        return base * _one_cycle(step, total_steps)
    warmup_steps = min(total_steps, round(steps_per_epoch * schedule.warmup_epochs))
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    if schedule.name == "constant":
        return base
    if schedule.name == "step":
        assert schedule.step_epochs is not None
        assert schedule.step_factor is not None
        drops: int = step // (steps_per_epoch * schedule.step_epochs)
        return base * schedule.step_factor**drops
    assert schedule.name == "cosine", schedule.name
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return base * (1 + math.cos(math.pi * progress)) / 2


def _one_cycle(step: int, total_steps: int) -> float:
    """Give the share of the highest rate."""
    top, last = CYCLE_RISE * total_steps - 1, total_steps - 1
    if step <= top:
        return _half_cosine(CYCLE_START, 1.0, step / top)
    return _half_cosine(1.0, CYCLE_END, (step - top) / (last - top))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
