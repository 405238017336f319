"""What a loss is expected to come to with twice the epochs, on losses whose future is known."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.diagnosis.forecast import gain_by_trend, gain_of_twice


@pytest.mark.parametrize("power", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("num", [8, 40])
def test_a_power_of_time_goes_on_as_it_fell(power: float, num: int) -> None:
    def loss(time: float) -> float:
        return 3.0 * math.pow(time, -power)

    gain = gain_of_twice([loss(epoch) for epoch in range(1, num + 1)])
    assert gain == pytest.approx(loss(num) - loss(2 * num), rel=0.15)


@pytest.mark.parametrize("num", [4, 9, 30])
def test_a_straight_fall_goes_on_straight(num: int) -> None:
    gain = gain_of_twice([100.0 - epoch for epoch in range(1, num + 1)])
    assert gain == pytest.approx(num, rel=0.05)


def test_an_accelerating_fall_is_not_taken_to_accelerate_further() -> None:
    values = [100.0 - epoch**2 for epoch in range(1, 9)]
    assert gain_of_twice(values) < 8 * (values[-2] - values[-1])


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_what_does_not_fall_gains_nothing(values: list[float]) -> None:
    assert gain_of_twice(values) == 0.0


def test_a_loss_that_came_back_from_a_jump_is_no_better_than_before() -> None:
    assert gain_of_twice([1.0, 0.5, 0.3, 0.3, 0.3, 9.0, 2.0, 0.5, 0.3, 0.3]) == 0.0


@pytest.mark.parametrize("power", [0.2, 1.0])
def test_a_trend_is_that_of_a_power_of_time_whatever_single_epochs_do(power: float) -> None:
    values = [3.0 * epoch**-power for epoch in range(1, 21)]
    there = values[-1] - 3.0 * 40**-power
    assert gain_by_trend(values) == pytest.approx(there)
    values[14] *= 1.5
    assert gain_by_trend(values) == pytest.approx(there, rel=0.1)


@pytest.mark.parametrize(
    "values", [[], [2.0, 1.0], [1.0] * 5, [1.0, 2.0, 3.0, 4.0], [1.0] + [0] * 5]
)
def test_what_has_no_trend_to_fall_gains_nothing(values: list[float]) -> None:
    assert gain_by_trend(values) == 0.0


@given(st.lists(st.floats(min_value=0, max_value=1e9), max_size=20))
def test_any_losses_have_a_gain_that_is_no_loss(values: list[float]) -> None:
    assert gain_of_twice(values) >= 0.0
    assert gain_by_trend(values) >= 0.0
