"""Small sets that are drawn from a rule, so that it is known what a network should find.

The rules' constants are in `experiments/data/generated_sets.py`.
"""

import numpy as np
from numpy.typing import NDArray

from experiments.data.generated_sets import (
    LONGEST_SUNSHINE,
    SENSOR_SIDE,
    SUNSHINE_BIAS,
    SUNSHINE_WEIGHT,
    TOO_HOT_BIAS,
    TOO_HOT_WEIGHT,
    SeparableOptions,
    SunshineOptions,
    TooHotOptions,
)
from workers.datasets.draws import Draws
from workers.datasets.raw import RawData, RawSplit, whole


def make_sunshine(options: SunshineOptions) -> RawData:
    """Draw days: hours of sunshine (N, 1) and the day's temperature (N, 1), float32."""

    def split(name: str) -> RawSplit:
        draws = Draws("sunshine", options.seed, name)
        hours = LONGEST_SUNSHINE * draws.uniform(options.examples)
        scatter = options.scatter * draws.normal(options.examples)
        return _numbers(hours, _column(SUNSHINE_WEIGHT * hours + SUNSHINE_BIAS + scatter))

    return RawData(train=split("train"), test=split("test"))


def make_too_hot(options: TooHotOptions) -> RawData:
    """Draw days: hours of sunshine (N, 1) float32, and whether it was too hot.

    P(too hot) = 1 / (1 + exp(-(w hours + b))), the model of logistic regression: the class
    is 1 where w hours + b is above a number drawn from the logistic distribution.
    """

    def split(name: str) -> RawSplit:
        draws = Draws("too_hot", options.seed, name)
        hours = LONGEST_SUNSHINE * draws.uniform(options.examples)
        chances = draws.uniform(options.examples) - 2.0**-54  # never 0; 1 once in 2^53 draws
        thresholds = np.log(chances) - np.log1p(-chances)
        too_hot = TOO_HOT_WEIGHT * hours + TOO_HOT_BIAS > thresholds
        return _numbers(hours, too_hot.astype(np.int64))

    return RawData(train=split("train"), test=split("test"))


def make_separable(options: SeparableOptions) -> RawData:
    """Draw black and white images on both sides of a plane through the middle of the cube.

    With pixels read as x = -1 (black) or +1, the plane is w x = 0 for drawn weights w of -1
    or +1. An image starts as noise; then some pixels that vote against its class, drawn by
    lot, are turned round until y (w x) is at least `margin` times the number of pixels.
    """
    num_pixels = SENSOR_SIDE**2
    plane = _signs(Draws("separable", options.seed, "plane"), num_pixels)

    def split(name: str) -> RawSplit:
        draws = Draws("separable", options.seed, name)
        classes = draws.below(2, options.examples)
        shape = (options.examples, num_pixels)
        votes = _signs(draws, options.examples * num_pixels).reshape(shape)
        missing = np.ceil((options.margin * num_pixels - votes.sum(axis=1)) / 2)
        lots = (draws.words(votes.size) >> np.uint64(1)).reshape(shape).astype(np.int64)
        lots[votes > 0] = -1  # before all that vote against
        order = np.argsort(np.argsort(lots, axis=1, kind="stable"), axis=1, kind="stable")
        turned = order - (votes > 0).sum(axis=1, keepdims=True) < missing[:, None]
        votes[turned] = 1
        pixels = votes * plane * (2 * classes[:, None] - 1)
        images = np.where(pixels > 0, 255, 0).astype(np.uint8)
        return whole(images.reshape(-1, 1, SENSOR_SIDE, SENSOR_SIDE), classes)

    return RawData(train=split("train"), test=split("test"))


def _signs(draws: Draws, count: int) -> NDArray[np.int64]:
    """Draw -1 or +1, (count,)."""
    return 2 * draws.below(2, count) - 1


def _numbers(hours: NDArray[np.float64], targets: NDArray[np.generic]) -> RawSplit:
    return RawSplit((_column(hours),), targets)


def _column(values: NDArray[np.float64]) -> NDArray[np.float32]:
    return values.astype(np.float32)[:, None]
