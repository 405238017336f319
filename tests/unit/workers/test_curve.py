import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.events import MetricPoint
from workers.curve import MAX_BATCH_POINTS, Curve


class Clock:
    """A clock that moves by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_short_trial_keeps_every_step_with_its_time() -> None:
    curve = Curve(total_steps=4, clock=Clock())
    curve.note_step(3)
    curve.note_step(4)
    assert curve.batch_losses([0.5, 0.25], epoch=2, first_step=3) == (
        MetricPoint("train/batch_loss", 2, 3, 0.5, 101_000),
        MetricPoint("train/batch_loss", 2, 4, 0.25, 102_000),
    )


@given(st.integers(1, 30), st.integers(1, 300))
def test_a_long_trial_keeps_a_thousand_steps_at_most(epochs: int, steps: int) -> None:
    curve = Curve(total_steps=epochs * steps, clock=Clock())
    kept: list[MetricPoint] = []
    for epoch in range(epochs):
        first = epoch * steps + 1
        for step in range(first, first + steps):
            curve.note_step(step)
        losses = [float(step) for step in range(first, first + steps)]
        kept += curve.batch_losses(losses, epoch=epoch + 1, first_step=first)
    assert min(epochs * steps, MAX_BATCH_POINTS / 2) <= len(kept) <= MAX_BATCH_POINTS
    assert kept[0].step == 1
    assert all(point.value == point.step for point in kept)
    assert len({b.step - a.step for a, b in itertools.pairwise(kept)}) <= 1


def test_steps_after_the_last_good_one_give_no_points() -> None:
    curve = Curve(total_steps=4, clock=Clock())
    for step in range(1, 5):
        curve.note_step(step)
    points = curve.batch_losses([0.5, 0.25], epoch=1, first_step=1)
    assert [point.step for point in points] == [1, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_give_no_points(value: float) -> None:
    curve = Curve(total_steps=4, clock=Clock())
    points = curve.epoch_values({"val/loss": value, "lr": 0.1}, epoch=1, step=4)
    assert points == (MetricPoint("lr", 1, 4, 0.1, 101_000),)


def test_the_name_of_a_steps_loss_can_be_had_without_torch(repository: Path) -> None:
    code = "import sys, workers.curve as curve; print(curve.BATCH_LOSS, 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.stdout == "train/batch_loss False\n", done.stderr
