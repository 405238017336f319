import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from experiments.data.generated_sets import (
    LONGEST_SUNSHINE,
    SUNSHINE_BIAS,
    SUNSHINE_WEIGHT,
    TOO_HOT_BIAS,
    TOO_HOT_WEIGHT,
    SeparableOptions,
    SunshineOptions,
    TooHotOptions,
)
from workers.datasets.generated import make_separable, make_sunshine, make_too_hot
from workers.datasets.raw import RawData, RawSplit


def inputs(split: RawSplit) -> NDArray[Any]:
    return np.concatenate(list(split.inputs))


def test_temperatures_lie_on_the_line_without_scatter() -> None:
    data = make_sunshine(SunshineOptions(scatter=0.0))
    hours = inputs(data.train).astype(np.float64)
    assert (hours.shape, data.train.targets.shape) == ((200, 1), (200, 1))
    line = SUNSHINE_WEIGHT * hours + SUNSHINE_BIAS
    np.testing.assert_allclose(data.train.targets, line, rtol=1e-6)
    assert 0 < hours.min() < 1
    assert LONGEST_SUNSHINE - 1 < hours.max() <= LONGEST_SUNSHINE


def test_temperatures_scatter_as_much_as_asked() -> None:
    data = make_sunshine(SunshineOptions(examples=50_000, scatter=3.0))
    residual = data.train.targets - SUNSHINE_WEIGHT * inputs(data.train) - SUNSHINE_BIAS
    assert residual.std() == pytest.approx(3.0, rel=0.02)
    assert residual.mean() == pytest.approx(0.0, abs=0.07)


def test_too_hot_follows_the_logistic_model() -> None:
    data = make_too_hot(TooHotOptions(examples=100_000))
    hours, labels = inputs(data.train)[:, 0].astype(np.float64), data.train.targets
    assert set(labels.tolist()) == {0, 1}
    chances = 1 / (1 + np.exp(-(TOO_HOT_WEIGHT * hours + TOO_HOT_BIAS)))
    # At the model's own weights, the gradient of the log-loss is 0 but for chance.
    error = labels - chances
    for values in (error, error * hours):
        assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))


@pytest.mark.parametrize("margin", [0.1, 0.25])
def test_classes_are_separable_by_a_plane_at_the_margin(margin: float) -> None:
    data = make_separable(SeparableOptions(examples=3000, margin=margin))
    votes, signs = read_votes(data.train)
    # The mean image of a class is the plane's normal, but for chance.
    plane = np.sign((votes * signs[:, None]).sum(axis=0))
    distances = (votes @ plane) * signs / votes.shape[1]
    assert distances.min() >= margin
    test_votes, test_signs = read_votes(data.test)
    assert ((test_votes @ plane) * test_signs / votes.shape[1]).min() >= margin
    assert 0.4 < (signs > 0).mean() < 0.6


def read_votes(split: RawSplit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give images as -1 and +1, (N, 400), and classes as -1 and +1, (N,)."""
    images = inputs(split)
    assert images.shape[1:] == (1, 20, 20)
    assert images.dtype == np.uint8
    assert set(np.unique(images)) == {0, 255}
    return np.where(images.reshape(len(images), -1) > 0, 1, -1), 2 * split.targets - 1


@pytest.mark.parametrize(
    ("make", "record"),
    [
        (make_sunshine, SunshineOptions),
        (make_too_hot, TooHotOptions),
        (make_separable, SeparableOptions),
    ],
)
def test_a_seed_decides_all_and_test_days_are_others(
    make: Callable[[Any], RawData], record: type[Any]
) -> None:
    first, again, other = make(record()), make(record()), make(record(seed=1))
    train = inputs(first.train)
    assert np.array_equal(train, inputs(again.train))
    assert np.array_equal(first.train.targets, again.train.targets)
    assert not np.array_equal(train, inputs(other.train))
    assert not np.array_equal(train, inputs(first.test))
