"""A trial's curves as points: one a metric and epoch, and the loss of single steps, thinned."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from experiments.events import MetricPoint

MAX_BATCH_POINTS: Final = 1000
BATCH_LOSS: Final = "train/batch_loss"


class Curve:
    """Gives points their place and time.

    Which steps are kept is fixed by the number of steps: the first, and then every n-th,
    with the smallest n that keeps at most `MAX_BATCH_POINTS`. Values that are not finite
    give no points.
    """

    def __init__(self, *, total_steps: int, clock: Callable[[], float]) -> None:
        """Plan the curve of so many steps; `clock` gives Unix seconds."""
        self._stride = math.ceil(total_steps / MAX_BATCH_POINTS)
        self._clock = clock
        self._times: dict[int, int] = {}  # Unix ms by kept step of the epoch under way

    def note_step(self, step: int) -> None:
        """Remember the time of a step, from 1, if its loss is kept."""
        if (step - 1) % self._stride == 0:
            self._times[step] = self._now()

    def batch_losses(
        self, losses: Sequence[float], *, epoch: int, first_step: int
    ) -> tuple[MetricPoint, ...]:
        """Give the points of an epoch's steps.

        Args:
            losses: One a step, up to the last that counts.
            epoch: The epoch that the steps belong to.
            first_step: The number of its first step.
        """
        times, self._times = self._times, {}
        return tuple(
            MetricPoint(BATCH_LOSS, epoch, step, losses[step - first_step], time)
            for step, time in times.items()
            if step - first_step < len(losses)
        )

    def epoch_values(
        self, values: Mapping[str, float], *, epoch: int, step: int
    ) -> tuple[MetricPoint, ...]:
        """Give the points of a finished epoch, all at the present time."""
        now = self._now()
        return tuple(
            MetricPoint(metric, epoch, step, value, now)
            for metric, value in values.items()
            if math.isfinite(value)
        )

    def _now(self) -> int:
        return round(self._clock() * 1000)
