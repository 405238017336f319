"""How the learning rate moves over a trial: one pure function of the step."""

import math

from experiments.records import ScheduleConfig


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

    Args:
        schedule: Which of them, and its lengths in epochs.
        base: The rate at its highest.
        step: The step about to be made, from 0.
        steps_per_epoch: Steps of an epoch, its last partial batch included.
        total_steps: Steps of the whole trial.
    """
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
