"""The data sets that are made on the fly from a seed: their options, constants and facts.

How they are made is the workers' business (`workers/datasets/`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from experiments.architectures.image_shape import ImageDimensions, ImageShape
from experiments.data.dataset_facts import (
    MASK,
    MAX_SEED,
    VALUES,
    DatasetFacts,
    DatasetKind,
    options_digest,
)
from experiments.data.published_sets import PUBLISHED_SETS
from experiments.language.fields import NoOptions
from experiments.language.kinds import Integer, Number

LONGEST_SUNSHINE: Final = 14.0
"""Hours of sunshine a day are drawn evenly from 0 to this."""
SUNSHINE_WEIGHT: Final = 1.5
"""Degrees Celsius an hour of sunshine adds."""
SUNSHINE_BIAS: Final = 6.0
"""Degrees Celsius without sunshine."""
TOO_HOT_WEIGHT: Final = 1.0
"""What an hour of sunshine adds to the log-odds of "too hot"."""
TOO_HOT_BIAS: Final = -8.0
"""The log-odds of "too hot" without sunshine."""
LARGEST_NORMAL: Final = math.sqrt(-2 * math.log(2**-53))
"""No normal number that is drawn lies farther from 0 (8.6)."""
SENSOR_SIDE: Final = 20
"""Height and width of the sensor of `separable`, in pixels."""

_SEED: Final = Integer(0, MAX_SEED)
_EXAMPLES: Final = Integer(2, 100_000)


@dataclass(frozen=True, slots=True)
class FakeOptions:
    """The options of `fake`."""

    image_shape: Annotated[
        ImageShape, ImageDimensions(), "shape of an image: [channels, height, width]"
    ]
    classes: Annotated[int, Integer(2, 100_000), "number of classes"]
    examples: Annotated[int, Integer(2, 10_000_000), "training images; as many test images"]


@dataclass(frozen=True, slots=True)
class SunshineOptions:
    """The options of `sunshine`; `scatter` is in degrees."""

    examples: Annotated[int, _EXAMPLES, "training days; as many test days"] = 200
    scatter: Annotated[
        float, Number(minimum=0, maximum=100), "standard deviation around the line, in degrees"
    ] = 2.0
    seed: Annotated[int, _SEED, "decides which days are drawn"] = 0


@dataclass(frozen=True, slots=True)
class TooHotOptions:
    """The options of `too_hot`."""

    examples: Annotated[int, _EXAMPLES, "training days; as many test days"] = 200
    seed: Annotated[int, _SEED, "decides which days are drawn"] = 0


@dataclass(frozen=True, slots=True)
class DigitScenesOptions:
    """The options of `digit_scenes`; `size` is in pixels."""

    examples: Annotated[int, Integer(2, 20_000), "training scenes; as many test scenes"] = 1000
    size: Annotated[int, Integer(32, 128), "height and width of a scene"] = 64
    digits: Annotated[int, Integer(1, 8), "digits in a scene; fewer where there is no room"] = 3
    seed: Annotated[int, _SEED, "decides which scenes are drawn"] = 0


@dataclass(frozen=True, slots=True)
class SeparableOptions:
    """The options of `separable`."""

    examples: Annotated[int, Integer(2, 10_000), "training images; as many test images"] = 500
    margin: Annotated[
        float,
        Number(minimum=0.01, maximum=0.5),
        "how clearly the pixels vote for the class: the share for it less the share against",
    ] = 0.1
    seed: Annotated[int, _SEED, "decides which images are drawn"] = 0


def _describe_fake(options: FakeOptions, _root: Path) -> DatasetFacts:
    each, more = divmod(options.examples, options.classes)
    counts = (each + 1,) * more + (each,) * (options.classes - more)
    return DatasetFacts(
        "fake",
        options.image_shape,
        tuple(map(str, range(options.classes))),
        options.examples,
        options.examples,
        options_digest("fake", options),
        train_counts=counts,
        test_counts=counts,
    )


def _describe_sunshine(options: SunshineOptions, _root: Path) -> DatasetFacts:
    return DatasetFacts(
        "sunshine",
        (1,),
        (),
        options.examples,
        options.examples,
        options_digest("sunshine", options),
        target=VALUES,
        target_names=("temperature",),
        negative_targets=options.scatter * LARGEST_NORMAL > SUNSHINE_BIAS,
        full_scale=1,
    )


def _describe_too_hot(options: TooHotOptions, _root: Path) -> DatasetFacts:
    return DatasetFacts(
        "too_hot",
        (1,),
        ("fine", "too hot"),
        options.examples,
        options.examples,
        options_digest("too_hot", options),
        full_scale=1,
    )


def _describe_digit_scenes(options: DigitScenesOptions, root: Path) -> DatasetFacts:
    digits = PUBLISHED_SETS["digits"].describe(NoOptions(), root)
    return DatasetFacts(
        "digit_scenes",
        (1, options.size, options.size),
        ("background", *digits.class_names),
        options.examples,
        options.examples,
        options_digest(f"digit_scenes of {digits.digest}", options),
        target=MASK,
    )


def _describe_separable(options: SeparableOptions, _root: Path) -> DatasetFacts:
    return DatasetFacts(
        "separable",
        (1, SENSOR_SIDE, SENSOR_SIDE),
        ("minus", "plus"),
        options.examples,
        options.examples,
        options_digest("separable", options),
    )


GENERATED_SETS: Final[Mapping[str, DatasetKind]] = {
    "sunshine": DatasetKind(
        "generated: hours of sunshine a day -> temperature in degrees Celsius, a line with "
        f"scatter (temperature = {SUNSHINE_WEIGHT:g} x hours + {SUNSHINE_BIAS:g} + scatter)",
        _describe_sunshine,
        SunshineOptions,
    ),
    "too_hot": DatasetKind(
        "generated: hours of sunshine a day -> fine or too hot, by chance: the odds are "
        f"exp({TOO_HOT_WEIGHT:g} x hours - {-TOO_HOT_BIAS:g})",
        _describe_too_hot,
        TooHotOptions,
    ),
    "digit_scenes": DatasetKind(
        "generated: grey scenes with handwritten digits of several sizes in clutter, and the "
        "class of every pixel (test scenes hold the digits' test images)",
        _describe_digit_scenes,
        DigitScenesOptions,
    ),
    "separable": DatasetKind(
        f"generated: black and white images of {SENSOR_SIDE}x{SENSOR_SIDE}, two classes with a "
        "plane between them, at a margin",
        _describe_separable,
        SeparableOptions,
    ),
    "fake": DatasetKind(
        "generated: random images of any shape, to plan and time a network without data",
        _describe_fake,
        FakeOptions,
    ),
}
